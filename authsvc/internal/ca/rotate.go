package ca

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"path/filepath"
	"time"

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
		return writeFile(filepath.Join(c.dir, "bundle.crt"), bundle)
	})
	if err != nil {
		return fmt.Errorf("rotating the root: %w", err)
	}
	return nil
}

// ErrTooEarly is returned by [CA.DropOldRoots] while certificates of the time
// before the rotation can be alive.
var ErrTooEarly = errors.New("certificates that depend on the old root are alive")

// DropOldRoots ends the overlap after RotateRoot: only the current root is trusted,
// by those who get the bundle from now on. It refuses with [ErrTooEarly] where the
// records show a live certificate from before the rotation.
func (c *CA) DropOldRoots() error {
	err := c.locked(func(s *state) error {
		if len(s.roots) == 1 && len(s.issuer.above) == 0 {
			return nil
		}
		now := time.Now()
		for _, r := range c.records.list {
			if r.Live(now) && !s.leadsToRoot(r) {
				return fmt.Errorf("%w: %s, until %s", ErrTooEarly, r.Name, r.NotAfter.Format(time.RFC3339))
			}
		}
		if err := writeFile(filepath.Join(c.dir, "bundle.crt"), events.EncodeCertificates(s.roots[0])); err != nil {
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
	if path == "" {
		path = rootKeyPath(c.dir, s.roots[0])
	}
	text, err := readSecret(path)
	if err != nil {
		return nil, fmt.Errorf("reading the root's key: %w", err)
	}
	block, _ := pem.Decode(text)
	key, err := decodeKey(block)
	if err != nil {
		return nil, fmt.Errorf("reading the root's key: %s: %w", path, err)
	}
	if !key.PublicKey.Equal(s.roots[0].PublicKey) {
		return nil, fmt.Errorf("%s is not the key of the current root", path)
	}
	return &issuer{key: key, cert: s.roots[0]}, nil
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
