package authority

import (
	"time"

	"github.com/authbus/authbus/authsvc/internal/store"
	"github.com/authbus/authbus/events"
)

// actorRule is the actor where nobody but the service's own rules ended something.
const actorRule = Audience

// The reasons that the log gives where no person gave one.
const (
	reasonLogout         = "logout"
	reasonLogoutAll      = "logout_everywhere"
	reasonLogoutOthers   = "logout_others"
	reasonEndedByUser    = "ended_by_user"
	reasonLimit          = "session_limit"
	reasonReused         = "refresh_token_reuse"
	reasonMismatch       = "client_mismatch"
	reasonPasswordChange = "password_change"
	reasonDeleted        = "account_deleted"
	reasonByService      = "revoked_by_service"
)

// longestFrom is until when a token minted at now can be alive.
func longestFrom(now time.Time) time.Time { return now.Add(longestToken) }

// deadBecause says why a session is dead, in one word; empty for one that lives.
func (a *Authority) deadBecause(s store.SessionState, now time.Time) string {
	switch {
	case s.Account.Status != store.AccountActive:
		return reasonInactive
	case revoked(s):
		return reasonRevoked
	case !now.Before(s.Session.ExpiresAt), !now.Before(s.Session.LastUsedAt.Add(a.config.SessionIdle)):
		return reasonSessionOver
	}
	return ""
}

// revoked reports whether the session, all of its user's or everyone's were ended.
func revoked(s store.SessionState) bool {
	return !s.Session.EndedAt.IsZero() || s.Session.Rev < s.Account.RevokedRev || s.Session.Rev < s.Head.EveryoneRev
}

// The functions below are all the ways in which something ends: each writes one
// record into the log, which does to the state what it says, and its one event.

// logoutSession ends a session on behalf of its own user.
func (a *Authority) logoutSession(tx *store.Tx, sub, sid, reason string) (events.Revocation, error) {
	record, err := tx.Revoke(events.ScopeSession, sid, longestFrom(tx.Now()), reason, sub)
	if err != nil {
		return events.Revocation{}, err
	}
	return record, a.emit(tx, events.SessionEnded{Sub: sub, SID: sid, Rev: record.Rev})
}

// revokeSession ends a session on behalf of somebody else, or of a rule.
func (a *Authority) revokeSession(tx *store.Tx, sub, sid, reason, actor string) (events.Revocation, error) {
	record, err := tx.Revoke(events.ScopeSession, sid, longestFrom(tx.Now()), reason, actor)
	if err != nil {
		return events.Revocation{}, err
	}
	return record, a.emit(tx, events.SessionRevoked{Sub: sub, SID: sid, Rev: record.Rev, Reason: reason, Actor: actor})
}

// endReused ends the session of a refresh token that was used again.
func (a *Authority) endReused(tx *store.Tx, sub, sid string) (events.Revocation, error) {
	record, err := tx.Revoke(events.ScopeSession, sid, longestFrom(tx.Now()), reasonReused, actorRule)
	if err != nil {
		return events.Revocation{}, err
	}
	return record, a.emit(tx, events.SessionReuseDetected{Sub: sub, SID: sid, Rev: record.Rev})
}

// revokeToken ends one access token. sub is empty where only the token's id is known.
func (a *Authority) revokeToken(tx *store.Tx, sub, jti string, until time.Time, reason, actor string) (events.Revocation, error) {
	record, err := tx.Revoke(events.ScopeToken, jti, until, reason, actor)
	if err != nil {
		return events.Revocation{}, err
	}
	return record, a.emit(tx, events.TokenRevoked{Sub: sub, JTI: jti, Rev: record.Rev, Reason: reason, Actor: actor})
}

// revokeUser ends all sessions of a user but kept, which may be empty.
func (a *Authority) revokeUser(tx *store.Tx, sub, kept, reason, actor string) (events.Revocation, error) {
	record, err := tx.Revoke(events.ScopeUser, sub, longestFrom(tx.Now()), reason, actor)
	if err != nil {
		return events.Revocation{}, err
	}
	if kept != "" {
		if err := tx.KeepSession(kept, record.Rev); err != nil {
			return events.Revocation{}, err
		}
	}
	revoked := events.UserRevoked{Sub: sub, KeptSID: kept, Rev: record.Rev, Reason: reason, Actor: actor}
	return record, a.emit(tx, revoked)
}

// revokeEveryone ends every session there is.
func (a *Authority) revokeEveryone(tx *store.Tx, reason, actor string) (events.Revocation, error) {
	record, err := tx.Revoke(events.ScopeEveryone, "", longestFrom(tx.Now()), reason, actor)
	if err != nil {
		return events.Revocation{}, err
	}
	return record, a.emit(tx, events.EveryoneRevoked{Rev: record.Rev, Reason: reason, Actor: actor})
}
