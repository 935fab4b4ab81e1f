package token

import "github.com/golang-jwt/jwt/v5"

// maxSigLen is the length of the longest signature, that of RSA at 4096 bits.
const maxSigLen = maxRSABits / 8

// verifies reports whether segment, canonical base64url, is the key's signature
// over input. Lengths are exact: 64 bytes for EdDSA and ES256 (no ASN.1), the
// modulus for RS256, 32 bytes for HS256 (never a truncated MAC).
func (k *verifyKey) verifies(input, segment string) bool {
	if decodedLen(len(segment)) != k.sigLen || k.sigLen > maxSigLen {
		return false
	}
	var buf [maxSigLen]byte
	sig := decode(buf[:], segment)
	// The methods are named one by one, not through an interface, so that buf
	// stays on the stack.
	switch k.Alg {
	case AlgEdDSA:
		return jwt.SigningMethodEdDSA.Verify(input, sig, k.Public) == nil
	case AlgES256:
		return jwt.SigningMethodES256.Verify(input, sig, k.Public) == nil
	case AlgRS256:
		return jwt.SigningMethodRS256.Verify(input, sig, k.Public) == nil
	case AlgHS256:
		return jwt.SigningMethodHS256.Verify(input, sig, k.secret) == nil // compares in constant time
	}
	return false
}
