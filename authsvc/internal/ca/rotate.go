package ca

import (
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"time"

	"github.com/authbus/authbus/authsvc/internal/field"
	"github.com/authbus/authbus/events"
)

// RotateIntermediate issues from a new intermediate from now on. rootKey is the file
// of the current root's key; empty means where Init has put it.
func (c *CA) RotateIntermediate(rootKey string) error {
	err := c.locked(func(s *state) error {
		root, err := c.root(s, rootKey)
		if err != nil {
			return err
		}
		next, err := newIntermediate(root, s.trustDomain)
		if err != nil {
			return err
		}
		if s.issuer.cert.CheckSignatureFrom(root.cert) == nil {
			next.above = s.issuer.above // the way from this root to an older one
		}
		return c.replaceIssuer(s, next)
	})
	if err != nil {
		return fmt.Errorf("rotating the intermediate: %w", err)
	}
	return nil
}

// RotateRoot makes a new root and an intermediate below it, which issues from now
// on. The bundle then holds the new root and those before. rootKey is the file of
// the current root's key, which signs the new one; the new key is beside the
// bundle, and should not stay there.
func (c *CA) RotateRoot(rootKey string) error {
	err := c.locked(func(s *state) error {
		old, err := c.root(s, rootKey)
		if err != nil {
			return err
		}
		root, err := newRoot(s.trustDomain)
		if err != nil {
			return err
		}
		cross, err := crossSign(root.cert, old)
		if err != nil {
			return err
		}
		next, err := newIntermediate(root, s.trustDomain)
		if err != nil {
			return err
		}
		next.above = append([]*x509.Certificate{cross}, s.issuer.above...)
		// The bundle last: what is issued meanwhile leads to the old root as well.
		if err := createFile(rootKeyPath(c.dir, root.cert), encodeKey(root.key)); err != nil {
			return err
		}
		if err := c.replaceIssuer(s, next); err != nil {
			return err
		}
		bundle := append(events.EncodeCertificates(root.cert), events.EncodeCertificates(s.roots...)...)
		return writeFile(filepath.Join(c.dir, BundleFile), bundle)
	})
	if err != nil {
		return fmt.Errorf("rotating the root: %w", err)
	}
	return nil
}

// ErrTooEarly is returned by [CA.DropOldRoots] while certificates of the time
// before the rotation can be alive.
var ErrTooEarly = errors.New("certificates that depend on the old root are alive")

// ErrNoOldRoot is returned by [CA.DropOldRoots] where only the current root is
// trusted: the rotation before never was, or somebody has ended it.
var ErrNoOldRoot = errors.New("there is no old root: one is trusted, and nothing was changed")

// DropOldRoots ends the overlap after RotateRoot: only the current root is trusted,
// by those who get the bundle from now on. It refuses with [ErrTooEarly] where the
// records show a live certificate from before the rotation, and with [ErrNoOldRoot]
// where there is nothing to drop.
func (c *CA) DropOldRoots() error {
	err := c.locked(func(s *state) error {
		if len(s.roots) == 1 && len(s.issuer.above) == 0 {
			return ErrNoOldRoot
		}
		now := time.Now()
		for _, r := range c.records.list {
			if r.Live(now) && !s.leadsToRoot(r) {
				return fmt.Errorf("%w: %s, until %s", ErrTooEarly, r.Name, r.NotAfter.Format(time.RFC3339))
			}
		}
		if err := writeFile(filepath.Join(c.dir, BundleFile), events.EncodeCertificates(s.roots[0])); err != nil {
			return err
		}
		s.issuer.above = nil
		return s.issuer.save(c.dir)
	})
	if err != nil {
		return fmt.Errorf("dropping the old roots: %w", err)
	}
	return nil
}

// leadsToRoot reports whether a certificate chains to the current root.
func (s *state) leadsToRoot(r *Record) bool {
	if r.Root == "" { // it is not recorded, but when the root was made is known
		return r.NotBefore.After(s.roots[0].NotBefore)
	}
	return r.Root == events.CertificateID(s.roots[0])
}

// root returns the current root with its key.
func (c *CA) root(s *state, path string) (*issuer, error) {
	if path != "" {
		key, err := readRootKey(path, s.roots[0])
		if err != nil {
			return nil, &field.Error{Field: "RootKey", Err: err}
		}
		return &issuer{key: key, cert: s.roots[0]}, nil
	}
	key, err := readRootKey(rootKeyPath(c.dir, s.roots[0]), s.roots[0])
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("%w: where it is kept elsewhere, name its file with --root-key", err)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the root's key: %w", err)
	}
	return &issuer{key: key, cert: s.roots[0]}, nil
}

func readRootKey(path string, root *x509.Certificate) (*ecdsa.PrivateKey, error) {
	text, err := readSecret(path)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(text)
	key, err := decodeKey(block)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if !key.PublicKey.Equal(root.PublicKey) {
		return nil, fmt.Errorf("%s is not the key of the current root", path)
	}
	return key, nil
}

// replaceIssuer keeps the present issuer for the renewals of its certificates. Its
// last step is the one that counts.
func (c *CA) replaceIssuer(s *state, next *issuer) error {
	if err := dropExpired(c.dir, time.Now()); err != nil {
		return err
	}
	if err := s.issuer.retire(c.dir); err != nil {
		return err
	}
	return next.save(c.dir)
}
