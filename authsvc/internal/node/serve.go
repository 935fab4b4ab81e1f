package node

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/authbus/authbus/authsvc/internal/httpapi"
	"github.com/authbus/authbus/events"
)

// serve starts HTTP and the loops, which Close ends.
func (n *Node) serve(context.Context) error {
	config := httpapi.Config{
		Authority: n.authority, JWKS: n.jwks, Issuer: n.config.Issuer, Logger: n.config.Log, Registry: n.registry,
		Ready: func(context.Context) error { return n.ready() }, TrustedProxies: n.config.TrustedProxies,
		CursorKey: n.cursorKey(),
	}
	if n.identities.http != nil {
		config.Peer = n.identities.http.Peer
	}
	n.server = httpapi.NewServer(n.config.Listen, n.gate(httpapi.New(config)), n.config.Log)
	ctx, stop := context.WithCancel(context.Background())
	n.stop = stop
	for _, listener := range []net.Listener{n.listener, n.mutual} {
		if listener == nil {
			continue
		}
		n.loops.Go(func() {
			if err := n.server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
				n.config.Log.Error("HTTP ended", "address", listener.Addr().String(), "error", err)
			}
		})
	}
	n.loops.Go(func() { n.keepKeys(ctx) })
	n.loops.Go(func() { n.sweep(ctx) })
	return nil
}

// readyTimeout bounds how long /readyz waits for the database.
const readyTimeout = 2 * time.Second

// ready says why the node cannot do its work: the database has not been compared with
// the bus, or it cannot be read. However many ask, one of them asks the database.
func (n *Node) ready() error {
	if err := n.publisher.Ready(); err != nil {
		return &httpapi.NotReadyError{Reason: notCompared, Err: err}
	}
	_, err, _ := n.readiness.Do("", func() (any, error) {
		ctx, cancel := context.WithTimeout(context.Background(), readyTimeout)
		defer cancel()
		return n.db.Reader(ctx).ReadIndex()
	})
	if err != nil {
		return &httpapi.NotReadyError{Reason: "the database cannot be read", Err: err}
	}
	return nil
}

// notCompared is why nothing is answered at the beginning.
const notCompared = "the database has not been compared with the bus yet"

// cursorKey seals the cursors of lists. All replicas have the same, because they
// share the feed key and Ed25519 signs the same text the same way. Nobody else
// ever sees this signature: no message is published on such a subject.
func (n *Node) cursorKey() []byte {
	signature := n.keys.SignFeed("cursors", nil).Get(events.HeaderSignature)
	key := sha256.Sum256([]byte(signature))
	return key[:]
}

// keepKeys runs the schedule of the keys. What it writes takes numbers of the
// log, so it waits for the comparison like everybody else.
func (n *Node) keepKeys(ctx context.Context) {
	if n.AwaitReady(ctx) != nil {
		return
	}
	if err := n.keys.Run(ctx); err != nil {
		n.config.Log.Error("the schedule of the keys ended", "error", err)
	}
}

// jwks is the JWK set with the feed's public keys and the kids of killed shared
// secrets beside it (RFC 7517 §5 has readers ignore members that they do not know).
// It does not name a secret that is alive: not everybody needs a hash of it.
func (n *Node) jwks() json.RawMessage {
	var set struct {
		Keys   json.RawMessage  `json:"keys"`
		Feed   []events.FeedKey `json:"authbus_feed"`
		Killed []string         `json:"authbus_killed_secrets,omitempty"`
	}
	set.Feed = n.keys.FeedKeys()
	_, set.Killed = n.keys.SharedSecrets()
	err := json.Unmarshal(n.keys.JWKS(), &set)
	if err == nil {
		var doc []byte
		if doc, err = json.Marshal(set); err == nil {
			return doc
		}
	}
	n.config.Log.Error("publishing the keys without the feed's", "error", err)
	return n.keys.JWKS()
}

// gate keeps requests away from the domain until the database has been compared
// with the bus.
func (n *Node) gate(api http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/v1/") && n.publisher.Ready() != nil {
			w.Header().Set("Content-Type", "application/problem+json")
			w.Header().Set("Cache-Control", "no-store")
			w.Header().Set("Retry-After", "1")
			w.WriteHeader(http.StatusServiceUnavailable)
			const problem = `{"type":"about:blank","title":"Service Unavailable","status":503,"code":"unavailable",` +
				`"detail":"` + notCompared + `"}`
			_, _ = w.Write([]byte(problem)) // a client that has gone away is no concern
			return
		}
		api.ServeHTTP(w, r)
	})
}

// sweep does the housekeeping.
func (n *Node) sweep(ctx context.Context) {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		if err := n.authority.Sweep(ctx); err != nil && ctx.Err() == nil {
			n.config.Log.Warn("housekeeping failed", "error", err)
		}
	}
}
