package keyring

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base32"
	"fmt"
	"strings"

	"github.com/authbus/authbus/authsvc/internal/store"
	"github.com/authbus/authbus/verifier/token"
)

const rsaBits = 3072

// newKey makes a key pair for alg with a new random kid, as the database holds
// it. It is slow for RSA: not to be called in a write transaction.
func newKey(m MasterKey, purpose store.KeyPurpose, alg token.Alg) (store.SigningKey, error) {
	private, err := generate(alg)
	if err != nil {
		return store.SigningKey{}, fmt.Errorf("generating signing key: %w", err)
	}
	public, err := x509.MarshalPKIXPublicKey(private.Public())
	if err != nil {
		return store.SigningKey{}, fmt.Errorf("encoding public key: %w", err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return store.SigningKey{}, fmt.Errorf("encoding signing key: %w", err)
	}
	kid := newKID()
	sealed, err := m.seal(kid, der)
	if err != nil {
		return store.SigningKey{}, fmt.Errorf("sealing signing key: %w", err)
	}
	return store.SigningKey{KID: kid, Purpose: purpose, Alg: string(alg), Public: public, SealedPrivate: sealed}, nil
}

func generate(alg token.Alg) (crypto.Signer, error) {
	switch alg {
	case token.AlgEdDSA:
		_, key, err := ed25519.GenerateKey(rand.Reader)
		return key, err
	case token.AlgES256:
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case token.AlgRS256:
		return rsa.GenerateKey(rand.Reader, rsaBits)
	}
	return nil, fmt.Errorf("unknown algorithm %q", alg)
}

// newKID returns an id of 128 random bits that fits in a NATS subject.
func newKID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails: crypto/rand
	return "k_" + strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(b[:]))
}

// publicKey returns the public half of a stored key.
func publicKey(k store.SigningKey) (token.Key, error) {
	public, err := x509.ParsePKIXPublicKey(k.Public)
	if err != nil {
		return token.Key{}, fmt.Errorf("decoding public key %s: %w", k.KID, err)
	}
	return token.Key{ID: k.KID, Alg: token.Alg(k.Alg), Public: public}, nil
}

// privateKey opens the private half of a stored key, and makes sure that it
// belongs to the public one: a token signed with any other would be refused by all.
func privateKey(m MasterKey, k store.SigningKey) (crypto.Signer, error) {
	der, err := m.open(k.KID, k.SealedPrivate)
	if err != nil {
		return nil, err
	}
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, fmt.Errorf("decoding signing key %s: %w", k.KID, err)
	}
	public, err := publicKey(k)
	if err != nil {
		return nil, err
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("signing key %s is a %T", k.KID, key)
	}
	if own, ok := signer.Public().(interface{ Equal(x crypto.PublicKey) bool }); !ok || !own.Equal(public.Public) {
		return nil, fmt.Errorf("signing key %s does not belong to its public key", k.KID)
	}
	return signer, nil
}
