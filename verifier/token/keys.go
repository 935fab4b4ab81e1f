package token

import (
	"crypto"
	"crypto/sha256"
	"errors"
	"fmt"
)

// Alg is a signature algorithm (RFC 7518 §3.1, RFC 8037).
type Alg string

// The algorithms there are.
const (
	AlgEdDSA Alg = "EdDSA" // Ed25519
	AlgES256 Alg = "ES256" // ECDSA on P-256 with SHA-256
	AlgRS256 Alg = "RS256" // RSASSA-PKCS1-v1_5 with SHA-256
	// AlgHS256 is HMAC with SHA-256 and a [Secret]: never with a [Key].
	AlgHS256 Alg = "HS256"
)

// public reports whether a is an algorithm of public keys.
func (a Alg) public() bool { return a == AlgEdDSA || a == AlgES256 || a == AlgRS256 }

// ErrMixed says that shared secrets and public keys were to be trusted at once.
// They never are: where both are, a public key can be taken for a secret, and who
// holds the secret signs like who holds the private key (RFC 8725 §2.1).
var ErrMixed = errors.New("shared secrets and public keys are never mixed")

// Key is one public key of an issuer. It is good for exactly one algorithm.
type Key struct {
	ID  string // kid, 1 to 256 bytes
	Alg Alg
	// Public is an ed25519.PublicKey, *ecdsa.PublicKey or *rsa.PublicKey, as Alg says.
	Public crypto.PublicKey
}

// maxKeys bounds a key set: a rotating issuer has a handful.
const maxKeys = 64

// KeySet holds the keys of one issuer: public keys, or shared secrets, never
// both. It never changes and may be used from many goroutines. A nil *KeySet
// holds no key.
type KeySet struct {
	byID   map[string]*verifyKey
	order  []*verifyKey
	shared bool // it is for secrets, and HS256 is all that it admits
}

// verifyKey is a checked key of our own, which no caller can change.
type verifyKey struct {
	Key
	secret any // the bytes of a shared secret; Public is nil then
	sigLen int // of every signature, in bytes
}

// NewKeySet makes a set of the keys. It refuses the whole set for one key that
// is not sound: an algorithm it does not know, a key of another type than its
// algorithm's, RSA below 2048 or above 4096 bits or with a bad exponent, a point
// off its curve, an Ed25519 key of small order, an id that is empty, too long or
// there twice; and a set of more than 64 keys. An empty set is allowed.
func NewKeySet(keys ...Key) (*KeySet, error) {
	if len(keys) > maxKeys {
		return nil, fmt.Errorf("key set has %d keys, at most %d are allowed", len(keys), maxKeys)
	}
	s := &KeySet{byID: make(map[string]*verifyKey, len(keys))}
	for _, k := range keys {
		if k.ID == "" || len(k.ID) > maxKIDLen {
			return nil, fmt.Errorf("key id of %d bytes: 1 to %d are allowed", len(k.ID), maxKIDLen)
		}
		if s.byID[k.ID] != nil {
			return nil, fmt.Errorf("key id %q is there twice", k.ID)
		}
		checked, err := checkKey(k)
		if err != nil {
			return nil, fmt.Errorf("key %q: %w", k.ID, err)
		}
		s.byID[k.ID] = checked
		s.order = append(s.order, checked)
	}
	return s, nil
}

// NewSecretSet makes a set of shared secrets, whose ids are the kids. Two are
// there while one replaces the other. It refuses the zero Secret and one that is
// there twice. An empty set is allowed; it accepts nothing.
func NewSecretSet(secrets ...Secret) (*KeySet, error) {
	s := &KeySet{byID: make(map[string]*verifyKey, len(secrets)), shared: true}
	for _, secret := range secrets {
		if secret.IsZero() {
			return nil, errors.New("shared secret is missing")
		}
		if s.byID[secret.ID()] != nil {
			return nil, fmt.Errorf("shared secret %s is there twice", secret.ID())
		}
		s.addSecret(secret.ID(), secret.held().key)
	}
	return s, nil
}

func (s *KeySet) addSecret(kid string, key any) {
	k := &verifyKey{Key: Key{ID: kid, Alg: AlgHS256}, secret: key, sigLen: sha256.Size}
	s.byID[kid] = k
	s.order = append(s.order, k)
}

// Shared reports whether the set is one of shared secrets.
func (s *KeySet) Shared() bool { return s != nil && s.shared }

// admits reports whether tokens of the algorithm can be good at all.
func (s *KeySet) admits(a Alg) bool {
	if s.Shared() {
		return a == AlgHS256
	}
	return a.public()
}

// Lookup returns the key with exactly this id. The key is shared: do not change
// it. A shared secret has no public half: Public is nil, and only the id is told.
func (s *KeySet) Lookup(kid string) (Key, bool) {
	if k := s.find(kid); k != nil {
		return k.Key, true
	}
	return Key{}, false
}

// Keys returns all keys, in the order in which they were given.
func (s *KeySet) Keys() []Key {
	keys := make([]Key, 0, s.Len())
	if s != nil {
		for _, k := range s.order {
			keys = append(keys, k.Key)
		}
	}
	return keys
}

// Len is the number of keys.
func (s *KeySet) Len() int {
	if s == nil {
		return 0
	}
	return len(s.order)
}

func (s *KeySet) find(kid string) *verifyKey {
	if s == nil {
		return nil
	}
	return s.byID[kid]
}

var errKeyType = errors.New("public key is not of its algorithm's type")

// checkKey copies the key and proves that it is fit for its algorithm.
func checkKey(k Key) (*verifyKey, error) {
	var err error
	checked := &verifyKey{Key: k}
	switch k.Alg {
	case AlgEdDSA:
		checked.Public, checked.sigLen, err = checkEd25519(k.Public)
	case AlgES256:
		checked.Public, checked.sigLen, err = checkP256(k.Public)
	case AlgRS256:
		checked.Public, checked.sigLen, err = checkRSA(k.Public)
	case AlgHS256:
		err = fmt.Errorf("algorithm %q is not supported here: %w", k.Alg, ErrMixed)
	default:
		err = fmt.Errorf("algorithm %q is not supported", k.Alg)
	}
	if err != nil {
		return nil, err
	}
	return checked, nil
}
