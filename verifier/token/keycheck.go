package token

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"errors"
	"fmt"
	"math/big"
	"slices"
)

// checkP256 copies the key by way of its encoding, which proves that the point
// is on the curve (an off-curve point leaks or forges: RFC 8725 §3.4).
func checkP256(public crypto.PublicKey) (crypto.PublicKey, int, error) {
	k, ok := public.(*ecdsa.PublicKey)
	if !ok || k == nil || k.Curve == nil {
		return nil, 0, errKeyType
	}
	if k.Curve != elliptic.P256() {
		return nil, 0, errors.New("curve is not P-256")
	}
	if k.X == nil || k.Y == nil { //nolint:staticcheck // Bytes panics on a key made by hand without them
		return nil, 0, errors.New("key has no point")
	}
	point, err := k.Bytes()
	if err != nil {
		return nil, 0, fmt.Errorf("encoding point: %w", err)
	}
	own, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), point)
	if err != nil {
		return nil, 0, fmt.Errorf("checking point: %w", err)
	}
	return own, 64, nil
}

// The sizes of RSA keys, in bits. Above the upper one a single check would cost
// more than a request is worth.
const (
	minRSABits = 2048
	maxRSABits = 4096
)

func checkRSA(public crypto.PublicKey) (crypto.PublicKey, int, error) {
	k, ok := public.(*rsa.PublicKey)
	if !ok || k == nil || k.N == nil {
		return nil, 0, errKeyType
	}
	if n := k.N.BitLen(); n < minRSABits || n > maxRSABits || k.N.Sign() < 0 {
		return nil, 0, fmt.Errorf("RSA modulus of %d bits: %d to %d are allowed", n, minRSABits, maxRSABits)
	}
	if k.N.Bit(0) == 0 {
		return nil, 0, errors.New("RSA modulus is even")
	}
	if k.E < 3 || k.E&1 == 0 || k.E > 1<<31-1 {
		return nil, 0, errors.New("RSA exponent is even, too small or too large")
	}
	return &rsa.PublicKey{N: new(big.Int).Set(k.N), E: k.E}, k.Size(), nil
}

// checkEd25519 refuses what is no point of the curve, is not written in the one
// canonical way (RFC 8032 §5.1.3), or has small order: such a key accepts
// signatures that nobody made.
func checkEd25519(public crypto.PublicKey) (crypto.PublicKey, int, error) {
	k, ok := public.(ed25519.PublicKey)
	if !ok || len(k) != ed25519.PublicKeySize {
		return nil, 0, errKeyType
	}
	own := slices.Clone(k)
	big25519 := newCurve25519()
	y := littleEndian(own)
	sign := y.Bit(255)
	y.SetBit(y, 255, 0)
	if y.Cmp(big25519.p) >= 0 {
		return nil, 0, errors.New("key is not canonical Ed25519")
	}
	if big25519.smallOrder(y) {
		return nil, 0, errors.New("key has small order")
	}
	if !big25519.onCurve(y, sign) {
		return nil, 0, errors.New("key is not on the curve")
	}
	return own, ed25519.SignatureSize, nil
}

// curve25519 is as much of edwards25519 as the check of a public key needs. It
// is slow and not constant in time, and never touches a secret.
type curve25519 struct{ p, d *big.Int }

func newCurve25519() curve25519 {
	p := new(big.Int).Lsh(big.NewInt(1), 255)
	p.Sub(p, big.NewInt(19))
	d := new(big.Int).ModInverse(big.NewInt(121666), p) // d = -121665/121666
	d.Mul(d, big.NewInt(-121665)).Mod(d, p)
	return curve25519{p: p, d: d}
}

// xSquared is x² = (y²-1)/(dy²+1). The denominator is never 0, as -1/d is no square.
func (c curve25519) xSquared(y *big.Int) *big.Int {
	yy := new(big.Int).Mul(y, y)
	den := new(big.Int).Mul(c.d, yy)
	den.Add(den, big.NewInt(1)).ModInverse(den.Mod(den, c.p), c.p)
	num := yy.Sub(yy, big.NewInt(1))
	return num.Mul(num, den).Mod(num, c.p)
}

// onCurve reports whether a point has this y and sign of x.
func (c curve25519) onCurve(y *big.Int, sign uint) bool {
	xx := c.xSquared(y)
	if xx.Sign() == 0 {
		return sign == 0
	}
	return big.Jacobi(xx, c.p) == 1
}

// smallOrder reports whether the points with this y have an order that divides
// 8: whether three doublings lead to the neutral point (0, 1). The sign of x does
// not matter, as y(2P) = (y² + x²)/(1 - d x² y²).
func (c curve25519) smallOrder(y *big.Int) bool {
	one := big.NewInt(1)
	y = new(big.Int).Set(y)
	for range 3 {
		xx := c.xSquared(y)
		yy := new(big.Int).Mul(y, y)
		den := new(big.Int).Mul(xx, yy)
		den.Mul(den, c.d).Sub(one, den).Mod(den, c.p)
		if den.ModInverse(den, c.p) == nil {
			return false
		}
		y.Add(yy, xx).Mul(y, den).Mod(y, c.p)
	}
	return y.Cmp(one) == 0
}

func littleEndian(b []byte) *big.Int {
	reversed := slices.Clone(b)
	slices.Reverse(reversed)
	return new(big.Int).SetBytes(reversed)
}
