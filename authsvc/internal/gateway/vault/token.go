package vault

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"strings"
)

// tokenPrefix lets scanners find tokens that have strayed into a repository or log.
const tokenPrefix = "agw_"

// tokenBytes is the entropy of a token, in bytes.
const tokenBytes = 32

// Token is an opaque token: 256 random bits. It hides itself where it is printed
// or logged; [Token.Reveal] gives the text for its holder.
type Token struct{ random [tokenBytes]byte }

// ErrToken says that a text is no opaque token.
var ErrToken = errors.New("not an opaque token")

// NewToken makes a token that nobody has.
func NewToken() Token {
	var t Token
	rand.Read(t.random[:]) // never fails
	return t
}

// ParseToken reads the text of a token. It accepts the one spelling that Reveal
// gives; the error is ErrToken and does not repeat the text.
func ParseToken(text string) (Token, error) {
	encoded, found := strings.CutPrefix(text, tokenPrefix)
	if !found || len(encoded) != base64.RawURLEncoding.EncodedLen(tokenBytes) {
		return Token{}, ErrToken
	}
	random, err := base64.RawURLEncoding.Strict().DecodeString(encoded)
	if err != nil || len(random) != tokenBytes { // line breaks inside are skipped by the decoder
		return Token{}, ErrToken
	}
	return Token{random: [tokenBytes]byte(random)}, nil
}

// HoldsToken reports whether the text of a token is somewhere in a text.
func HoldsToken(text string) bool {
	for {
		_, behind, found := strings.Cut(text, tokenPrefix)
		if !found {
			return false
		}
		if length := base64.RawURLEncoding.EncodedLen(tokenBytes); len(behind) >= length {
			if _, err := ParseToken(tokenPrefix + behind[:length]); err == nil {
				return true
			}
		}
		text = behind
	}
}

// Reveal returns the text that the client presents.
func (t Token) Reveal() string {
	return tokenPrefix + base64.RawURLEncoding.EncodeToString(t.random[:])
}

// String hides the token.
func (Token) String() string { return "[opaque token]" }

// GoString hides the token.
func (Token) GoString() string { return "[opaque token]" }

// LogValue hides the token.
func (t Token) LogValue() slog.Value { return slog.StringValue(t.String()) }

// Name is the key of the token's entry: base64url of the SHA-256 of its text. It
// tells tokens apart where they must not be told.
func (t Token) Name() string {
	sum := sha256.Sum256([]byte(t.Reveal()))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// sealer is the cipher that only the holder of the token can use.
func (t Token) sealer() (cipher.AEAD, error) {
	key, err := hkdf.Key(sha256.New, t.random[:], nil, "authbus gateway session v1", 32)
	if err != nil {
		return nil, fmt.Errorf("deriving a key: %w", err)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("making a cipher: %w", err)
	}
	return cipher.NewGCMWithRandomNonce(block)
}

// seal encrypts a value for the entry of the token.
func (t Token) seal(plain []byte) ([]byte, error) {
	aead, err := t.sealer()
	if err != nil {
		return nil, err
	}
	return aead.Seal(nil, nil, plain, []byte(t.Name())), nil //nolint:gosec // the cipher draws a nonce each time
}

// open decrypts a value that was sealed for the entry of the token.
func (t Token) open(sealed []byte) ([]byte, error) {
	aead, err := t.sealer()
	if err != nil {
		return nil, err
	}
	plain, err := aead.Open(nil, nil, sealed, []byte(t.Name()))
	if err != nil {
		return nil, errors.New("the entry was not sealed for this token")
	}
	return plain, nil
}
