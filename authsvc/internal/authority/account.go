package authority

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/authbus/authbus/authsvc/internal/password"
	"github.com/authbus/authbus/authsvc/internal/store"
	"github.com/authbus/authbus/events"
	"github.com/authbus/authbus/verifier/token"
)

// Me returns the account of the user who asks.
func (a *Authority) Me(ctx context.Context, c *token.Claims) (Account, error) {
	account, err := a.db.Reader(ctx).Account(c.Subject)
	if errors.Is(err, store.ErrNotFound) {
		return Account{}, invalidToken(reasonUnknown, err)
	}
	if err != nil {
		return Account{}, fmt.Errorf("reading account: %w", err)
	}
	return accountOf(account), nil
}

// PasswordChange is a user's change of password.
type PasswordChange struct {
	Current, New Secret
}

// ChangePassword replaces the password and ends the user's other sessions. The
// session that asks lives on with the access token that is returned; its refresh
// token stays the same. The refusals are CodeInvalidInput, CodeWrongPassword,
// CodeThrottled and CodeBusy.
func (a *Authority) ChangePassword(ctx context.Context, c *token.Claims, p PasswordChange, m Meta) (Ack, *Tokens, error) {
	account, err := a.Me(ctx, c)
	if err != nil {
		return Ack{}, nil, err
	}
	weak, err := passwordViolation("new_password", a.policy.Check(password.Plaintext(p.New), account.Username, account.Email))
	if err != nil {
		return Ack{}, nil, err
	}
	if len(weak) > 0 {
		return Ack{}, nil, invalidInput(weak...)
	}
	hash, err := a.hasher.Hash(ctx, password.Plaintext(p.New))
	if err != nil {
		return Ack{}, nil, busyError(err)
	}
	var g grant
	ack, err := a.withPassword(ctx, c, p.Current, m, func(tx *store.Tx, state store.SessionState) (record events.Revocation, err error) {
		record, g, err = a.changePassword(tx, state, hash)
		return record, err
	})
	if err != nil {
		return Ack{}, nil, err
	}
	tokens, err := a.issue(ctx, g)
	return ack, tokens, err
}

func (a *Authority) changePassword(tx *store.Tx, state store.SessionState, hash string) (events.Revocation, grant, error) {
	sub, sid := state.Account.Sub, state.Session.SID
	if err := tx.SetPasswordHash(sub, hash); err != nil {
		return events.Revocation{}, grant{}, err
	}
	record, err := a.revokeUser(tx, sub, sid, reasonPasswordChange, sub)
	if err != nil {
		return events.Revocation{}, grant{}, err
	}
	if err := a.emit(tx, events.PasswordChanged{Sub: sub, Rev: record.Rev, Actor: sub}); err != nil {
		return events.Revocation{}, grant{}, err
	}
	g, err := a.mint(tx, state.Session, state.Account, "")
	return record, g, err
}

// DeleteAccount deletes the account of the user who asks, and ends its sessions.
// Its sub is never used again; its names are free. The refusals are
// CodeWrongPassword, CodeThrottled and CodeBusy.
func (a *Authority) DeleteAccount(ctx context.Context, c *token.Claims, current Secret, m Meta) (Ack, error) {
	return a.withPassword(ctx, c, current, m, func(tx *store.Tx, state store.SessionState) (events.Revocation, error) {
		sub := state.Account.Sub
		record, err := a.revokeUser(tx, sub, "", reasonDeleted, sub)
		if err != nil {
			return events.Revocation{}, err
		}
		if err := tx.DeleteAccount(sub); err != nil {
			return events.Revocation{}, err
		}
		return record, a.emit(tx, events.AccountDeleted{Sub: sub, Rev: record.Rev, Actor: sub})
	})
}

// withPassword runs fn, which ends something, for a user who has given the
// current password. Failures count like those of logins: whoever has stolen an
// access token shall not guess the password either.
func (a *Authority) withPassword(ctx context.Context, c *token.Claims, current Secret, m Meta,
	fn func(*store.Tx, store.SessionState) (events.Revocation, error),
) (Ack, error) {
	for {
		t, err := a.verifyOwner(ctx, c, current, m.clean())
		if err != nil {
			return Ack{}, err
		}
		var record events.Revocation
		var refused error
		err = a.db.Write(ctx, func(tx *store.Tx) error {
			state, err := a.liveState(tx, c)
			if err != nil {
				return err
			}
			if state.Account.PasswordHash != t.account.PasswordHash {
				return errPasswordRace
			}
			if refused, err = judgeOwner(tx, t); err != nil || refused != nil {
				return err
			}
			record, err = fn(tx, state)
			return err
		})
		switch {
		case errors.Is(err, errPasswordRace):
			continue
		case err != nil:
			return Ack{}, fmt.Errorf("changing the account: %w", err)
		case refused != nil:
			a.log.WarnContext(ctx, "current password refused", "sub", c.Subject, "sid", c.SessionID, "address", t.meta.Address)
			return Ack{}, refused
		}
		return a.acknowledge(ctx, record, c.Subject), nil
	}
}

// verifyOwner verifies the current password of a user who is logged in.
func (a *Authority) verifyOwner(ctx context.Context, c *token.Claims, current Secret, m Meta) (try, error) {
	t := try{meta: m}
	r := a.db.Reader(ctx)
	var err error
	if t.account, err = r.Account(c.Subject); err != nil {
		return try{}, fmt.Errorf("reading account: %w", err)
	}
	now := time.Now()
	if t.buckets, err = bucketsOf(r, c.Subject, "", m.Address, now); err != nil {
		return try{}, fmt.Errorf("reading account: %w", err)
	}
	wait, err := blockedFor(r, t.buckets.account, now)
	if err != nil {
		return try{}, fmt.Errorf("reading account: %w", err)
	}
	if wait > 0 {
		return try{}, throttled(wait, "account")
	}
	t.matches, _, err = a.hasher.Verify(ctx, t.account.PasswordHash, password.Plaintext(current))
	return t, busyError(err)
}

// judgeOwner is judge for a user who is logged in, and may be told the truth.
func judgeOwner(tx *store.Tx, t try) (refused, err error) {
	wait, err := blockedFor(tx.Reader, t.buckets.account, tx.Now())
	switch {
	case err != nil:
		return nil, err
	case wait > 0:
		return throttled(wait, "account"), nil
	case !t.matches:
		refused = &Error{Code: CodeWrongPassword, Message: "the current password is wrong"}
		return refused, countFailure(tx, t.buckets.account, t.buckets.address)
	}
	return nil, tx.ClearThrottle(t.buckets.account)
}
