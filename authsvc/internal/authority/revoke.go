package authority

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/authbus/authbus/authsvc/internal/keyring"
	"github.com/authbus/authbus/authsvc/internal/store"
	"github.com/authbus/authbus/events"
	"github.com/authbus/authbus/verifier/token"
)

// RevokeRequest is an admin's revocation.
type RevokeRequest struct {
	Scope  events.Scope
	ID     string // jti, sid, sub, kid or certificate id; empty for everyone
	Reason string
	// NotAfter is the end of the certificate, in the scope cert only: the record
	// is kept for as long. Zero keeps it for the longest time there is.
	NotAfter time.Time
}

// Revoke writes a record into the log, in any scope. To revoke again what is
// revoked is harmless: one more record, or for a certificate with a NotAfter the one
// that lasts as long. So is an id that the database does not know, of which Known tells.
func (a *Authority) Revoke(ctx context.Context, actor *token.Claims, r RevokeRequest) (Revoked, error) {
	if err := errors.Join(a.CheckAdmin(actor), checkReason(r.Reason), checkTarget(r), checkNotAfter(r)); err != nil {
		return Revoked{}, err
	}
	if r.Scope == events.ScopeKey {
		return a.revokeKey(ctx, actor, r)
	}
	known := true
	ack, err := a.end(ctx, actor.Subject, func(tx *store.Tx) (record events.Revocation, err error) {
		switch r.Scope {
		case events.ScopeToken:
			record, err = a.revokeToken(tx, "", r.ID, longestFrom(tx.Now()), r.Reason, actor.Subject)
		case events.ScopeSession:
			record, known, err = a.revokeNamedSession(tx, r, actor.Subject)
		case events.ScopeUser:
			record, known, err = a.revokeNamedUser(tx, r, actor.Subject)
		case events.ScopeCert:
			record, err = a.revokeCertificate(tx, r, actor.Subject)
		default:
			record, err = a.revokeEveryone(tx, r.Reason, actor.Subject)
		}
		return record, err
	})
	return Revoked{Ack: ack, Known: known && err == nil}, err
}

func checkTarget(r RevokeRequest) error {
	ok := false
	switch r.Scope {
	case events.ScopeToken:
		ok = validID(r.ID, maxJTI)
	case events.ScopeSession:
		ok = validID(r.ID, maxSID)
	case events.ScopeUser:
		ok = validSub(r.ID)
	case events.ScopeKey:
		ok = validID(r.ID, maxKID)
	case events.ScopeCert:
		ok = events.IsCertificateID(r.ID)
	case events.ScopeEveryone:
		ok = r.ID == ""
	default:
		return invalidInput(Violation{"scope", "invalid", "it is token, session, user, everyone, key or cert"})
	}
	if !ok {
		return invalidInput(Violation{"id", "invalid", "it is not an id that fits the scope"})
	}
	return nil
}

func (a *Authority) revokeNamedSession(tx *store.Tx, r RevokeRequest, actor string) (events.Revocation, bool, error) {
	s, err := tx.Session(r.ID)
	known := err == nil
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return events.Revocation{}, false, err
	}
	record, err := a.revokeSession(tx, s.Sub, r.ID, r.Reason, actor)
	return record, known, err
}

func (a *Authority) revokeNamedUser(tx *store.Tx, r RevokeRequest, actor string) (events.Revocation, bool, error) {
	_, err := tx.Account(r.ID)
	known := err == nil
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return events.Revocation{}, false, err
	}
	record, err := a.revokeUser(tx, r.ID, "", r.Reason, actor)
	return record, known, err
}

// revokeKey kills a key, and writes a record for one that the database does not have.
func (a *Authority) revokeKey(ctx context.Context, actor *token.Claims, r RevokeRequest) (Revoked, error) {
	ack, err := a.KillKey(ctx, actor, r.ID, r.Reason)
	var refused *Error
	if !errors.As(err, &refused) || refused.Code != CodeNotFound {
		return Revoked{Ack: ack, Known: err == nil}, err
	}
	ack, err = a.end(ctx, actor.Subject, func(tx *store.Tx) (events.Revocation, error) {
		record, err := tx.Revoke(events.ScopeKey, r.ID, longestFrom(tx.Now()), r.Reason, actor.Subject)
		if err != nil {
			return events.Revocation{}, err
		}
		killed := events.KeyRevoked{KID: r.ID, Rev: record.Rev, Reason: r.Reason, Actor: actor.Subject}
		return record, a.emit(tx, killed)
	})
	return Revoked{Ack: ack}, err
}

// Revocations lists the log, newest first. limit is 1 to 500; 0 means 50.
func (a *Authority) Revocations(ctx context.Context, actor *token.Claims, cursor string, limit int) (RevocationPage, error) {
	if err := a.CheckAdmin(actor); err != nil {
		return RevocationPage{}, err
	}
	f := store.LogFilter{Limit: pageLimit(limit) + 1}
	if cursor != "" {
		var err error
		if f.Before, err = strconv.ParseUint(cursor, 10, 63); err != nil || f.Before == 0 {
			return RevocationPage{}, badCursor()
		}
	}
	entries, err := a.db.Reader(ctx).Log(f)
	if err != nil {
		return RevocationPage{}, fmt.Errorf("listing revocations: %w", err)
	}
	var page RevocationPage
	if len(entries) == f.Limit {
		entries = entries[:f.Limit-1]
		page.Next = strconv.FormatUint(entries[len(entries)-1].Rev, 10)
	}
	for _, e := range entries {
		page.Revocations = append(page.Revocations, Revocation{Revocation: e.Revocation, Actor: e.Actor})
	}
	return page, nil
}

// Keys lists the keys for tokens, retired and killed ones too.
func (a *Authority) Keys(ctx context.Context, actor *token.Claims) ([]keyring.Info, error) {
	if err := a.CheckAdmin(actor); err != nil {
		return nil, err
	}
	return a.keys.List(ctx)
}

// RotateKey publishes a new key that will sign after the overlap. Where one is on
// its way already, that one is the answer. It is CodeSharedSecret where a shared
// secret signs.
func (a *Authority) RotateKey(ctx context.Context, actor *token.Claims) (keyring.Info, error) {
	if err := a.CheckAdmin(actor); err != nil {
		return keyring.Info{}, err
	}
	info, err := a.keys.Rotate(ctx)
	if errors.Is(err, keyring.ErrNotRotated) {
		return keyring.Info{}, &Error{Code: CodeSharedSecret, Message: err.Error()}
	}
	if err != nil {
		return keyring.Info{}, err
	}
	a.log.InfoContext(ctx, "signing key rotated", "kid", info.KID, "actor", actor.Subject)
	return info, nil
}

// KillKey revokes a key: every token that it signed dies. If it was the active
// one, a new key signs from now on, and nothing does where it was a shared secret.
// It is CodeNotFound for a kid that there never was.
func (a *Authority) KillKey(ctx context.Context, actor *token.Claims, kid, reason string) (Ack, error) {
	if err := errors.Join(a.CheckAdmin(actor), checkReason(reason)); err != nil {
		return Ack{}, err
	}
	if !validID(kid, maxKID) {
		return Ack{}, notFound("key")
	}
	record, err := a.keys.Kill(ctx, kid, actor.Subject, reason)
	switch {
	case errors.Is(err, keyring.ErrUnknownKey):
		return Ack{}, notFound("key")
	case errors.Is(err, keyring.ErrFeedKey):
		return Ack{}, invalidInput(Violation{"kid", "invalid", "the key of the feed signs no tokens and cannot be killed"})
	case err != nil:
		return Ack{}, err
	}
	return a.acknowledge(ctx, record, actor.Subject), nil
}
