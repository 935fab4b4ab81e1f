package ca

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/authbus/authbus/authsvc/internal/field"
	"github.com/authbus/authbus/events"
)

// bundleName is the file of the roots beside each certificate.
const bundleName = "ca.crt"

// FileName is the name of a service as part of a file's name: its slashes are dots.
func FileName(name string) string { return strings.ReplaceAll(name, "/", ".") }

// Files are the paths of a certificate, its key and the roots.
type Files struct {
	Certificate string `json:"certificate"`
	Key         string `json:"key"`
	Bundle      string `json:"bundle"`
}

// FilesIn returns the paths in a directory, or the *field.Error of a name that
// cannot have any.
func FilesIn(dir, name string) (Files, error) {
	base := filepath.Join(dir, FileName(name))
	f := Files{Certificate: base + ".crt", Key: base + ".key", Bundle: filepath.Join(dir, bundleName)}
	if strings.EqualFold(filepath.Base(f.Certificate), bundleName) {
		return Files{}, &field.Error{Field: "Name", Err: fmt.Errorf("a certificate called %q cannot be written: %s holds the roots", name, bundleName)}
	}
	return f, nil
}

// CheckFiles refuses where WriteFiles would: for whoever is about to issue.
func CheckFiles(dir, name string) error {
	f, err := FilesIn(dir, name)
	if err != nil {
		return err
	}
	for _, path := range []string{f.Key, f.Certificate} {
		switch _, err := os.Lstat(path); {
		case err == nil:
			return fmt.Errorf("%s: %w: it is not overwritten", path, fs.ErrExist)
		case !errors.Is(err, fs.ErrNotExist):
			return fmt.Errorf("looking at the directory: %w", err)
		}
	}
	return checkWritable(dir)
}

// CheckReplace refuses to replace what is not a certificate of the name, such as
// nothing: for whoever is about to renew. Different names may have the same files.
func (c *CA) CheckReplace(dir, name string) error {
	f, err := FilesIn(dir, name)
	if err != nil {
		return err
	}
	path := f.Certificate
	text, err := os.ReadFile(path) //nolint:gosec // the operator's own file
	if err != nil {
		return fmt.Errorf("there is no certificate to replace: %w", err)
	}
	certs, err := events.ParseCertificates(text)
	if err != nil {
		return fmt.Errorf("%s: %w: it is not replaced", path, err)
	}
	if err := checkWritable(dir); err != nil {
		return err
	}
	return c.locked(func(*state) error {
		if r := c.records.byID[events.CertificateID(certs[0])]; r == nil || r.Name != name {
			return fmt.Errorf("%s is not a certificate of %q: it is not replaced", path, name)
		}
		return nil
	})
}

// WriteFiles writes NAME.crt, NAME.key and ca.crt to a directory, which is created
// if it is missing. It refuses to overwrite the first two.
func (i *Issued) WriteFiles(dir, name string) error {
	f, err := FilesIn(dir, name)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("creating the directory: %w", err)
	}
	if err := createFile(f.Key, i.Key); err != nil {
		return err
	}
	if err := createFile(f.Certificate, i.Chain); err != nil {
		return errors.Join(err, os.Remove(f.Key))
	}
	return writeFile(f.Bundle, i.Bundle)
}

// ReplaceFiles writes the files over those of the predecessor, the roots first, with
// which the old certificate is good as well. Whoever reads them between the last two
// steps finds the new key with the old certificate, and must read again. A crash
// there is mended by the next ReplaceFiles, and by mtls.Open, for which the new
// certificate lies ready beside its place.
func (i *Issued) ReplaceFiles(dir, name string) error {
	f, err := FilesIn(dir, name)
	if err != nil {
		return err
	}
	unlock, err := lock(dir) // two at once would leave the key of one with the certificate of the other
	if err != nil {
		return err
	}
	defer unlock()
	if err := writeFile(f.Bundle, i.Bundle); err != nil {
		return err
	}
	next := f.Certificate + ".new"
	if err := writeFile(next, i.Chain); err != nil {
		return err
	}
	if err := writeFile(f.Key, i.Key); err != nil {
		return err
	}
	if err := os.Rename(next, f.Certificate); err != nil {
		return fmt.Errorf("writing %s: %w", f.Certificate, err)
	}
	return syncDir(dir)
}
