package password

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
)

// ErrName is what every error of [FoldName] wraps.
var ErrName = errors.New("not a name")

// FoldName returns the key by which a user name or an e-mail address is
// compared: Unicode form NFKC, case folded. "Ålice", "ÅLICE" and "Ａ\u030alice"
// have the same one. It refuses what cannot be seen or changes how the rest is
// seen: whitespace, control and format characters (bidirectional controls and
// zero-width joiners among them), fillers, and what Unicode has not assigned.
func FoldName(name string) (string, error) {
	if name == "" {
		return "", fmt.Errorf("%w: it is empty", ErrName)
	}
	if !utf8.ValidString(name) {
		return "", fmt.Errorf("%w: it is not valid UTF-8", ErrName)
	}
	// Normalising can bring out a space: U+00A8 becomes a space and a diaeresis.
	normal := norm.NFKC.String(name)
	for _, s := range []string{name, normal} {
		for _, r := range s {
			if !visible(r) {
				return "", fmt.Errorf("%w: character U+%04X is not allowed in it", ErrName, r)
			}
		}
	}
	return norm.NFKC.String(fold(normal)), nil
}

// fold folds case. The library folds Cherokee letters from large to small and
// from small to large; Unicode has them all large (CaseFolding.txt).
func fold(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= '\uab70' && r <= '\uabbf':
			return r - '\uab70' + '\u13a0'
		case r >= '\u13f8' && r <= '\u13fd':
			return r - 8
		}
		return r
	}, cases.Fold().String(s))
}

// visible reports whether a rune may be part of a name.
func visible(r rune) bool {
	const blankBraille = '\u2800' // a symbol to Unicode, nothing to the eye
	return unicode.IsGraphic(r) && !unicode.IsSpace(r) && !unicode.Is(unicode.Zs, r) && r != blankBraille &&
		!unicode.Is(unicode.Other_Default_Ignorable_Code_Point, r) && !unicode.Is(unicode.Variation_Selector, r)
}
