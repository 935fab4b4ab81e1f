package mtls

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"github.com/authbus/authbus/events"
)

// identity is one set of the three files, checked. It does not change.
type identity struct {
	certificate tls.Certificate
	chain       []*x509.Certificate // the leaf first
	id          string              // SPIFFE ID
	trustDomain string
	roots       *x509.CertPool
	issued      time.Time // at the latest
}

// material is the content of the three files.
type material struct{ cert, key, ca []byte }

// sum tells one material from another.
func (m material) sum() [sha256.Size]byte {
	h := sha256.New()
	for _, part := range [][]byte{m.cert, m.key, m.ca} {
		sum := sha256.Sum256(part)
		h.Write(sum[:])
	}
	return [sha256.Size]byte(h.Sum(nil))
}

// errMismatch may be the moment between two writes of another program.
var errMismatch = errors.New("must be the key of Config.CertFile")

// maxFile bounds what is read of one file.
const maxFile = 1 << 20

func (c *Config) read() (material, error) {
	var m material
	for _, file := range []struct {
		field, path string
		to          *[]byte
		private     bool
	}{
		{"CertFile", c.CertFile, &m.cert, false},
		{"KeyFile", c.KeyFile, &m.key, true},
		{"CAFile", c.CAFile, &m.ca, false},
	} {
		content, err := readFile(file.path, file.private)
		if err != nil {
			return material{}, fmt.Errorf("mtls: Config.%s: %w", file.field, err)
		}
		*file.to = content
	}
	return m, nil
}

// readFile reads a file. A private one must be closed to others: with more than
// mode 0640 anybody on the machine may be who it says.
func readFile(path string, private bool) ([]byte, error) {
	f, err := os.Open(path) //nolint:gosec // the path is the operator's
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // it was only read
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	const tooOpen fs.FileMode = 0o037
	if mode := info.Mode().Perm(); private && mode&tooOpen != 0 {
		return nil, fmt.Errorf("%s must be closed to others: its mode is %04o, and may be 0640 at most", path, mode)
	}
	content, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(content) > maxFile {
		err = fmt.Errorf("%s must be smaller than 1 MiB", path)
	}
	return content, err
}

// check makes an identity of the files' content, or says which is wrong.
func (c *Config) check(m material, now time.Time) (*identity, error) {
	roots, err := readRoots(m.ca)
	if err != nil {
		return nil, fmt.Errorf("mtls: Config.CAFile: %s %w", c.CAFile, err)
	}
	id, err := readCertificate(m, now)
	if errors.Is(err, errMismatch) {
		return nil, fmt.Errorf("mtls: Config.KeyFile: %s %w", c.KeyFile, err)
	}
	if err != nil {
		return nil, fmt.Errorf("mtls: Config.CertFile: %s %w", c.CertFile, err)
	}
	id.roots = roots
	if c.TrustDomain != "" && c.TrustDomain != id.trustDomain {
		return nil, fmt.Errorf("mtls: Config.TrustDomain must be that of the certificate, which is %s", id.trustDomain)
	}
	if err := id.check(now); err != nil {
		return nil, fmt.Errorf("mtls: Config.CertFile: %s must lead to a root of Config.CAFile and be good for a %w", c.CertFile, err)
	}
	return id, nil
}

// check checks that the chain leads to a root. Every service is both sides of some
// connection.
func (i *identity) check(now time.Time) error {
	if err := verify(i.chain, i.roots, x509.ExtKeyUsageClientAuth, now); err != nil {
		return fmt.Errorf("client: %w", err)
	}
	if err := verify(i.chain, i.roots, x509.ExtKeyUsageServerAuth, now); err != nil {
		return fmt.Errorf("server: %w", err)
	}
	return nil
}

func readRoots(text []byte) (*x509.CertPool, error) {
	certs, err := events.ParseCertificates(text)
	if err != nil {
		return nil, fmt.Errorf("must hold the roots: %w", err)
	}
	roots := x509.NewCertPool()
	for _, cert := range certs {
		if !cert.BasicConstraintsValid || !cert.IsCA {
			return nil, fmt.Errorf("must hold nothing but CA certificates: %q is none", cert.Subject)
		}
		roots.AddCert(cert)
	}
	return roots, nil
}

// readCertificate reads certificate and key. Whom the chain leads to is not known
// yet.
func readCertificate(m material, now time.Time) (*identity, error) {
	chain, err := events.ParseCertificates(m.cert)
	if err != nil {
		return nil, fmt.Errorf("must hold the certificate: %w", err)
	}
	leaf := chain[0]
	id, err := events.CertificateSPIFFEID(leaf)
	if err != nil {
		return nil, fmt.Errorf("must name one service: %w", err)
	}
	trustDomain, _, err := events.ParseSPIFFEID(id)
	if err != nil {
		return nil, fmt.Errorf("must name one service: %w", err)
	}
	switch {
	case now.After(leaf.NotAfter):
		return nil, fmt.Errorf("must be valid: it expired at %s", leaf.NotAfter.Format(time.RFC3339))
	case now.Before(leaf.NotBefore):
		return nil, fmt.Errorf("must be valid: it is from %s on", leaf.NotBefore.Format(time.RFC3339))
	}
	pair, err := tls.X509KeyPair(m.cert, m.key)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errMismatch, err)
	}
	pair.Leaf = leaf
	return &identity{certificate: pair, chain: chain, id: id, trustDomain: trustDomain, issued: issuedAt(leaf, now)}, nil
}

// issuedAt is when a certificate was issued that is seen now: one of the internal CA
// begins a while before, which is no part of its lifetime. One that begins when it is
// issued, as another CA's may, was issued before it is seen.
func issuedAt(leaf *x509.Certificate, now time.Time) time.Time {
	if issued := leaf.NotBefore.Add(events.CertificateBackdating); issued.Before(now) {
		return issued
	}
	return now
}

// verify checks that a chain, the leaf first, leads to one of the roots.
func verify(chain []*x509.Certificate, roots *x509.CertPool, usage x509.ExtKeyUsage, now time.Time) error {
	if len(chain) == 0 {
		return errors.New("there is no certificate")
	}
	intermediates := x509.NewCertPool()
	for _, cert := range chain[1:] {
		intermediates.AddCert(cert)
	}
	_, err := chain[0].Verify(x509.VerifyOptions{
		Roots: roots, Intermediates: intermediates, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{usage},
	})
	return err
}

// lifetime is how long the certificate lives, from when it was issued.
func (i *identity) lifetime() time.Duration { return i.leaf().NotAfter.Sub(i.issued) }

// leaf is the certificate itself.
func (i *identity) leaf() *x509.Certificate { return i.chain[0] }
