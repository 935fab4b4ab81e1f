package keyring

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
)

// masterKeySize is the size of a master key in bytes: AES-256.
const masterKeySize = 32

// ErrWrongMasterKey is returned by [Open] where the stored keys were sealed with
// another master key. Nothing can be signed then, and nothing was changed.
var ErrWrongMasterKey = errors.New("the master key does not open the stored signing keys")

// MasterKey seals the private keys in the database. The zero MasterKey is
// refused by [Open]. It hides itself where it is printed or logged.
type MasterKey struct{ key [masterKeySize]byte }

// String hides the key from fmt.
func (MasterKey) String() string { return "[hidden]" }

// GoString hides the key from %#v.
func (MasterKey) GoString() string { return "[hidden]" }

// LogValue hides the key from slog.
func (MasterKey) LogValue() slog.Value { return slog.StringValue("[hidden]") }

// ParseMasterKey reads a master key from text: 32 bytes in base64, either
// alphabet, padded or not, as an environment variable or a key file holds it.
func ParseMasterKey(text string) (MasterKey, error) {
	text = strings.TrimRight(strings.TrimSpace(text), "=")
	text = strings.NewReplacer("+", "-", "/", "_").Replace(text)
	raw, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil {
		// The decoder's own words would quote a part of the key.
		return MasterKey{}, errors.New("reading master key: it is not base64")
	}
	if len(raw) != masterKeySize {
		return MasterKey{}, fmt.Errorf("reading master key: it has %d bytes, not %d", len(raw), masterKeySize)
	}
	return MasterKey{key: [masterKeySize]byte(raw)}, nil
}

// LoadMasterKey reads a key file. A file that others than its owner may read is
// refused.
func LoadMasterKey(path string) (MasterKey, error) {
	f, err := os.Open(path) //nolint:gosec // the path is the operator's own
	if err != nil {
		return MasterKey{}, fmt.Errorf("opening master key file: %w", err)
	}
	defer func() { _ = f.Close() }() // only read
	info, err := f.Stat()
	if err != nil {
		return MasterKey{}, fmt.Errorf("inspecting master key file: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return MasterKey{}, fmt.Errorf("master key file %s has mode %#o: others may read it; chmod 600 it", path, info.Mode().Perm())
	}
	text := make([]byte, 128)
	n, err := f.Read(text)
	if err != nil {
		return MasterKey{}, fmt.Errorf("reading master key file %s: %w", path, err)
	}
	key, err := ParseMasterKey(string(text[:n]))
	if err != nil {
		return MasterKey{}, fmt.Errorf("%s: %w", path, err)
	}
	return key, nil
}

// LoadOrCreateMasterKey reads the key file at path, or creates it with mode 0600
// and a new random key where there is none.
func LoadOrCreateMasterKey(path string) (MasterKey, error) {
	key, err := LoadMasterKey(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return key, err
	}
	if err := createMasterKey(path); err != nil {
		return MasterKey{}, fmt.Errorf("creating master key file: %w", err)
	}
	return LoadMasterKey(path)
}

// createMasterKey writes the file under another name and links it into place, so
// that of two processes that start at once both get the key of the first, whole.
func createMasterKey(path string) error {
	var key [masterKeySize]byte
	if _, err := rand.Read(key[:]); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".master-key-*") // mode 0600
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }() // the link below is what stays
	_, err = f.WriteString(base64.StdEncoding.EncodeToString(key[:]) + "\n")
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Link(f.Name(), path); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}

// seal encrypts a private key. The kid is bound to it, so that a row of the
// database cannot be given the private key of another.
func (m MasterKey) seal(kid string, private []byte) ([]byte, error) {
	aead, err := m.aead()
	if err != nil {
		return nil, err
	}
	return aead.Seal(nil, nil, private, []byte(kid)), nil //nolint:gosec // the cipher draws its own nonce
}

// open decrypts what seal made, and fails with ErrWrongMasterKey otherwise.
func (m MasterKey) open(kid string, sealed []byte) ([]byte, error) {
	aead, err := m.aead()
	if err != nil {
		return nil, err
	}
	private, err := aead.Open(nil, nil, sealed, []byte(kid))
	if err != nil {
		return nil, fmt.Errorf("key %s: %w", kid, ErrWrongMasterKey)
	}
	return private, nil
}

func (m MasterKey) aead() (cipher.AEAD, error) {
	block, err := aes.NewCipher(m.key[:])
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}
