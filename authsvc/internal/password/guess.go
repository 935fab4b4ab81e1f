package password

import (
	"slices"
	"strings"
	"unicode"

	"github.com/nbutton23/zxcvbn-go"
	"github.com/nbutton23/zxcvbn-go/matching"
	"golang.org/x/text/unicode/norm"
)

const (
	// weakScore is the greatest zxcvbn score (0 to 4) that is refused: fewer than
	// about 10^10 guesses.
	weakScore = 2
	// estimated is how many code points of a password zxcvbn looks at: its time
	// grows with the square of them, and a password that is good that far is good.
	estimated = 100
	// shortestUnit is the fewest code points that a password may repeat.
	shortestUnit = 8
)

// phrases are well known, and no dictionary of words knows them.
func phrases() []string {
	return []string{
		"correcthorsebatterystaple", "thequickbrownfoxjumpsoverthelazydog", "thequickbrownfox",
		"loremipsumdolorsitamet", "maytheforcebewithyou", "tobeornottobe", "openthepodbaydoors",
	}
}

// guessable reports whether a password is one that a guesser tries early. words
// are what is known of its user.
//
// zxcvbn is asked with the plainest form of the password that it can handle,
// and then again with the usual disguises taken off. Its own look for letters
// written as digits (l33t) takes seconds on some passwords and is left out, and it
// confuses bytes with characters beyond ASCII.
func guessable(normal string, words []string) bool {
	unit := repeatedUnit([]rune(normal))
	if len(unit) < shortestUnit {
		return true
	}
	plain := toASCII(string(unit[:min(len(unit), estimated)]))
	known := phrases()
	for _, word := range words {
		if word != "" {
			known = append(known, toASCII(word))
		}
	}
	for _, variant := range []string{plain, undisguise(plain), strings.Map(wordRune, plain), strings.Map(wordRune, undisguise(plain))} {
		if zxcvbn.PasswordStrength(variant, known, matching.FilterL33tMatcher).Score <= weakScore {
			return true
		}
	}
	return false
}

// repeatedUnit returns the shortest beginning of s that s repeats, the last time
// perhaps in part; s itself if it repeats nothing at least once.
func repeatedUnit(s []rune) []rune {
	for n := 1; n <= len(s)/2; n++ {
		if slices.Equal(s[n:], s[:len(s)-n]) {
			return s[:n]
		}
	}
	return s
}

// toASCII takes marks off letters and replaces what then is not ASCII by some
// letter, neighbours in the alphabet by neighbours.
func toASCII(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case unicode.Is(unicode.Mn, r):
			return -1
		case r > unicode.MaxASCII:
			return 'a' + r%26
		}
		return r
	}, norm.NFKD.String(s))
}

// undisguise replaces the usual stand-ins for letters.
func undisguise(s string) string {
	return strings.NewReplacer("4", "a", "@", "a", "8", "b", "(", "c", "3", "e", "6", "g", "9", "g", "1", "i",
		"!", "i", "|", "l", "0", "o", "$", "s", "5", "s", "7", "t", "+", "t", "2", "z").Replace(s)
}

// wordRune drops what is neither a letter nor a digit.
func wordRune(r rune) rune {
	if unicode.IsLetter(r) || unicode.IsDigit(r) {
		return r
	}
	return -1
}
