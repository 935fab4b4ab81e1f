package mtls

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// unfinished is the suffix of a renewed certificate that is about to take its place.
const unfinished = ".new"

// folders are those of the three files, each once.
func (c *Config) folders() []string {
	dirs := []string{filepath.Dir(c.CertFile), filepath.Dir(c.KeyFile), filepath.Dir(c.CAFile)}
	slices.Sort(dirs)
	return slices.Compact(dirs)
}

// write replaces the files. Two files cannot be replaced at one stroke, so the
// certificate lies ready beside its place before the key moves: after a crash
// between the two, [Config.finishWrite] moves it, too. The roots come first,
// because the old certificate is good with the new ones as well.
func (c *Config) write(m material) error {
	if err := replace(c.CAFile, m.ca, 0o644); err != nil {
		return fmt.Errorf("mtls: Config.CAFile: %w", err)
	}
	if err := place(c.CertFile+unfinished, m.cert, 0o644); err != nil {
		return fmt.Errorf("mtls: Config.CertFile: %w", err)
	}
	if err := replace(c.KeyFile, m.key, keyMode(c.KeyFile)); err != nil {
		return fmt.Errorf("mtls: Config.KeyFile: %w", err)
	}
	return c.moveCertificate()
}

// keyMode is that of the key before, which the operator may have let a group read.
func keyMode(path string) fs.FileMode {
	if info, err := os.Stat(path); err == nil && info.Mode().Perm()&0o040 != 0 {
		return 0o640
	}
	return 0o600
}

func (c *Config) moveCertificate() error {
	err := os.Rename(c.CertFile+unfinished, c.CertFile)
	if err == nil {
		err = syncFolder(c.CertFile)
	}
	if err != nil {
		return fmt.Errorf("mtls: Config.CertFile: %w", err)
	}
	return nil
}

// finishWrite completes a write that a crash has interrupted: where the key's
// certificate still lies beside its place, it belongs there.
func (c *Config) finishWrite() error {
	next, err := readFile(c.CertFile+unfinished, false)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("mtls: Config.CertFile: %w", err)
	}
	key, err := readFile(c.KeyFile, true)
	if err != nil {
		return fmt.Errorf("mtls: Config.KeyFile: %w", err)
	}
	if _, err := tls.X509KeyPair(next, key); err != nil {
		return nil //nolint:nilerr // it is another key's: the crash came before, and the old pair is whole
	}
	return c.moveCertificate()
}

// replace puts a file in another's place, so that a reader sees the one or the other.
func replace(path string, content []byte, mode fs.FileMode) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return err
	}
	temporary := f.Name()
	if err := errors.Join(f.Close(), place(temporary, content, mode), os.Rename(temporary, path)); err != nil {
		return errors.Join(err, os.Remove(temporary))
	}
	return syncFolder(path)
}

// place writes a file that no crash takes away.
func place(path string, content []byte, mode fs.FileMode) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, mode) //nolint:gosec // the path is the operator's
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	return errors.Join(err, f.Chmod(mode), f.Sync(), f.Close())
}

func syncFolder(path string) error {
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
