package store

import (
	"fmt"
	"time"
)

// Session is one login.
type Session struct {
	SID, Sub, ClientID    string
	UserAgent, Address    string
	CreatedAt, LastUsedAt time.Time
	ExpiresAt             time.Time // end of the absolute lifetime
	AuthTime              time.Time // when the user last gave the password
	// Rev is the log's revision when the session began, or when it was last kept.
	Rev uint64
	// EndedAt is zero while nobody has ended this very session; it may be dead by
	// the account's RevokedRev or the head's EveryoneRev all the same.
	EndedAt   time.Time
	EndReason string
}

// SessionState is a session with all that decides whether it lives, from one snapshot.
type SessionState struct {
	Session Session
	Account Account
	Head    Head
}

const sessionColumns = `s.sid, s.sub, s.client_id, s.user_agent, s.address, s.created_at, s.last_used_at,
	s.expires_at, s.auth_time, s.rev, s.ended_at, s.end_reason`

func (s *Session) fields() []any {
	return []any{
		&s.SID, &s.Sub, &s.ClientID, &s.UserAgent, &s.Address,
		moment{&s.CreatedAt},
		moment{&s.LastUsedAt},
		moment{&s.ExpiresAt},
		moment{&s.AuthTime},
		&s.Rev,
		moment{&s.EndedAt},
		&s.EndReason,
	}
}

func scanSession(row scanner) (Session, error) {
	var s Session
	err := row.Scan(s.fields()...)
	return s, err
}

// scanState scans extra fields, then session, account and head.
func (r *Reader) scanState(row scanner, extra ...any) (SessionState, error) {
	var state SessionState
	var account accountScan
	fields := append(extra, state.Session.fields()...)
	fields = append(fields, account.fields()...)
	if err := row.Scan(append(fields, state.Head.fields()...)...); err != nil {
		return SessionState{}, err
	}
	state.Account, state.Head = account.result(), r.current(state.Head)
	return state, nil
}

// Session returns a session, an ended one too.
func (r *Reader) Session(sid string) (Session, error) {
	return one(r, scanSession, "SELECT "+sessionColumns+" FROM sessions s WHERE s.sid = $1", sid)
}

// SessionState returns a session with its account and the head.
func (r *Reader) SessionState(sid string) (SessionState, error) {
	return one(r, func(row scanner) (SessionState, error) { return r.scanState(row) },
		"SELECT "+sessionColumns+", "+accountColumns+", "+headColumns+`
		FROM sessions s JOIN accounts a ON a.sub = s.sub JOIN log_head h ON h.id = 1 WHERE s.sid = $1`, sid)
}

// LiveSessions lists the sessions of a user that live at now, oldest first: not
// ended, not revoked, within both lifetimes, and the account active.
func (r *Reader) LiveSessions(sub string, now time.Time, idle time.Duration) ([]Session, error) {
	return all(r, scanSession, "SELECT "+sessionColumns+`
		FROM sessions s JOIN accounts a ON a.sub = s.sub JOIN log_head h ON h.id = 1
		WHERE s.sub = $1 AND s.ended_at IS NULL AND a.status = 'active'
			AND s.rev >= a.revoked_rev AND s.rev >= h.everyone_rev AND s.expires_at > $2 AND s.last_used_at > $3
		ORDER BY s.created_at, s.sid`, sub, millis(now), millis(now.Add(-idle)))
}

// KnownAddress reports whether a session of the user was used from the address
// since then; it may have ended.
func (r *Reader) KnownAddress(sub, address string, since time.Time) (bool, error) {
	return one(r, func(row scanner) (bool, error) {
		var n int64
		err := row.Scan(&n)
		return n > 0, err
	}, "SELECT count(*) FROM sessions s WHERE s.sub = $1 AND s.address = $2 AND s.last_used_at > $3",
		sub, address, millis(since))
}

// CreateSession adds a session as given.
func (tx *Tx) CreateSession(s Session) error {
	_, err := tx.exec(`INSERT INTO sessions
			(sid, sub, client_id, user_agent, address, created_at, last_used_at, expires_at, auth_time, rev, ended_at, end_reason)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)`,
		s.SID, s.Sub, s.ClientID, s.UserAgent, s.Address, millis(s.CreatedAt), millis(s.LastUsedAt),
		millis(s.ExpiresAt), millis(s.AuthTime), s.Rev, millis(s.EndedAt), s.EndReason)
	if err != nil {
		return fmt.Errorf("creating session: %w", err)
	}
	return nil
}

// TouchSession notes that a session was used now.
func (tx *Tx) TouchSession(sid string) error {
	return tx.changeSession("UPDATE sessions SET last_used_at = $1 WHERE sid = $2", millis(tx.now), sid)
}

// UseSession notes that a session was used now, and from where.
func (tx *Tx) UseSession(sid, address, userAgent string) error {
	err := tx.change("UPDATE sessions SET last_used_at = $1, address = $2, user_agent = $3 WHERE sid = $4",
		millis(tx.now), address, userAgent, sid)
	if err != nil {
		return fmt.Errorf("changing session %s: %w", sid, err)
	}
	return nil
}

// KeepSession saves a session from a revocation of its user with the revision
// rev: "end all but this".
func (tx *Tx) KeepSession(sid string, rev uint64) error {
	return tx.changeSession("UPDATE sessions SET rev = $1 WHERE sid = $2", rev, sid)
}

// SetAuthTime notes that the session's user has given the password now.
func (tx *Tx) SetAuthTime(sid string) error {
	return tx.changeSession("UPDATE sessions SET auth_time = $1 WHERE sid = $2", millis(tx.now), sid)
}

func (tx *Tx) changeSession(query string, value any, sid string) error {
	if err := tx.change(query, value, sid); err != nil {
		return fmt.Errorf("changing session %s: %w", sid, err)
	}
	return nil
}

// EndSession ends a session, and reports whether it was this call that did.
// Without a revocation its access tokens live on: [Tx.Revoke] does both.
func (tx *Tx) EndSession(sid, reason string) (bool, error) {
	n, err := tx.exec("UPDATE sessions SET ended_at = $1, end_reason = $2 WHERE sid = $3 AND ended_at IS NULL",
		millis(tx.now), reason, sid)
	if err != nil {
		return false, fmt.Errorf("ending session %s: %w", sid, err)
	}
	return n == 1, nil
}
