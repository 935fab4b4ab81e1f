package verifier

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/authbus/authbus/events"
	"github.com/authbus/authbus/verifier/token"
)

const (
	testIssuer   = "https://auth.test.example"
	testAudience = "orders"
	testKID      = "k_test"
	// loggedOut is how long the log keeps a record: the longest lifetime and leeway.
	loggedOut = time.Hour + time.Minute
)

var (
	errPartition   = errors.New("partitioned")
	testKey        = ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	testFeedKey    = ed25519.NewKeyFromSeed([]byte("a seed for the feed key in tests"))
	testFeedPublic = testFeedKey.Public().(ed25519.PublicKey)
)

// memoryLog is a whole revocation log without a bus, for tests of time: what it
// commits reaches a verifier in the same bubble over function calls.
type memoryLog struct {
	mu          sync.Mutex
	epoch       string
	rev         uint64
	records     []json.RawMessage // index = rev-1; nil once expired
	revocations []events.Revocation
	committed   []time.Time
	cut         bool // requests fail
	keysCut     bool // requests for keys do
	deaf        bool // live records are not delivered
	clock       time.Duration
	keysVersion uint64
	secret      token.Secret // signs tokens in place of testKey, and no key is published
	killed      []string     // shared secrets that were
	asked       int
	deliver     func(*nats.Msg)
}

func newMemoryLog() *memoryLog { return &memoryLog{epoch: "E1", keysVersion: 1} }

// revoke commits a record and delivers it on the feed, unless deaf.
func (l *memoryLog) revoke(scope events.Scope, id string) events.Revocation {
	l.mu.Lock()
	r := events.Revocation{
		Version: 1, Epoch: l.epoch, Rev: l.rev + 1, Scope: scope, ID: id,
		ExpiresAt: time.Now().Add(loggedOut).Unix(), Reason: "test", At: time.Now().UnixMilli(),
	}
	l.mu.Unlock()
	l.commit(r)
	return r
}

// commit appends any record, understood or not.
func (l *memoryLog) commit(r events.Revocation) {
	payload, err := json.Marshal(r)
	if err != nil {
		panic(err)
	}
	l.mu.Lock()
	l.rev++
	l.records = append(l.records, payload)
	l.revocations = append(l.revocations, r)
	l.committed = append(l.committed, time.Now())
	deliver := l.deliver
	if l.deaf || l.cut {
		deliver = nil
	}
	l.mu.Unlock()
	if deliver != nil {
		deliver(feedMessage(r, payload))
	}
}

func feedMessage(r events.Revocation, payload []byte) *nats.Msg {
	subject := events.RevocationSubject(r.Scope)
	return &nats.Msg{
		Subject: subject, Data: payload,
		Header: events.Sign("f_test", testFeedKey, subject, payload),
	}
}

// base is the revision before the first of this log.
func (l *memoryLog) base() uint64 { return l.rev - uint64(len(l.records)) }

func (l *memoryLog) set(cut, deaf bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cut, l.deaf = cut, deaf
}

// questions counts those about tokens.
func (l *memoryLog) questions() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.asked
}

func (l *memoryLog) fresh(_ context.Context, _ events.FreshRequest) (events.FreshReply, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cut {
		return events.FreshReply{}, errPartition
	}
	return events.FreshReply{
		Epoch: l.epoch, Rev: l.rev, Floor: l.floor(), Keys: l.keysVersion,
		Now: time.Now().Add(l.clock).UnixMilli(),
	}, nil
}

// floor is the lowest revision alive, with the margin that the authority keeps.
func (l *memoryLog) floor() uint64 {
	for i, r := range l.revocations {
		if time.Now().Before(time.Unix(r.ExpiresAt, 0).Add(clockMargin)) {
			return l.base() + uint64(i) + 1
		}
	}
	return l.rev + 1
}

func (l *memoryLog) page(_ context.Context, req events.RangeRequest) (events.RangeReply, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cut {
		return events.RangeReply{}, errPartition
	}
	after := max(req.After, l.base())
	through := min(l.rev, after+uint64(req.Limit))
	return events.RangeReply{
		Epoch: l.epoch, After: min(after, req.After), Through: through, Rev: l.rev,
		Records: l.records[after-l.base() : through-l.base()],
	}, nil
}

func (l *memoryLog) status(_ context.Context, t events.TokenRef) (events.StatusReply, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.asked++
	if l.cut {
		return events.StatusReply{}, errPartition
	}
	reply := events.StatusReply{Epoch: l.epoch, Rev: l.rev, Active: t.Rev <= l.rev}
	for _, r := range l.revocations {
		if r.Covers(t) {
			reply.Active = false
			reply.Records = append(reply.Records, r)
		}
	}
	return reply, nil
}

func (l *memoryLog) keys(context.Context, map[string]ed25519.PublicKey) (events.KeysReply, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cut || l.keysCut {
		return events.KeysReply{}, errPartition
	}
	published := []token.Key{{ID: testKID, Alg: token.AlgEdDSA, Public: testKey.Public()}}
	if !l.secret.IsZero() {
		published = nil
	}
	jwks, err := token.MarshalJWKS(published)
	if err != nil {
		return events.KeysReply{}, err
	}
	return events.KeysReply{
		Issuer: testIssuer, JWKS: jwks, Keys: l.keysVersion,
		Feed:         []events.FeedKey{{ID: "f_test", Public: testFeedPublic}},
		SharedSecret: l.secret.ID(), KilledSecrets: l.killed,
	}, nil
}

func (l *memoryLog) history(context.Context, time.Time, func(*nats.Msg)) error { return errNoHistory }

// minted is a user's token, as the log would mint it now.
type minted struct {
	raw string
	ref events.TokenRef
}

func (l *memoryLog) mint(t testing.TB, sub, sid, jti string) minted {
	t.Helper()
	l.mu.Lock()
	rev, secret := l.rev, l.secret
	l.mu.Unlock()
	now := time.Now().Unix()
	c := token.Claims{
		Issuer: testIssuer, Subject: sub, Audience: []string{testAudience}, ClientID: "test",
		ExpiresAt: now + 3600, IssuedAt: now, ID: jti, SessionID: sid, Rev: rev, AuthTime: now,
	}
	raw, err := token.Sign(c, testKID, token.AlgEdDSA, testKey)
	c.KeyID = testKID
	if !secret.IsZero() {
		raw, err = token.SignWithSecret(c, secret)
		c.KeyID = secret.ID()
	}
	if err != nil {
		t.Fatal(err)
	}
	return minted{raw, c.Ref()}
}

// inBubble runs a test with a verifier that follows log, in a synctest bubble.
func inBubble(t *testing.T, change func(*Config), test func(t *testing.T, v *Verifier, log *memoryLog)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		log := newMemoryLog()
		v := newBubbleVerifier(t, log, change)
		defer v.Close()
		if err := v.awaitFresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		test(t, v, log)
	})
}

// newBubbleVerifier starts a verifier that follows a log; a *memoryLog also
// delivers live.
func newBubbleVerifier(t testing.TB, log authority, change func(*Config)) *Verifier {
	t.Helper()
	c := Config{
		Issuer: testIssuer, Audience: testAudience, NATS: &nats.Conn{}, // never used
		Logger: slog.New(slog.DiscardHandler),
	}
	if change != nil {
		change(&c)
	}
	c, err := c.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	v, err := assemble(c, log)
	if err != nil {
		t.Fatal(err)
	}
	if live, ok := log.(*memoryLog); ok {
		live.deliver = func(m *nats.Msg) { v.receive(m, fromFeed) }
	}
	v.start()
	return v
}

// verdict names an outcome of Verify, for tables.
func verdict(err error) string {
	if e, ok := errors.AsType[*Error](err); ok {
		return fmt.Sprintf("%v: %s", e.Err, e.Reason)
	}
	if err == nil {
		return "accepted"
	}
	return err.Error()
}
