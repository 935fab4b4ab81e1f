package authority

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"fmt"
)

// The successor of a rotated refresh token is kept sealed under a key that only
// the rotated token yields. Whoever shows that token again within the grace gets
// the very same successor, and the database alone gives nobody anything.

const successorInfo = "authbus refresh token successor 1"

// sealSuccessor seals next under a key derived from old.
func sealSuccessor(old, next Secret) ([]byte, error) {
	aead, err := successorCipher(old)
	if err != nil {
		return nil, err
	}
	return aead.Seal(nil, nil, []byte(next), nil), nil //nolint:gosec // the cipher draws its own nonce
}

// openSuccessor returns what sealSuccessor sealed.
func openSuccessor(old Secret, sealed []byte) (Secret, error) {
	aead, err := successorCipher(old)
	if err != nil {
		return "", err
	}
	next, err := aead.Open(nil, nil, sealed, nil)
	if err != nil {
		return "", fmt.Errorf("opening the successor of a refresh token: %w", err)
	}
	return Secret(next), nil
}

func successorCipher(old Secret) (cipher.AEAD, error) {
	// Nobody can guess 256 random bits, so no salt is needed (RFC 5869 §3.1).
	key, err := hkdf.Key(sha256.New, []byte(old), nil, successorInfo, 32)
	if err != nil {
		return nil, fmt.Errorf("deriving the successor's key: %w", err)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}
