package vault

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/time/rate"
)

// ErrNotFound says that there is no entry for a token, or none any longer.
var ErrNotFound = errors.New("no such session")

// ErrConflict says that the entry has been written since it was read.
var ErrConflict = errors.New("the session was written meanwhile")

// ErrDamaged says that there is an entry for a token which the token does not open, or
// which is no session then. It never will be: nobody else holds a key, and the brokers
// check what they store. So the session is over, as it would be without the entry, which
// whoever could damage it could also have deleted; refusing is right in either case. A
// version of the gateway that seals in another way must use another bucket.
var ErrDamaged = errors.New("the entry does not open")

// Session is what stands behind a token.
type Session struct {
	// Access is the JWT, and Refresh the refresh token.
	Access  string `json:"access"`
	Refresh string `json:"refresh"`
	// ClientID is the application that logged in, "" for the first-party one: the
	// auth service refreshes for nobody else.
	ClientID string `json:"client_id,omitempty"`
	Sub      string `json:"sub"`
	SID      string `json:"sid"`
	// RefreshAt is when a new JWT should be fetched, and ExpiresAt when the old
	// one is over, both in Unix seconds.
	RefreshAt int64 `json:"refresh_at"`
	ExpiresAt int64 `json:"expires_at"`
}

// LogValue hides the tokens.
func (s Session) LogValue() slog.Value {
	return slog.GroupValue(slog.String("sub", s.Sub), slog.String("sid", s.SID))
}

// Entry is a session as it was at one time.
type Entry struct {
	Session
	revision uint64
}

// Vault is the bucket. Its methods may be called concurrently.
type Vault struct {
	js     jetstream.JetStream
	kv     jetstream.KeyValue
	log    *slog.Logger
	stream jetstream.StreamConfig // as the bucket is made
	search search
}

// Open makes the bucket, or widens it to the configuration, and returns it. A bucket that
// lives longer, has more replicas or holds more than is configured stays as it is, and
// the log says so where the configuration does.
func Open(ctx context.Context, js jetstream.JetStream, c Config) (*Vault, error) {
	c.Bucket = cmp.Or(c.Bucket, DefaultBucket)
	if c.Log == nil {
		c.Log = slog.Default()
	}
	made, err := c.prepare(ctx, js)
	if err != nil {
		return nil, fmt.Errorf("opening the bucket %s: %w", c.Bucket, err)
	}
	kv, err := js.KeyValue(ctx, c.Bucket)
	if err != nil {
		return nil, fmt.Errorf("opening the bucket %s: %w", c.Bucket, err)
	}
	return &Vault{
		js: js, kv: kv, log: c.Log, stream: made,
		search: search{quiet: rate.Sometimes{First: 1, Interval: time.Minute}},
	}, nil
}

// Create adds the entry of a token.
func (v *Vault) Create(ctx context.Context, t Token, s Session) (Entry, error) {
	sealed, err := encode(t, s)
	if err != nil {
		return Entry{}, err
	}
	ctx, cancel, err := v.asking(ctx)
	if err != nil {
		return Entry{}, err
	}
	defer cancel()
	revision, err := v.kv.Create(ctx, t.Name(), sealed)
	if err != nil {
		v.noticed(ctx, err)
		return Entry{}, fmt.Errorf("keeping a session: %w", err)
	}
	return Entry{Session: s, revision: revision}, nil
}

// Get returns the entry of a token, [ErrNotFound] or [ErrDamaged]. Every other error
// means that it cannot be told now.
func (v *Vault) Get(ctx context.Context, t Token) (Entry, error) {
	ctx, cancel, err := v.asking(ctx)
	if err != nil {
		return Entry{}, err
	}
	defer cancel()
	stored, err := v.kv.Get(ctx, t.Name())
	switch {
	case errors.Is(err, jetstream.ErrKeyNotFound):
		return Entry{}, ErrNotFound
	case err != nil:
		v.noticed(ctx, err)
		return Entry{}, fmt.Errorf("reading a session: %w", err)
	}
	plain, err := t.open(stored.Value())
	if err != nil {
		return Entry{}, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	e := Entry{revision: stored.Revision()}
	if json.Unmarshal(plain, &e.Session) != nil { // its error may quote what is inside
		return Entry{}, fmt.Errorf("%w: no session inside", ErrDamaged)
	}
	return e, nil
}

// Replace writes what stands behind the token from now on, in place of old, and
// begins its lifetime anew. It returns [ErrConflict] if old is not the latest.
func (v *Vault) Replace(ctx context.Context, t Token, old Entry, s Session) (Entry, error) {
	sealed, err := encode(t, s)
	if err != nil {
		return Entry{}, err
	}
	ctx, cancel, err := v.asking(ctx)
	if err != nil {
		return Entry{}, err
	}
	defer cancel()
	revision, err := v.kv.Update(ctx, t.Name(), sealed, old.revision)
	switch {
	case errors.Is(err, jetstream.ErrKeyRevisionMismatch), errors.Is(err, jetstream.ErrKeyExists):
		return Entry{}, ErrConflict
	case err != nil:
		v.noticed(ctx, err)
		return Entry{}, fmt.Errorf("keeping a session: %w", err)
	}
	return Entry{Session: s, revision: revision}, nil
}

// Delete removes the entry of a token, if there is one.
func (v *Vault) Delete(ctx context.Context, t Token) error {
	ctx, cancel, err := v.asking(ctx)
	if err != nil {
		return err
	}
	defer cancel()
	if err := v.kv.Purge(ctx, t.Name(), jetstream.PurgeTTL(markerLife)); err != nil {
		v.noticed(ctx, err)
		return fmt.Errorf("forgetting a session: %w", err)
	}
	return nil
}

// Check returns nil if the bucket answers, as it must for sessions, and otherwise why it
// does not. As any other request it has a lost bucket made again.
func (v *Vault) Check(ctx context.Context) error {
	_, err := v.Get(ctx, NewToken()) // which nobody has
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	return err
}

// askTimeout bounds each request to the bus.
const askTimeout = 2 * time.Second

// asking bounds one request. It fails at once while there is no connection, instead
// of waiting for one until the timeout.
func (v *Vault) asking(ctx context.Context) (context.Context, context.CancelFunc, error) {
	if !v.js.Conn().IsConnected() {
		return nil, nil, fmt.Errorf("asking the bus: %w", nats.ErrDisconnected)
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	return ctx, cancel, nil
}

func encode(t Token, s Session) ([]byte, error) {
	plain, err := json.Marshal(s)
	if err != nil {
		return nil, fmt.Errorf("encoding a session: %w", err)
	}
	return t.seal(plain)
}
