package ca

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/authbus/authbus/authsvc/internal/field"
	"github.com/authbus/authbus/events"
)

// CA issues certificates from a directory. Create it with [Open]. Its methods may
// be called from many goroutines, and see what other processes have done.
type CA struct {
	dir     string
	records *records
}

// ErrNoCA is returned by [Open] where the directory holds no CA.
var ErrNoCA = errors.New("there is no CA: create it with authsvc ca init")

// BundleFile is the file of the roots in the CA's directory.
const BundleFile = "bundle.crt"

// The lifetimes of what is no leaf.
const (
	rootLifetime         = 10 * 365 * 24 * time.Hour
	intermediateLifetime = 365 * 24 * time.Hour
	backdated            = events.CertificateBackdating
)

// Init creates a CA for a trust domain (SPIFFE-ID §2.1), such as example.org, in a
// directory that must not exist or be empty.
func Init(dir, trustDomain string) error {
	if err := events.CheckTrustDomain(trustDomain); err != nil {
		return &field.Error{Field: "TrustDomain", Err: err}
	}
	if entries, err := os.ReadDir(dir); err == nil && len(entries) > 0 {
		return fmt.Errorf("%s is not empty: a CA is not overwritten", dir)
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("looking at the directory: %w", err)
	}
	dir = filepath.Clean(dir)
	if err := os.MkdirAll(filepath.Dir(dir), 0o700); err != nil {
		return fmt.Errorf("creating the directory: %w", err)
	}
	building, err := os.MkdirTemp(filepath.Dir(dir), ".ca-*") // mode 0700
	if err != nil {
		return fmt.Errorf("creating the directory: %w", err)
	}
	err = build(building, trustDomain)
	if err == nil {
		err = os.Rename(building, dir)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("creating the CA: %w", err), os.RemoveAll(building))
	}
	return syncDir(filepath.Dir(dir))
}

func build(dir, trustDomain string) error {
	root, err := newRoot(trustDomain)
	if err != nil {
		return err
	}
	next, err := newIntermediate(root, trustDomain)
	if err == nil {
		err = try(root, next, trustDomain)
	}
	if err != nil {
		return &field.Error{Field: "TrustDomain", Err: fmt.Errorf("the trust domain %q does not work in certificates: %w", trustDomain, err)}
	}
	return errors.Join(
		os.Mkdir(filepath.Join(dir, "previous"), 0o700),
		createFile(rootKeyPath(dir, root.cert), encodeKey(root.key)),
		createFile(filepath.Join(dir, BundleFile), events.EncodeCertificates(root.cert)),
		next.save(dir),
	)
}

// try issues a certificate that nobody gets. A few trust domains that SPIFFE allows,
// such as those that begin with a dot, are none that certificates can name or bind.
func try(root, i *issuer, trustDomain string) error {
	template, err := Request{Name: "trial"}.template(trustDomain)
	if err != nil {
		return err
	}
	key, err := newKey()
	if err != nil {
		return err
	}
	leaf, err := sign(template, i.cert, &key.PublicKey, i.key)
	if err != nil {
		return err
	}
	options := x509.VerifyOptions{Roots: x509.NewCertPool(), Intermediates: x509.NewCertPool()}
	options.Roots.AddCert(root.cert)
	options.Intermediates.AddCert(i.cert)
	_, err = leaf.Verify(options)
	return err
}

// Open opens the CA in a directory.
func Open(dir string) (*CA, error) {
	c := &CA{dir: dir, records: newRecords(dir)}
	return c, c.locked(func(*state) error { return nil })
}

// state is what the directory holds, read under its lock.
type state struct {
	trustDomain string
	roots       []*x509.Certificate // the current one first
	issuer      *issuer
}

// locked runs fn while no other process or goroutine uses the directory.
func (c *CA) locked(fn func(*state) error) error {
	c.records.mu.Lock()
	defer c.records.mu.Unlock()
	if _, err := os.Stat(filepath.Join(c.dir, "issuer.pem")); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s: %w", c.dir, ErrNoCA)
	}
	if err := checkOwn(c.dir); err != nil {
		return err
	}
	unlock, err := lock(c.dir)
	if err != nil {
		return err
	}
	defer unlock()
	s, err := c.load()
	if err != nil {
		return fmt.Errorf("opening the CA: %w", err)
	}
	if err := c.records.catchUp(); err != nil {
		return err
	}
	return fn(s)
}

func (c *CA) load() (*state, error) {
	bundle, err := os.ReadFile(filepath.Join(c.dir, BundleFile))
	if err != nil {
		return nil, err
	}
	roots, err := events.ParseCertificates(bundle)
	if err != nil {
		return nil, fmt.Errorf("bundle.crt: %w", err)
	}
	i, err := loadIssuer(filepath.Join(c.dir, "issuer.pem"))
	if err != nil {
		return nil, err
	}
	if len(i.cert.PermittedURIDomains) != 1 {
		return nil, errors.New("issuer.pem: the certificate is for no one trust domain")
	}
	return &state{trustDomain: i.cert.PermittedURIDomains[0], roots: roots, issuer: i}, nil
}

// Info describes a CA.
type Info struct {
	TrustDomain string
	// Roots are trusted, the current one first; Issuer is the intermediate.
	Roots  []*x509.Certificate
	Issuer *x509.Certificate
}

// endsSoon is how long before the end of root or intermediate somebody should act.
const endsSoon = 30 * 24 * time.Hour

// EndsSoon reports whether the root or the intermediate ends within 30 days of now.
// Certificates end with them.
func (i Info) EndsSoon(now time.Time) bool {
	return i.Issuer.NotAfter.Before(now.Add(endsSoon)) || i.Roots[0].NotAfter.Before(now.Add(endsSoon))
}

// RootKey returns the path of the root's key, and whether it still is where Init and
// RotateRoot put it.
func (c *CA) RootKey() (path string, there bool, err error) {
	info, err := c.Info()
	if err != nil {
		return "", false, err
	}
	path = rootKeyPath(c.dir, info.Roots[0])
	_, err = os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return path, false, nil
	}
	return path, true, err
}

// Info returns what the CA is now.
func (c *CA) Info() (info Info, err error) {
	err = c.locked(func(s *state) error {
		info = Info{TrustDomain: s.trustDomain, Roots: s.roots, Issuer: s.issuer.cert}
		return nil
	})
	return info, err
}

// Bundle returns the roots to trust, as PEM.
func (c *CA) Bundle() ([]byte, error) {
	info, err := c.Info()
	return events.EncodeCertificates(info.Roots...), err
}

// Records lists the certificates that were issued, the oldest first.
func (c *CA) Records() (list []Record, err error) {
	err = c.locked(func(*state) error {
		for _, r := range c.records.list {
			list = append(list, *r)
		}
		return nil
	})
	return list, err
}

func rootKeyPath(dir string, root *x509.Certificate) string {
	return filepath.Join(dir, "root-"+events.CertificateID(root)[:16]+".key")
}

func newKey() (*ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making a key: %w", err)
	}
	return key, nil
}

// encodeKey writes a key as PKCS #8. It cannot fail for a key that newKey made.
func encodeKey(key *ecdsa.PrivateKey) []byte {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		panic("ca: encoding a P-256 key: " + err.Error())
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

func decodeKey(block *pem.Block) (*ecdsa.PrivateKey, error) {
	if block == nil || block.Type != "PRIVATE KEY" {
		return nil, errors.New("there is no private key in it")
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, errors.New("the private key in it cannot be read")
	}
	ec, ok := key.(*ecdsa.PrivateKey)
	if !ok || ec.Curve != elliptic.P256() {
		return nil, errors.New("the private key in it is not one of ECDSA P-256")
	}
	return ec, nil
}
