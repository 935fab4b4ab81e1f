package token

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"
)

const (
	// maxJWKSSize bounds a JWKS document, in bytes.
	maxJWKSSize = 256 << 10
	// maxJWKSMembers bounds its members: keys may carry certificates and more.
	maxJWKSMembers = 64 * maxKeys
)

// errKeyIgnored marks a key that is no concern of ours.
var errKeyIgnored = errors.New("key is for another use")

// ParseJWKS reads a JWK Set (RFC 7517 §5) with the same strictness as a token.
//
// It ignores keys that are not for checking signatures (use, key_ops), have no
// kid, or are of a type, curve or algorithm not supported here. It refuses the
// whole document for a key that is broken or weak ([NewKeySet] says what that
// is), and for anything secret in it: a private key or a shared secret that was
// published is an incident and not a configuration.
func ParseJWKS(doc []byte) (*KeySet, error) {
	if len(doc) > maxJWKSSize {
		return nil, fmt.Errorf("parsing JWKS: document of %d bytes, at most %d are allowed", len(doc), maxJWKSSize)
	}
	if f := checkJSON(string(doc), maxJWKSMembers); f != faultNone {
		return nil, fmt.Errorf("parsing JWKS: %v", f)
	}
	// Into maps and not into structs: encoding/json matches the names of struct
	// fields in any case.
	var set map[string]json.RawMessage
	if err := json.Unmarshal(doc, &set); err != nil {
		return nil, fmt.Errorf("parsing JWKS: %w", err)
	}
	var members []jwk
	if err := json.Unmarshal(set["keys"], &members); err != nil || members == nil {
		return nil, errors.New("parsing JWKS: keys is not an array of objects")
	}
	var keys []Key
	for i, m := range members {
		k, err := m.key()
		switch {
		case errors.Is(err, errKeyIgnored):
		case err != nil:
			return nil, fmt.Errorf("parsing JWKS: key %d: %w", i+1, err)
		default:
			keys = append(keys, k)
		}
	}
	s, err := NewKeySet(keys...)
	if err != nil {
		return nil, fmt.Errorf("parsing JWKS: %w", err)
	}
	return s, nil
}

// checkJSON checks a whole document that must be an object.
func checkJSON(doc string, room int) fault {
	s := scanner{doc: doc, room: room}
	f := s.begin()
	for more := true; f == faultNone && more; {
		_, _, more, f = s.next()
	}
	if f != faultNone {
		return f
	}
	return s.end()
}

// jwk is one key of the set.
type jwk map[string]json.RawMessage

// key turns the JWK into a key; the error is errKeyIgnored for one to pass over.
func (m jwk) key() (Key, error) {
	for _, secret := range []string{"d", "p", "q", "dp", "dq", "qi", "oth", "k"} {
		if _, ok := m[secret]; ok {
			return Key{}, fmt.Errorf("holds the private member %q", secret)
		}
	}
	var kty, crv, alg, use, kid string
	for name, to := range map[string]*string{"kty": &kty, "crv": &crv, "alg": &alg, "use": &use, "kid": &kid} {
		if err := m.text(name, to); err != nil {
			return Key{}, err
		}
	}
	if kty == "oct" {
		return Key{}, errors.New("is a shared secret")
	}
	verifies, err := m.verifies(use)
	if err != nil {
		return Key{}, err
	}
	if !verifies || kid == "" || alg != "" && !Alg(alg).public() {
		return Key{}, errKeyIgnored
	}
	k, err := m.public(kty, crv)
	if errors.Is(err, errKeyIgnored) && alg != "" {
		return Key{}, fmt.Errorf("kty %q and crv %q do not fit alg %q", kty, crv, alg)
	}
	if err != nil {
		return Key{}, err
	}
	if alg != "" && Alg(alg) != k.Alg {
		return Key{}, fmt.Errorf("kty %q does not fit alg %q", kty, alg)
	}
	k.ID = kid
	return k, nil
}

// verifies reports whether the key is meant for checking signatures (RFC 7517 §4.2, §4.3).
func (m jwk) verifies(use string) (bool, error) {
	if use != "" && use != "sig" {
		return false, nil
	}
	raw, ok := m["key_ops"]
	if !ok {
		return true, nil
	}
	var ops []string
	if err := json.Unmarshal(raw, &ops); err != nil {
		return false, errors.New("key_ops is not an array of strings")
	}
	return slices.Contains(ops, "verify"), nil
}

// public reads the members of the key's type. What is right about the key in
// itself is left to NewKeySet.
func (m jwk) public(kty, crv string) (Key, error) {
	switch {
	case kty == "OKP" && crv == "Ed25519":
		x, err := m.bytes("x", ed25519.PublicKeySize)
		return Key{Alg: AlgEdDSA, Public: ed25519.PublicKey(x)}, err
	case kty == "EC" && crv == "P-256":
		return m.p256()
	case kty == "RSA":
		return m.rsa()
	}
	return Key{}, errKeyIgnored
}

func (m jwk) p256() (Key, error) {
	x, err := m.bytes("x", 32)
	if err != nil {
		return Key{}, err
	}
	y, err := m.bytes("y", 32)
	if err != nil {
		return Key{}, err
	}
	const uncompressed = 4 // SEC 1 §2.3.3
	point := slices.Concat([]byte{uncompressed}, x, y)
	public, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), point)
	if err != nil {
		return Key{}, fmt.Errorf("reading point: %w", err)
	}
	return Key{Alg: AlgES256, Public: public}, nil
}

func (m jwk) rsa() (Key, error) {
	n, err := m.bytes("n", 0)
	if err != nil {
		return Key{}, err
	}
	e, err := m.bytes("e", 0)
	if err != nil {
		return Key{}, err
	}
	exponent := new(big.Int).SetBytes(e)
	if exponent.BitLen() > 31 {
		return Key{}, errors.New("RSA exponent is too large")
	}
	return Key{
		Alg:    AlgRS256,
		Public: &rsa.PublicKey{N: new(big.Int).SetBytes(n), E: int(exponent.Int64())},
	}, nil
}

// text reads a string member, if it is there.
func (m jwk) text(name string, to *string) error {
	raw, ok := m[name]
	if !ok {
		return nil
	}
	var s *string
	if err := json.Unmarshal(raw, &s); err != nil || s == nil {
		return fmt.Errorf("%s is not a string", name)
	}
	*to = *s
	return nil
}

// bytes reads a member of base64url; size 0 means any but none.
func (m jwk) bytes(name string, size int) ([]byte, error) {
	var s string
	if err := m.text(name, &s); err != nil {
		return nil, err
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(s)
	if err != nil || strings.ContainsAny(s, "\r\n") {
		return nil, fmt.Errorf("%s is not base64url", name)
	}
	if len(b) == 0 || size != 0 && len(b) != size {
		return nil, fmt.Errorf("%s is %d bytes long", name, len(b))
	}
	return b, nil
}

// jwkOut is a JWK as this package writes it.
type jwkOut struct {
	Kty string `json:"kty"`
	Crv string `json:"crv,omitempty"`
	N   string `json:"n,omitempty"`
	E   string `json:"e,omitempty"`
	X   string `json:"x,omitempty"`
	Y   string `json:"y,omitempty"`
	Kid string `json:"kid"`
	Alg Alg    `json:"alg"`
	Use string `json:"use"`
}

// MarshalJWKS writes the keys as a JWK Set that [ParseJWKS] reads. It refuses
// what [NewKeySet] refuses.
func MarshalJWKS(keys []Key) ([]byte, error) {
	s, err := NewKeySet(keys...)
	if err != nil {
		return nil, fmt.Errorf("writing JWKS: %w", err)
	}
	set := struct {
		Keys []jwkOut `json:"keys"`
	}{Keys: make([]jwkOut, 0, s.Len())}
	for _, k := range s.order {
		out, err := k.jwk()
		if err != nil {
			return nil, fmt.Errorf("writing JWKS: key %q: %w", k.ID, err)
		}
		set.Keys = append(set.Keys, out)
	}
	doc, err := json.Marshal(set)
	if err != nil {
		return nil, fmt.Errorf("writing JWKS: %w", err)
	}
	return doc, nil
}

func (k *verifyKey) jwk() (jwkOut, error) {
	enc := base64.RawURLEncoding.EncodeToString
	out := jwkOut{Kid: k.ID, Alg: k.Alg, Use: "sig"}
	switch public := k.Public.(type) {
	case ed25519.PublicKey:
		out.Kty, out.Crv, out.X = "OKP", "Ed25519", enc(public)
	case *ecdsa.PublicKey:
		point, err := public.Bytes()
		if err != nil {
			return jwkOut{}, err
		}
		out.Kty, out.Crv, out.X, out.Y = "EC", "P-256", enc(point[1:33]), enc(point[33:])
	case *rsa.PublicKey:
		out.Kty, out.N, out.E = "RSA", enc(public.N.Bytes()), enc(big.NewInt(int64(public.E)).Bytes())
	default:
		return jwkOut{}, errKeyType
	}
	return out, nil
}
