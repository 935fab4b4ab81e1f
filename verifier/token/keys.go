package token

import (
	"crypto"
	"errors"
	"fmt"
)

// Alg is a signature algorithm (RFC 7518 §3.1, RFC 8037).
type Alg string

// The algorithms there are. All are asymmetric: a key set never holds a shared
// secret, so a public key can never be taken for one.
const (
	AlgEdDSA Alg = "EdDSA" // Ed25519
	AlgES256 Alg = "ES256" // ECDSA on P-256 with SHA-256
	AlgRS256 Alg = "RS256" // RSASSA-PKCS1-v1_5 with SHA-256
)

func (a Alg) known() bool { return a == AlgEdDSA || a == AlgES256 || a == AlgRS256 }

// Key is one public key of an issuer. It is good for exactly one algorithm.
type Key struct {
	ID  string // kid, 1 to 256 bytes
	Alg Alg
	// Public is an ed25519.PublicKey, *ecdsa.PublicKey or *rsa.PublicKey, as Alg says.
	Public crypto.PublicKey
}

// maxKeys bounds a key set: a rotating issuer has a handful.
const maxKeys = 64

// KeySet holds the keys of one issuer. It never changes and may be used from
// many goroutines. A nil *KeySet holds no key.
type KeySet struct {
	byID  map[string]*verifyKey
	order []*verifyKey
}

// verifyKey is a checked key of our own, which no caller can change.
type verifyKey struct {
	Key
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

// Lookup returns the key with exactly this id. The key is shared: do not change it.
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
	default:
		return nil, fmt.Errorf("algorithm %q is not supported", k.Alg)
	}
	if err != nil {
		return nil, err
	}
	return checked, nil
}
