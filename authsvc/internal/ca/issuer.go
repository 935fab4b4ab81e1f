package ca

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"time"

	"github.com/authbus/authbus/events"
)

// issuer is a certificate that may sign others, with its key.
type issuer struct {
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
	// above leads from cert to a root older than its own; mostly empty.
	above []*x509.Certificate
}

// chain is what a leaf of the issuer is followed by.
func (i *issuer) chain() []*x509.Certificate {
	return append([]*x509.Certificate{i.cert}, i.above...)
}

func newRoot(trustDomain string) (*issuer, error) {
	key, err := newKey()
	if err != nil {
		return nil, err
	}
	template, err := authorityTemplate(trustDomain+" root CA", rootLifetime)
	if err != nil {
		return nil, err
	}
	cert, err := sign(template, template, &key.PublicKey, key)
	return &issuer{key: key, cert: cert}, err
}

// newIntermediate makes one that may issue no CA, and no SPIFFE ID outside of the
// trust domain.
func newIntermediate(root *issuer, trustDomain string) (*issuer, error) {
	key, err := newKey()
	if err != nil {
		return nil, err
	}
	template, err := authorityTemplate(trustDomain+" issuing CA", intermediateLifetime)
	if err != nil {
		return nil, err
	}
	template.MaxPathLenZero = true
	template.PermittedURIDomains, template.PermittedDNSDomainsCritical = []string{trustDomain}, true
	template.NotAfter = earlier(template.NotAfter, root.cert.NotAfter)
	cert, err := sign(template, root.cert, &key.PublicKey, root.key)
	return &issuer{key: key, cert: cert}, err
}

// crossSign returns the root's certificate as another root would have issued it:
// whoever trusts the other one can follow a chain through it.
func crossSign(root *x509.Certificate, other *issuer) (*x509.Certificate, error) {
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	template := *root
	template.SerialNumber = serial
	template.AuthorityKeyId = nil // the other's, not its own
	template.NotAfter = earlier(root.NotAfter, other.cert.NotAfter)
	return sign(&template, other.cert, root.PublicKey.(*ecdsa.PublicKey), other.key)
}

func authorityTemplate(name string, lifetime time.Duration) (*x509.Certificate, error) {
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	now := time.Now()
	return &x509.Certificate{
		// Without the number, certificates of the same name could be taken for each other.
		Subject:      pkix.Name{CommonName: name, SerialNumber: serial.Text(16)},
		SerialNumber: serial, NotBefore: now.Add(-backdated), NotAfter: now.Add(lifetime),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}, nil
}

func sign(template, parent *x509.Certificate, key *ecdsa.PublicKey, by *ecdsa.PrivateKey) (*x509.Certificate, error) {
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key, by)
	if err != nil {
		return nil, fmt.Errorf("signing a certificate: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("reading a new certificate: %w", err)
	}
	return cert, nil
}

// newSerial returns 128 random bits, positive as RFC 5280 §4.1.2.2 wants it.
func newSerial() (*big.Int, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 128))
	if err != nil {
		return nil, fmt.Errorf("making a serial number: %w", err)
	}
	return serial.Add(serial, big.NewInt(1)), nil
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// save makes it the issuer of the CA in dir, from one moment to the next.
func (i *issuer) save(dir string) error {
	text := append(encodeKey(i.key), events.EncodeCertificates(i.chain()...)...)
	return writeFile(filepath.Join(dir, "issuer.pem"), text)
}

func loadIssuer(path string) (*issuer, error) {
	text, err := readSecret(path)
	if err != nil {
		return nil, err
	}
	block, rest := pem.Decode(text)
	key, err := decodeKey(block)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	certs, err := events.ParseCertificates(rest)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if !key.PublicKey.Equal(certs[0].PublicKey) {
		return nil, fmt.Errorf("%s: the key is not that of the certificate", path)
	}
	return &issuer{key: key, cert: certs[0], above: certs[1:]}, nil
}

func previousPath(dir string, cert *x509.Certificate) string {
	return filepath.Join(dir, "previous", events.CertificateID(cert)+".pem")
}

// retire keeps an issuer's key: services know it, and believe what it signs.
func (i *issuer) retire(dir string) error {
	text := append(encodeKey(i.key), events.EncodeCertificates(i.chain()...)...)
	return writeFile(previousPath(dir, i.cert), text)
}

// issuerOf returns the present or former issuer that cert is, with its key.
func (c *CA) issuerOf(s *state, cert *x509.Certificate) (*issuer, error) {
	if s.issuer.cert.Equal(cert) {
		return s.issuer, nil
	}
	former, err := loadIssuer(previousPath(c.dir, cert))
	if errors.Is(err, fs.ErrNotExist) || err == nil && !former.cert.Equal(cert) {
		return nil, errNotOurs
	}
	return former, err
}

// dropExpired removes the keys of former issuers none of whose certificates can
// be alive.
func dropExpired(dir string, now time.Time) error {
	paths, err := filepath.Glob(filepath.Join(dir, "previous", "*.pem"))
	if err != nil {
		return err
	}
	for _, path := range paths {
		former, err := loadIssuer(path)
		if err != nil {
			return err
		}
		if now.After(former.cert.NotAfter) {
			if err := os.Remove(path); err != nil {
				return err
			}
		}
	}
	return nil
}
