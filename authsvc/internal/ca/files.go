package ca

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// writeFile puts data in place of a file in one step: readers see the old content
// or the new one, also after a loss of power.
func writeFile(path string, data []byte) error {
	return placeFile(path, data, os.Rename)
}

// createFile does the same for a file that must not exist.
func createFile(path string, data []byte) error {
	return placeFile(path, data, func(from, to string) error {
		// Other than rename, link refuses to replace.
		return errors.Join(os.Link(from, to), os.Remove(from))
	})
}

func placeFile(path string, data []byte, place func(from, to string) error) error {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, ".new-*") // mode 0600
	if err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = place(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name()) // it may be gone already
		if errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("%s: %w: it is not overwritten", path, fs.ErrExist)
		}
		return fmt.Errorf("writing %s: %w", path, err)
	}
	return syncDir(dir)
}

func syncDir(dir string) error {
	d, err := os.Open(dir) //nolint:gosec // the operator's own directory
	if err != nil {
		return fmt.Errorf("syncing %s: %w", dir, err)
	}
	if err := errors.Join(d.Sync(), d.Close()); err != nil {
		return fmt.Errorf("syncing %s: %w", dir, err)
	}
	return nil
}

// checkOwn refuses a directory in which others can put a file in the place of another.
func checkOwn(dir string) error {
	info, err := os.Stat(dir)
	if err != nil {
		return fmt.Errorf("looking at the directory: %w", err)
	}
	if info.Mode().Perm()&0o022 != 0 {
		return fmt.Errorf("%s can be changed by others (mode %04o): it must have mode 0700", dir, info.Mode().Perm())
	}
	return nil
}

// checkWritable refuses a directory that no file could be written to, or that could
// not be made. It leaves nothing behind.
func checkWritable(dir string) error {
	dir = filepath.Clean(dir)
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) && filepath.Dir(dir) != dir {
		return checkWritable(filepath.Dir(dir)) // it is made when there is something to write
	}
	f, err := os.CreateTemp(dir, ".new-*")
	if err != nil {
		return fmt.Errorf("writing to the directory: %w", err)
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}

// readSecret reads a file with a key, and refuses one that others can read.
func readSecret(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("%s can be read by others (mode %04o): it must have mode 0600", path, info.Mode().Perm())
	}
	return os.ReadFile(path) //nolint:gosec // the operator's own file
}
