package authority

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/authbus/authbus/authsvc/internal/password"
	"github.com/authbus/authbus/authsvc/internal/store"
	"github.com/authbus/authbus/events"
)

// Credentials are what a user logs in with.
type Credentials struct {
	Login    string // user name or e-mail address
	Password Secret
	ClientID string // the application; empty means DefaultClient
}

// The causes of a failed login, as events tell them. The user learns none of them.
const (
	causeUnknown   = "unknown_account"
	causePassword  = "wrong_password"
	causeDisabled  = "disabled"
	causeThrottled = "throttled"
)

// errPasswordRace says that the password's hash was replaced while it was being
// verified.
var errPasswordRace = errors.New("the password hash changed meanwhile")

// Login begins a session. The refusals are CodeInvalidCredentials, CodeThrottled
// (of the address, for whichever account), CodeBusy, and CodeInvalidInput for a
// client id that can be none. From an unknown account, a wrong password, a
// disabled account and one that has failed too often the answer is the same, and
// takes the same time.
func (a *Authority) Login(ctx context.Context, c Credentials, m Meta) (*Tokens, error) {
	m = m.clean()
	setDefault(&c.ClientID, DefaultClient)
	if !validClientID(c.ClientID) {
		return nil, invalidInput(Violation{"client_id", "invalid", "use lower-case letters, digits and hyphens, at most 64"})
	}
	for {
		tokens, err := a.tryLogin(ctx, c, m)
		if !errors.Is(err, errPasswordRace) {
			return tokens, err
		}
	}
}

// try is one try at a password, verified but not yet judged.
type try struct {
	account store.Account // zero where there is none
	buckets buckets
	meta    Meta
	matches bool
	rehash  string // the password's new hash where the stored one is too weak
}

func (a *Authority) tryLogin(ctx context.Context, c Credentials, m Meta) (*Tokens, error) {
	t, err := a.verifyLogin(ctx, c, m)
	if err != nil {
		return nil, err
	}
	var refused *refusal
	var g grant
	var ended []events.Revocation
	err = a.db.Write(ctx, func(tx *store.Tx) (err error) {
		if refused, err = a.judge(tx, &t); err != nil || refused != nil {
			return err
		}
		g, ended, err = a.beginSession(tx, t, c.ClientID)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("logging in: %w", err)
	}
	if refused != nil {
		a.log.InfoContext(ctx, "login failed", "cause", refused.cause, "sub", t.account.Sub, "address", m.Address)
		return nil, refused.err
	}
	a.log.InfoContext(ctx, "login succeeded", "sub", g.claims.Subject, "sid", g.claims.SessionID, "address", m.Address)
	for _, record := range ended {
		a.acknowledge(ctx, record, actorRule)
	}
	return a.issue(ctx, g)
}

// verifyLogin finds the account and verifies the password, at the same cost
// whether there is one or not.
func (a *Authority) verifyLogin(ctx context.Context, c Credentials, m Meta) (try, error) {
	t := try{meta: m}
	r := a.db.Reader(ctx)
	key, err := password.FoldName(c.Login)
	if err == nil {
		t.account, err = r.AccountByLogin(key)
	} else {
		key, err = c.Login, nil // no account can have such a name
	}
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return try{}, fmt.Errorf("logging in: %w", err)
	}
	now := time.Now()
	if t.buckets, err = bucketsOf(r, t.account.Sub, key, m.Address, now); err != nil {
		return try{}, fmt.Errorf("logging in: %w", err)
	}
	// An address is refused before it can cost anything. Of an account that would
	// be an answer of its own, so it is found out only afterwards.
	wait, err := blockedFor(r, t.buckets.address, now)
	if err != nil {
		return try{}, fmt.Errorf("logging in: %w", err)
	}
	if wait > 0 {
		return try{}, throttled(wait, "address")
	}
	return t, a.verifyPassword(ctx, &t, c.Password)
}

// verifyPassword fills in matches and rehash.
func (a *Authority) verifyPassword(ctx context.Context, t *try, plain Secret) error {
	ok, weak, err := a.hasher.Verify(ctx, t.account.PasswordHash, password.Plaintext(plain))
	if err != nil {
		return busyError(err)
	}
	t.matches = ok
	if weak {
		t.rehash, err = a.hasher.Hash(ctx, password.Plaintext(plain))
	}
	return busyError(err)
}

// busyError turns a full queue for password hashing into a refusal.
func busyError(err error) error {
	if errors.Is(err, password.ErrBusy) {
		return &Error{
			Code: CodeBusy, Message: "too many logins at once: try again in a moment",
			RetryAfter: time.Second, Reason: "password_queue", Err: err,
		}
	}
	return err
}

// refusal is a login refused, with its true cause.
type refusal struct {
	cause string
	err   error
}

// judge decides on a try, and counts and records one that failed. It does so in
// the write transaction, where tries come one after the other: however many run
// at once, no more count than the pauses allow.
func (a *Authority) judge(tx *store.Tx, t *try) (*refusal, error) {
	if err := t.reread(tx); err != nil {
		return nil, err
	}
	wait, err := blockedFor(tx.Reader, t.buckets.address, tx.Now())
	if err != nil {
		return nil, err
	}
	if wait > 0 {
		return a.fail(tx, *t, &refusal{causeThrottled, throttled(wait, "address")})
	}
	refused := &refusal{err: &Error{Code: CodeInvalidCredentials, Message: "the login or the password is wrong"}}
	if wait, err = blockedFor(tx.Reader, t.buckets.account, tx.Now()); err != nil {
		return nil, err
	}
	switch {
	case wait > 0:
		// The account's own count stays: else whoever keeps trying would block it for good.
		refused.cause = causeThrottled
		return a.fail(tx, *t, refused, t.buckets.address)
	case t.account.Sub == "":
		refused.cause = causeUnknown
	case !t.matches:
		refused.cause = causePassword
	case t.account.Status != store.AccountActive:
		refused.cause = causeDisabled
	default:
		return nil, nil // neither refused nor failed
	}
	return a.fail(tx, *t, refused, t.buckets.account, t.buckets.address)
}

// reread looks at the account again: it may have changed while the password was
// being verified.
func (t *try) reread(tx *store.Tx) error {
	if t.account.Sub == "" {
		return nil
	}
	verified := t.account.PasswordHash
	account, err := tx.Account(t.account.Sub)
	switch {
	case err != nil:
		return err
	case account.Status == store.AccountDeleted:
		t.account = store.Account{}
		return nil
	case account.PasswordHash != verified:
		return errPasswordRace
	}
	t.account = account
	return nil
}

// fail records a failed login.
func (a *Authority) fail(tx *store.Tx, t try, refused *refusal, counted ...string) (*refusal, error) {
	if err := countFailure(tx, counted...); err != nil {
		return nil, err
	}
	failed := events.LoginFailed{Sub: t.account.Sub, Cause: refused.cause, Address: t.meta.Address}
	return refused, a.emit(tx, failed)
}

// beginSession begins a session for a try that succeeded. It returns the records
// of sessions that had to end for it.
func (a *Authority) beginSession(tx *store.Tx, t try, clientID string) (grant, []events.Revocation, error) {
	if err := tx.ClearThrottle(t.buckets.account); err != nil {
		return grant{}, nil, err
	}
	if t.rehash != "" {
		if err := tx.SetPasswordHash(t.account.Sub, t.rehash); err != nil {
			return grant{}, nil, err
		}
	}
	ended, err := a.makeRoom(tx, t.account.Sub)
	if err != nil {
		return grant{}, nil, err
	}
	now := tx.Now()
	s := store.Session{
		SID: newID(prefixSession), Sub: t.account.Sub, ClientID: clientID,
		UserAgent: t.meta.UserAgent, Address: t.meta.Address, CreatedAt: now, LastUsedAt: now,
		ExpiresAt: now.Add(a.config.SessionAbsolute), AuthTime: now, Rev: tx.Head().Rev,
	}
	refresh := newSecret(prefixRefresh)
	if err := tx.CreateSession(s); err != nil {
		return grant{}, nil, err
	}
	if err := tx.AddRefreshToken(store.Hash(refresh.hash()), s.SID); err != nil {
		return grant{}, nil, err
	}
	err = a.emit(tx, events.LoginSucceeded{
		Sub: s.Sub, SID: s.SID, ClientID: clientID, Address: s.Address, UserAgent: s.UserAgent,
	})
	if err != nil {
		return grant{}, nil, err
	}
	g, err := a.mint(tx, s, t.account, refresh)
	return g, ended, err
}

// makeRoom ends the user's oldest sessions until one more is allowed.
func (a *Authority) makeRoom(tx *store.Tx, sub string) ([]events.Revocation, error) {
	live, err := tx.LiveSessions(sub, tx.Now(), a.config.SessionIdle)
	if err != nil {
		return nil, err
	}
	var ended []events.Revocation
	for len(live) >= a.config.MaxSessionsPerUser {
		record, err := a.revokeSession(tx, live[0].Sub, live[0].SID, reasonLimit, actorRule)
		if err != nil {
			return nil, err
		}
		ended, live = append(ended, record), live[1:]
	}
	return ended, nil
}
