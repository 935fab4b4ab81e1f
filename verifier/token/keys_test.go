package token

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"math/big"
	"os"
	"strconv"
	"strings"
	"testing"
)

// The key ids of the test keys.
const (
	edID, ecID, rsaID = "ed-1", "ec-1", "rsa-1"
)

// testKeys are the private keys that the vectors are signed with. They are
// fixed, so that the vectors are the same on every machine, and good for nothing else.
type testKeys struct {
	ed  ed25519.PrivateKey
	ec  *ecdsa.PrivateKey
	rsa *rsa.PrivateKey
}

func loadTestKeys(tb testing.TB) testKeys {
	tb.Helper()
	doc, err := os.ReadFile("testdata/rsa-test-key.pem")
	if err != nil {
		tb.Fatal(err)
	}
	block, _ := pem.Decode(doc)
	if block == nil {
		tb.Fatal("testdata/rsa-test-key.pem holds no PEM block")
	}
	rsaKey, err := x509.ParsePKCS1PrivateKey(block.Bytes)
	if err != nil {
		tb.Fatal(err)
	}
	scalar := sha256.Sum256([]byte("authbus test key ec-1"))
	ecKey, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), scalar[:])
	if err != nil {
		tb.Fatal(err)
	}
	seed := sha256.Sum256([]byte("authbus test key ed-1"))
	return testKeys{ed: ed25519.NewKeyFromSeed(seed[:]), ec: ecKey, rsa: rsaKey}
}

func (k testKeys) signer(kid string) (Alg, crypto.Signer) {
	switch kid {
	case ecID:
		return AlgES256, k.ec
	case rsaID:
		return AlgRS256, k.rsa
	}
	return AlgEdDSA, k.ed
}

func (k testKeys) public() []Key {
	return []Key{
		{ID: edID, Alg: AlgEdDSA, Public: k.ed.Public()},
		{ID: ecID, Alg: AlgES256, Public: k.ec.Public()},
		{ID: rsaID, Alg: AlgRS256, Public: k.rsa.Public()},
	}
}

func (k testKeys) set(tb testing.TB) *KeySet {
	tb.Helper()
	s, err := NewKeySet(k.public()...)
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

// sign is the signature of the test key kid over input, the same each time.
func (k testKeys) sign(tb testing.TB, kid, input string) []byte {
	tb.Helper()
	digest := sha256.Sum256([]byte(input))
	var sig []byte
	var err error
	switch kid {
	case ecID:
		var der []byte
		der, err = k.ec.Sign(nil, digest[:], crypto.SHA256) // no randomness: RFC 6979
		if err == nil {
			sig, err = joinRS(der)
		}
	case rsaID:
		sig, err = rsa.SignPKCS1v15(nil, k.rsa, crypto.SHA256, digest[:])
	default:
		sig = ed25519.Sign(k.ed, []byte(input))
	}
	if err != nil {
		tb.Fatal(err)
	}
	return sig
}

func joinRS(der []byte) ([]byte, error) {
	var rs struct{ R, S *big.Int }
	if _, err := asn1.Unmarshal(der, &rs); err != nil {
		return nil, err
	}
	sig := make([]byte, 64)
	rs.R.FillBytes(sig[:32])
	rs.S.FillBytes(sig[32:])
	return sig, nil
}

func b64(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

func TestNewKeySetRefusesUnsoundKeys(t *testing.T) {
	keys := loadTestKeys(t)
	weak := &rsa.PublicKey{N: new(big.Int).Rsh(keys.rsa.N, 1025), E: 65537}
	weak.N.SetBit(weak.N, 0, 1)
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ed := keys.public()[0]
	tests := []struct {
		name string
		key  Key
		want string
	}{
		{"no id", Key{Alg: AlgEdDSA, Public: ed.Public}, "key id of 0 bytes"},
		{"id too long", Key{ID: strings.Repeat("k", 257), Alg: AlgEdDSA, Public: ed.Public}, "key id of 257 bytes"},
		{"unknown algorithm", Key{ID: "k", Alg: "PS256", Public: keys.rsa.Public()}, "not supported"},
		{"symmetric algorithm", Key{ID: "k", Alg: "HS256", Public: []byte("secret")}, "never mixed"},
		{"no public key", Key{ID: "k", Alg: AlgEdDSA}, "type"},
		{"EdDSA with an RSA key", Key{ID: "k", Alg: AlgEdDSA, Public: keys.rsa.Public()}, "type"},
		{"RS256 with an Ed25519 key", Key{ID: "k", Alg: AlgRS256, Public: ed.Public}, "type"},
		{"ES256 with a private key", Key{ID: "k", Alg: AlgES256, Public: keys.ec}, "type"},
		{"ES256 with a nil key", Key{ID: "k", Alg: AlgES256, Public: (*ecdsa.PublicKey)(nil)}, "type"},
		{"ES256 without a point", Key{ID: "k", Alg: AlgES256, Public: &ecdsa.PublicKey{Curve: elliptic.P256()}}, "point"},
		{"ES256 on P-384", Key{ID: "k", Alg: AlgES256, Public: p384.Public()}, "P-256"},
		{"RSA of 1023 bits", Key{ID: "k", Alg: AlgRS256, Public: weak}, "modulus of 10"},
		{"RSA of 8192 bits", Key{ID: "k", Alg: AlgRS256, Public: &rsa.PublicKey{N: new(big.Int).SetBit(big.NewInt(1), 8191, 1), E: 65537}}, "modulus of 8192"},
		{"RSA without modulus", Key{ID: "k", Alg: AlgRS256, Public: &rsa.PublicKey{E: 65537}}, "type"},
		{"RSA with even modulus", Key{ID: "k", Alg: AlgRS256, Public: &rsa.PublicKey{N: new(big.Int).SetBit(big.NewInt(0), 2047, 1), E: 65537}}, "even"},
		{"RSA with exponent 1", Key{ID: "k", Alg: AlgRS256, Public: &rsa.PublicKey{N: keys.rsa.N, E: 1}}, "exponent"},
		{"RSA with exponent 65536", Key{ID: "k", Alg: AlgRS256, Public: &rsa.PublicKey{N: keys.rsa.N, E: 65536}}, "exponent"},
		{"Ed25519 of 31 bytes", Key{ID: "k", Alg: AlgEdDSA, Public: make(ed25519.PublicKey, 31)}, "type"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, err := NewKeySet(tt.key)
			if s != nil || err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("NewKeySet = %v, %v; want an error with %q", s, err, tt.want)
			}
		})
	}
}

// The encodings of Ed25519 points that no signature may be checked with: order
// 1, 2, 4 and 8, then spellings of them that are not canonical, then no points.
func TestNewKeySetRefusesWeakEd25519(t *testing.T) {
	tests := []struct{ point, want string }{
		{"0100000000000000000000000000000000000000000000000000000000000000", "small order"},
		{"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", "small order"},
		{"0000000000000000000000000000000000000000000000000000000000000000", "small order"},
		{"0000000000000000000000000000000000000000000000000000000000000080", "small order"},
		{"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05", "small order"},
		{"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85", "small order"},
		{"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a", "small order"},
		{"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa", "small order"},
		{"0100000000000000000000000000000000000000000000000000000000000080", "small order"},
		{"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", "canonical"},
		{"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", "canonical"},
		{"ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff", "canonical"},
		{"0200000000000000000000000000000000000000000000000000000000000000", "not on the curve"},
	}
	for _, tt := range tests {
		t.Run(tt.point, func(t *testing.T) {
			point, err := hex.DecodeString(tt.point)
			if err != nil {
				t.Fatal(err)
			}
			_, err = NewKeySet(Key{ID: "k", Alg: AlgEdDSA, Public: ed25519.PublicKey(point)})
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("NewKeySet: %v; want an error with %q", err, tt.want)
			}
		})
	}
}

func TestNewKeySetAcceptsEveryGeneratedEd25519Key(t *testing.T) {
	for range 100 {
		public, _, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := NewKeySet(Key{ID: "k", Alg: AlgEdDSA, Public: public}); err != nil {
			t.Fatalf("%x: %v", public, err)
		}
	}
}

func TestNewKeySetRefusesDuplicatesAndTooMany(t *testing.T) {
	k := loadTestKeys(t).public()[0]
	if _, err := NewKeySet(k, k); err == nil || !strings.Contains(err.Error(), "twice") {
		t.Errorf("the same id twice: %v", err)
	}
	many := make([]Key, 65)
	for i := range many {
		many[i] = k
		many[i].ID = "k" + strconv.Itoa(i)
	}
	if _, err := NewKeySet(many...); err == nil || !strings.Contains(err.Error(), "65 keys") {
		t.Errorf("65 keys: %v", err)
	}
	if s, err := NewKeySet(many[:64]...); err != nil || s.Len() != 64 {
		t.Errorf("64 keys: %v", err)
	}
}

func TestKeySetCannotBeChangedByItsMaker(t *testing.T) {
	keys := loadTestKeys(t)
	public := keys.public()
	s := keys.set(t)
	for i := range public[0].Public.(ed25519.PublicKey) {
		public[0].Public.(ed25519.PublicKey)[i] = 0
	}
	keys.rsa.N.SetInt64(3)
	if got, _ := s.Lookup(edID); got.Public.(ed25519.PublicKey).Equal(public[0].Public) {
		t.Error("the Ed25519 key of the set changed")
	}
	if got, _ := s.Lookup(rsaID); got.Public.(*rsa.PublicKey).N.BitLen() != 2048 {
		t.Error("the RSA key of the set changed")
	}
}

func TestNilKeySetIsEmpty(t *testing.T) {
	var s *KeySet
	if _, ok := s.Lookup("k"); ok || s.Len() != 0 || len(s.Keys()) != 0 {
		t.Error("a nil key set holds something")
	}
}
