package authority

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/authbus/authbus/authsvc/internal/store"
	"github.com/authbus/authbus/events"
	"github.com/authbus/authbus/verifier/token"
)

// The methods of a user who is logged in take the claims that Authenticate
// returned.

// Logout ends the session that asks.
func (a *Authority) Logout(ctx context.Context, c *token.Claims) (Ack, error) {
	return a.end(ctx, c.Subject, func(tx *store.Tx) (events.Revocation, error) {
		return a.logoutSession(tx, c.Subject, c.SessionID, reasonLogout)
	})
}

// EndSession ends another session of the user. It is CodeNotFound for one that is
// not the user's own.
func (a *Authority) EndSession(ctx context.Context, c *token.Claims, sid string) (Ack, error) {
	if !validID(sid, maxSID) {
		return Ack{}, notFound("session")
	}
	return a.end(ctx, c.Subject, func(tx *store.Tx) (events.Revocation, error) {
		s, err := tx.Session(sid)
		if errors.Is(err, store.ErrNotFound) || err == nil && s.Sub != c.Subject {
			return events.Revocation{}, notFound("session")
		}
		if err != nil {
			return events.Revocation{}, err
		}
		return a.logoutSession(tx, c.Subject, sid, reasonEndedByUser)
	})
}

// EndAll ends all sessions of the user. With keepCurrent the one that asks lives
// on, with the access token that is returned; its refresh token stays the same.
func (a *Authority) EndAll(ctx context.Context, c *token.Claims, keepCurrent bool) (Ack, *Tokens, error) {
	if !keepCurrent {
		ack, err := a.end(ctx, c.Subject, func(tx *store.Tx) (events.Revocation, error) {
			return a.revokeUser(tx, c.Subject, "", reasonLogoutAll, c.Subject)
		})
		return ack, nil, err
	}
	var g grant
	ack, err := a.end(ctx, c.Subject, func(tx *store.Tx) (events.Revocation, error) {
		state, err := a.liveState(tx, c)
		if err != nil {
			return events.Revocation{}, err
		}
		record, err := a.revokeUser(tx, c.Subject, c.SessionID, reasonLogoutOthers, c.Subject)
		if err != nil {
			return events.Revocation{}, err
		}
		g, err = a.mint(tx, state.Session, state.Account, "")
		return record, err
	})
	if err != nil {
		return Ack{}, nil, err
	}
	tokens, err := a.issue(ctx, g)
	return ack, tokens, err
}

// Sessions lists the user's live sessions, oldest first.
func (a *Authority) Sessions(ctx context.Context, c *token.Claims) ([]Session, error) {
	return a.liveSessions(ctx, c.Subject, c.SessionID)
}

func (a *Authority) liveSessions(ctx context.Context, sub, current string) ([]Session, error) {
	live, err := a.db.Reader(ctx).LiveSessions(sub, time.Now(), a.config.SessionIdle)
	if err != nil {
		return nil, fmt.Errorf("listing sessions: %w", err)
	}
	sessions := make([]Session, 0, len(live))
	for _, s := range live {
		expires := s.LastUsedAt.Add(a.config.SessionIdle)
		if s.ExpiresAt.Before(expires) {
			expires = s.ExpiresAt
		}
		sessions = append(sessions, Session{
			SID: s.SID, Sub: s.Sub, ClientID: s.ClientID, UserAgent: s.UserAgent, Address: s.Address,
			CreatedAt: s.CreatedAt, LastUsedAt: s.LastUsedAt, ExpiresAt: expires, Current: s.SID == current,
		})
	}
	return sessions, nil
}

// liveState returns the session of the claims if it lives in tx: it may have
// ended since the claims were verified.
func (a *Authority) liveState(tx *store.Tx, c *token.Claims) (store.SessionState, error) {
	state, err := tx.SessionState(c.SessionID)
	if errors.Is(err, store.ErrNotFound) {
		return store.SessionState{}, invalidToken(reasonUnknown, err)
	}
	if err != nil {
		return store.SessionState{}, err
	}
	if dead := a.deadBecause(state, tx.Now()); dead != "" {
		return store.SessionState{}, invalidToken(dead, nil)
	}
	if state.Session.Sub != c.Subject {
		return store.SessionState{}, invalidToken(reasonUnknown, nil)
	}
	return state, nil
}

// end runs fn, which ends something, in a transaction and brings its record to
// the bus.
func (a *Authority) end(ctx context.Context, actor string, fn func(tx *store.Tx) (events.Revocation, error)) (Ack, error) {
	var record events.Revocation
	err := a.db.Write(ctx, func(tx *store.Tx) (err error) {
		record, err = fn(tx)
		return err
	})
	if err != nil {
		return Ack{}, fmt.Errorf("revoking: %w", err)
	}
	return a.acknowledge(ctx, record, actor), nil
}
