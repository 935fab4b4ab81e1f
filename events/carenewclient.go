package events

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
)

// ErrNoCA is returned where nobody renews certificates on the bus.
var ErrNoCA = errors.New("no CA is listening")

// RenewedCertificate is a certificate with a key of its own, and whom to trust
// from now on.
type RenewedCertificate struct {
	// Certificate is the chain and the new private key; its Leaf is set.
	Certificate tls.Certificate
	// Roots replaces the certificates that were trusted before.
	Roots []*x509.Certificate
	// The same as PEM, to be written to files. KeyPEM is a secret.
	ChainPEM, KeyPEM, BundlePEM []byte
}

// RenewCertificate has the CA on the bus (authsvc ca serve) issue the successor of
// current: the same identity with a new key, which never leaves this process.
// current must be valid still, and hold its chain up to the intermediate that
// issued it, which must have signed the answer. ctx should have a deadline.
//
//	next, err := events.RenewCertificate(ctx, nc, current)
//
// Errors: [ErrNoCA], [ErrForgedReply], a [*RequestError] with the CA's refusal, a
// [*ValidationError], or those of the connection and of ctx. current stays good
// for as long as it was; to ask again later makes another key.
func RenewCertificate(ctx context.Context, nc *nats.Conn, current tls.Certificate) (*RenewedCertificate, error) {
	next, err := renew(ctx, nc, current)
	if err != nil {
		return nil, fmt.Errorf("renewing the certificate: %w", err)
	}
	return next, nil
}

func renew(ctx context.Context, nc *nats.Conn, current tls.Certificate) (*RenewedCertificate, error) {
	chain, signer, err := readKeyPair(current)
	if err != nil {
		return nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making a key: %w", err)
	}
	req, err := NewCARenewRequest(chain, signer, key, time.Now())
	if err != nil {
		return nil, err
	}
	payload, err := json.Marshal(req)
	if err != nil {
		return nil, fmt.Errorf("encoding the request: %w", err)
	}
	msg, err := nc.RequestWithContext(ctx, SubjectCARenew, payload)
	if errors.Is(err, nats.ErrNoResponders) {
		err = ErrNoCA
	}
	if err != nil {
		return nil, err
	}
	var reply CARenewReply
	issued := func(msg *nats.Msg) bool { return verifyCARenewal(chain[1], msg.Header, msg.Data) }
	if err := readReply(msg, req.Nonce, &reply, issued); err != nil {
		return nil, err
	}
	return reply.open(chain[0], key)
}

// readKeyPair returns chain and key of a certificate that was issued by the next
// one in its chain.
func readKeyPair(current tls.Certificate) ([]*x509.Certificate, crypto.Signer, error) {
	signer, ok := current.PrivateKey.(crypto.Signer)
	if !ok || len(current.Certificate) < 2 {
		return nil, nil, errors.New("the certificate has no key, or its chain not the intermediate that issued it")
	}
	chain := make([]*x509.Certificate, len(current.Certificate))
	for i, der := range current.Certificate {
		var err error
		if chain[i], err = x509.ParseCertificate(der); err != nil {
			return nil, nil, fmt.Errorf("reading the chain: %w", err)
		}
	}
	if err := chain[0].CheckSignatureFrom(chain[1]); err != nil {
		return nil, nil, fmt.Errorf("the second certificate of the chain has not issued the first: %w", err)
	}
	return chain, signer, nil
}

// NewCARenewRequest returns a signed request for a certificate of the new key. It
// is for those who send it themselves; others call [RenewCertificate].
func NewCARenewRequest(chain []*x509.Certificate, signer, key crypto.Signer, now time.Time) (*CARenewRequest, error) {
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		return nil, fmt.Errorf("making a CSR: %w", err)
	}
	req := &CARenewRequest{
		Nonce: NewNonce(), Chain: string(EncodeCertificates(chain...)), Time: now.UnixMilli(),
		CSR: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: csr})),
	}
	if err := req.Sign(signer); err != nil {
		return nil, err
	}
	return req, Validate(req)
}

// Sign signs the request with the key of the certificate that it shows.
func (r *CARenewRequest) Sign(signer crypto.Signer) error {
	sig, err := signer.Sign(rand.Reader, r.Digest(), crypto.SHA256)
	if err != nil {
		return fmt.Errorf("signing the request: %w", err)
	}
	r.Signature = base64.RawURLEncoding.EncodeToString(sig)
	return nil
}

// open checks that the reply, whose signature is good, holds what was asked for.
func (r *CARenewReply) open(old *x509.Certificate, key *ecdsa.PrivateKey) (*RenewedCertificate, error) {
	chain, err := ParseCertificates([]byte(r.Chain))
	if err != nil {
		return nil, fmt.Errorf("reading the new chain: %w", err)
	}
	roots, err := ParseCertificates([]byte(r.Bundle))
	if err != nil {
		return nil, fmt.Errorf("reading the bundle: %w", err)
	}
	if err := checkRenewed(chain, roots, old, key); err != nil {
		return nil, fmt.Errorf("the new certificate is not what was asked for: %w", err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encoding the new key: %w", err)
	}
	next := &RenewedCertificate{
		Certificate: tls.Certificate{PrivateKey: key, Leaf: chain[0]}, Roots: roots,
		ChainPEM: EncodeCertificates(chain...), BundlePEM: EncodeCertificates(roots...),
		KeyPEM: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}),
	}
	for _, cert := range chain {
		next.Certificate.Certificate = append(next.Certificate.Certificate, cert.Raw)
	}
	return next, nil
}

func checkRenewed(chain, roots []*x509.Certificate, old *x509.Certificate, key *ecdsa.PrivateKey) error {
	before, err := CertificateSPIFFEID(old)
	if err != nil {
		return err
	}
	now, err := CertificateSPIFFEID(chain[0])
	if err != nil {
		return err
	}
	if now != before || !key.PublicKey.Equal(chain[0].PublicKey) {
		return fmt.Errorf("it is for %s or another key, and was to be for %s", now, before)
	}
	options := x509.VerifyOptions{
		Roots: x509.NewCertPool(), Intermediates: x509.NewCertPool(),
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	for _, cert := range roots {
		options.Roots.AddCert(cert)
	}
	for _, cert := range chain[1:] {
		options.Intermediates.AddCert(cert)
	}
	_, err = chain[0].Verify(options)
	return err
}
