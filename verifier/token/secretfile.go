package token

import (
	"errors"
	"fmt"
	"io"
	"os"
)

// maxSecretFile bounds what is read of a file, in bytes: enough to tell that it
// is a certificate.
const maxSecretFile = 16 << 10

// ReadSecretFile reads a secret from a file that holds its text, as [ParseSecret]
// takes it. It refuses a file that others than its owner may read or write
// (chmod 600 helps), and what ParseSecret refuses.
func ReadSecretFile(path string) (Secret, error) {
	f, err := os.Open(path) //nolint:gosec // the path is the operator's own
	if err != nil {
		return Secret{}, fmt.Errorf("opening shared secret file: %w", err)
	}
	defer func() { _ = f.Close() }() // only read
	info, err := f.Stat()
	if err != nil {
		return Secret{}, fmt.Errorf("inspecting shared secret file: %w", err)
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return Secret{}, fmt.Errorf("shared secret file %s has mode %#o: others may read or write it; chmod 600 it", path, mode)
	}
	text, err := io.ReadAll(io.LimitReader(f, maxSecretFile+1))
	if err != nil {
		return Secret{}, fmt.Errorf("reading shared secret file %s: %w", path, err)
	}
	if len(text) > maxSecretFile {
		return Secret{}, errors.New("shared secret file " + path + " is too large")
	}
	s, err := ParseSecret(string(text))
	if err != nil {
		return Secret{}, fmt.Errorf("%s: %w", path, err)
	}
	return s, nil
}
