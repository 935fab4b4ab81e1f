package ca

import (
	"bufio"
	"bytes"
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/authbus/authbus/events"
)

// Record is a certificate that was issued.
type Record struct {
	// Serial is the serial number in hex.
	Serial string `json:"serial"`
	// ID is what revocations name: see events.CertificateID.
	ID   string `json:"id"`
	Name string `json:"name"`
	// Hosts are the host names of a server's certificate, which has no SPIFFE ID.
	Hosts []string `json:"hosts,omitempty"`
	// Peer says that such a server is a client as well.
	Peer bool `json:"peer,omitempty"`
	// Root is the ID of the root that it leads to; empty in records of earlier versions.
	Root      string    `json:"root,omitempty"`
	NotBefore time.Time `json:"not_before"`
	NotAfter  time.Time `json:"not_after"`
	// Renews is the ID of the certificate that this one was given for.
	Renews string `json:"renews,omitempty"`
	// RevokedAt is when the operator revoked it; zero where nobody did.
	RevokedAt time.Time `json:"revoked_at,omitzero"`
	Reason    string    `json:"reason,omitempty"`
}

// Live reports whether the certificate counts at now: it has begun, has not
// expired and is not revoked.
func (r Record) Live(now time.Time) bool {
	return r.RevokedAt.IsZero() && !now.After(r.NotAfter)
}

// line is one line of the file: an issuance with all of the record, or a
// revocation with its ID, time and reason.
type line struct {
	Event string `json:"event"`
	Record
}

const (
	eventIssued  = "issued"
	eventRevoked = "revoked"
)

// records is the file of all certificates, read once and then as far as it has
// grown. Only the holder of the directory's lock uses it.
type records struct {
	path string

	mu     sync.Mutex // goroutines of one process
	offset int64      // read so far
	list   []*Record
	byID   map[string]*Record
}

func newRecords(dir string) *records {
	return &records{path: filepath.Join(dir, "records.jsonl"), byID: map[string]*Record{}}
}

// catchUp reads what the file has gained. An unfinished last line is a write that a
// loss of power cut short: its certificate was never handed out.
func (r *records) catchUp() error {
	f, err := os.Open(r.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading the records: %w", err)
	}
	defer f.Close() //nolint:errcheck // only read from
	if info, err := f.Stat(); err != nil || info.Size() < r.offset {
		// To write at the offset would tear a hole into it.
		return errors.Join(err, fmt.Errorf("reading the records: %s is shorter than it was: start again if that is right", r.path))
	}
	if _, err := f.Seek(r.offset, io.SeekStart); err != nil {
		return fmt.Errorf("reading the records: %w", err)
	}
	in := bufio.NewReader(f)
	for {
		text, err := in.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			err = r.take(text)
		}
		if err != nil {
			return fmt.Errorf("reading the records: %s at byte %d: %w", r.path, r.offset, err)
		}
		r.offset += int64(len(text))
	}
}

func (r *records) take(text []byte) error {
	var l line
	if err := json.Unmarshal(text, &l); err != nil {
		return err
	}
	switch l.Event {
	case eventIssued:
		record := l.Record
		r.list = append(r.list, &record)
		r.byID[record.ID] = &record
	case eventRevoked:
		if known := r.byID[l.ID]; known != nil && known.RevokedAt.IsZero() {
			known.RevokedAt, known.Reason = l.RevokedAt, l.Reason
		}
	default:
		return fmt.Errorf("event %q is not known", l.Event)
	}
	return nil
}

// knows reports whether the key has been certified.
func (r *records) knows(key *ecdsa.PublicKey) (bool, error) {
	spki, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return false, fmt.Errorf("encoding a public key: %w", err)
	}
	return r.byID[events.CertificateID(&x509.Certificate{RawSubjectPublicKeyInfo: spki})] != nil, nil
}

// add appends lines and returns when they are on disk.
func (r *records) add(lines ...line) error {
	var text bytes.Buffer
	for _, l := range lines {
		doc, err := json.Marshal(l)
		if err != nil {
			return fmt.Errorf("writing the records: %w", err)
		}
		text.Write(append(doc, '\n'))
	}
	f, err := os.OpenFile(r.path, os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("writing the records: %w", err)
	}
	// Over what a loss of power may have left of an unfinished line.
	err = f.Truncate(r.offset)
	if err == nil {
		_, err = f.WriteAt(text.Bytes(), r.offset)
	}
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("writing the records: %w", err)
	}
	return r.catchUp()
}
