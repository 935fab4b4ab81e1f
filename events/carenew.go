package events

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"encoding/pem"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"
)

// The renewal of certificates over the bus. A service calls [RenewCertificate] and
// needs nothing else of this file; whoever answers uses [DecodeRequest],
// [CARenewRequest.Open] and [SignCARenewal].

// CARenewRequest asks the internal CA for the successor of a certificate. Whoever
// holds the certificate's key while it is valid may ask; the identity is copied
// from the certificate.
type CARenewRequest struct {
	Nonce string `json:"nonce" validate:"required,max=64"`
	// Chain is the certificate and the intermediate that issued it, as PEM.
	Chain string `json:"chain" validate:"required,max=16384"`
	// CSR is a PKCS #10 request as PEM. Only its public key counts, a new one.
	CSR string `json:"csr" validate:"required,max=4096"`
	// Time is when it was signed, in Unix milliseconds.
	Time int64 `json:"time" validate:"required"`
	// Signature is by the key of the certificate over [CARenewRequest.Digest]:
	// ECDSA, ASN.1, base64url without padding.
	Signature string `json:"signature" validate:"required,max=256"`
}

// CARenewReply holds the new certificate. It is signed in the headers like other
// replies, but by the intermediate that issued the old certificate (its
// [CertificateID] is the key's id, ECDSA with SHA-256 the algorithm). So whoever
// trusted that one can take over the bundle, also one with new roots.
type CARenewReply struct {
	Nonce string `json:"nonce" validate:"required,max=64"`
	// Chain is the new certificate and what leads from it to a root, as PEM.
	Chain string `json:"chain" validate:"required,max=16384"`
	// Bundle are the roots to trust from now on, as PEM.
	Bundle string `json:"bundle" validate:"required,max=65536"`
}

// Digest is what the signature of the request is made over: SHA-256 of the line
// "authbus/1 auth.ca.renew", the time as 8 bytes, and nonce, chain and CSR, each
// after its length as 8 bytes; numbers are big-endian.
func (r *CARenewRequest) Digest() []byte {
	h := sha256.New()
	h.Write([]byte("authbus/1 " + SubjectCARenew + "\n"))
	number := func(n uint64) { h.Write(binary.BigEndian.AppendUint64(nil, n)) }
	number(uint64(r.Time))
	for _, text := range []string{r.Nonce, r.Chain, r.CSR} {
		number(uint64(len(text)))
		h.Write([]byte(text))
	}
	return h.Sum(nil)
}

// CARenewal is what a request proves of itself.
type CARenewal struct {
	// Leaf is the certificate whose key has signed the request. Whether it is
	// valid and of which CA is not known yet.
	Leaf *x509.Certificate
	// Issuers are the other certificates of the chain.
	Issuers []*x509.Certificate
	// Key is the new public key, whose holder has signed the CSR.
	Key *ecdsa.PublicKey
}

// Open checks the request's two signatures and returns what it says. The errors
// are safe to show to the asker.
func (r *CARenewRequest) Open() (CARenewal, error) {
	chain, err := ParseCertificates([]byte(r.Chain))
	if err != nil {
		return CARenewal{}, fmt.Errorf("reading the chain: %w", err)
	}
	old, ok := p256(chain[0].PublicKey)
	sig, err := base64.RawURLEncoding.Strict().DecodeString(r.Signature)
	if err != nil || !ok || !ecdsa.VerifyASN1(old, r.Digest(), sig) {
		return CARenewal{}, errors.New("the certificate's key has not signed this request")
	}
	block, rest := pem.Decode([]byte(r.CSR))
	if block == nil || block.Type != "CERTIFICATE REQUEST" || len(rest) > 0 {
		return CARenewal{}, errors.New("the CSR is not one block of PEM")
	}
	csr, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		return CARenewal{}, errors.New("the CSR cannot be read")
	}
	key, ok := p256(csr.PublicKey)
	if !ok || csr.CheckSignature() != nil {
		return CARenewal{}, errors.New("the CSR is not signed by a key of ECDSA P-256")
	}
	return CARenewal{Leaf: chain[0], Issuers: chain[1:], Key: key}, nil
}

func p256(key any) (*ecdsa.PublicKey, bool) {
	public, ok := key.(*ecdsa.PublicKey)
	return public, ok && public.Curve == elliptic.P256()
}

// SignCARenewal returns the headers of a reply: the signature of payload by the key
// of issuer, the intermediate that issued the certificate which is renewed.
func SignCARenewal(issuer *x509.Certificate, key crypto.Signer, payload []byte) (nats.Header, error) {
	sum := sha256.Sum256(signedBytes(SubjectCARenew, payload))
	sig, err := key.Sign(rand.Reader, sum[:], crypto.SHA256)
	if err != nil {
		return nil, fmt.Errorf("signing a renewal: %w", err)
	}
	return nats.Header{
		HeaderKey:       []string{CertificateID(issuer)},
		HeaderSignature: []string{base64.RawURLEncoding.EncodeToString(sig)},
	}, nil
}

// verifyCARenewal reports whether issuer has signed a reply.
func verifyCARenewal(issuer *x509.Certificate, header nats.Header, payload []byte) bool {
	key, ok := p256(issuer.PublicKey)
	if !ok || header.Get(HeaderKey) != CertificateID(issuer) {
		return false
	}
	sig, err := base64.RawURLEncoding.Strict().DecodeString(header.Get(HeaderSignature))
	sum := sha256.Sum256(signedBytes(SubjectCARenew, payload))
	return err == nil && ecdsa.VerifyASN1(key, sum[:], sig)
}

// maxCertificates bounds a chain and a bundle.
const maxCertificates = 16

// ParseCertificates reads one or more certificates, at most 16, from PEM that
// holds nothing else but text between the blocks.
func ParseCertificates(text []byte) ([]*x509.Certificate, error) {
	var certs []*x509.Certificate
	for {
		var block *pem.Block
		block, text = pem.Decode(text)
		switch {
		case block == nil && len(certs) == 0:
			return nil, errors.New("there is no certificate in it")
		case block == nil:
			return certs, nil
		case block.Type != "CERTIFICATE":
			return nil, fmt.Errorf("there is a %q in it, which is no certificate", block.Type)
		case len(certs) == maxCertificates:
			return nil, fmt.Errorf("there are more than %d certificates in it", maxCertificates)
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, errors.New("there is a certificate in it that cannot be read")
		}
		certs = append(certs, cert)
	}
}

// EncodeCertificates writes certificates as PEM.
func EncodeCertificates(certs ...*x509.Certificate) []byte {
	var text []byte
	for _, cert := range certs {
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw})...)
	}
	return text
}
