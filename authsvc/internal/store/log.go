package store

import (
	"database/sql"
	"fmt"
	"time"

	"github.com/authbus/authbus/events"
)

// Head is the one row that orders everything.
type Head struct {
	// Epoch names the log: a random id, new when a backup was restored.
	Epoch string
	// Rev is the last committed revision; 0 in a log without any.
	Rev uint64
	// EventSeq is the order number of the last event.
	EventSeq uint64
	// EveryoneRev is the revision of the last revocation of everyone: sessions
	// with a smaller one are dead.
	EveryoneRev uint64
	// KeysVersion grows with every change of the signing keys.
	KeysVersion uint64
}

// ReadIndex is what the log has committed.
type ReadIndex struct {
	Head
	// Floor is the lowest revision still in the table; Rev+1 where there is none.
	Floor uint64
}

// Page is a part of the log: whoever has it has every record with
// after < rev <= Through that the table still holds.
type Page struct {
	ReadIndex
	Through uint64
	Records []events.Revocation
}

// TokenRecords are the live records that name one of a token's ids.
type TokenRecords struct {
	Head
	Records []events.Revocation
}

// LogEntry is a revocation with what the feed does not carry.
type LogEntry struct {
	events.Revocation
	Actor string
	// DeliveredAt is when the stream had it; zero while it is pending.
	DeliveredAt time.Time
}

const (
	headColumns       = "h.epoch, h.rev, h.event_seq, h.everyone_rev, h.keys_version"
	revocationColumns = "r.epoch, r.rev, r.scope, r.target, r.expires_at, r.reason, r.at"
	logColumns        = revocationColumns + ", r.actor, r.delivered_at"
)

func (h *Head) fields() []any {
	return []any{&h.Epoch, &h.Rev, &h.EventSeq, &h.EveryoneRev, &h.KeysVersion}
}

func scanHead(row scanner) (Head, error) {
	var h Head
	err := row.Scan(h.fields()...)
	return h, err
}

func revocationFields(r *events.Revocation) []any {
	r.Version = events.RevocationVersion
	return []any{&r.Epoch, &r.Rev, &r.Scope, &r.ID, &r.ExpiresAt, &r.Reason, &r.At}
}

func scanRevocation(row scanner) (events.Revocation, error) {
	var r events.Revocation
	err := row.Scan(revocationFields(&r)...)
	return r, err
}

func scanLogEntry(row scanner) (LogEntry, error) {
	var e LogEntry
	err := row.Scan(append(revocationFields(&e.Revocation), &e.Actor, moment{&e.DeliveredAt})...)
	return e, err
}

// logRow is the head, and a record where the query has found one beside it.
type logRow struct {
	head   Head
	floor  sql.Null[uint64]
	record *events.Revocation
}

func scanLogRow(row scanner) (logRow, error) {
	var l logRow
	var epoch, scope, target, reason sql.Null[string]
	var rev sql.Null[uint64]
	var expires, at sql.Null[int64]
	fields := append(l.head.fields(), &l.floor, &epoch, &rev, &scope, &target, &expires, &reason, &at)
	if err := row.Scan(fields...); err != nil {
		return logRow{}, err
	}
	if rev.Valid {
		l.record = &events.Revocation{
			Version: events.RevocationVersion, Epoch: epoch.V, Rev: rev.V, Scope: events.Scope(scope.V),
			ID: target.V, ExpiresAt: expires.V, Reason: reason.V, At: at.V,
		}
	}
	return l, nil
}

// current is the head to answer with: a write transaction's own, or the one read.
func (r *Reader) current(read Head) Head {
	if r.head != nil {
		return *r.head
	}
	return read
}

func (r *Reader) index(row logRow) ReadIndex {
	index := ReadIndex{Head: r.current(row.head), Floor: row.floor.V}
	if !row.floor.Valid {
		index.Floor = index.Rev + 1
	}
	return index
}

func records(rows []logRow) []events.Revocation {
	var found []events.Revocation
	for _, row := range rows {
		if row.record != nil {
			found = append(found, *row.record)
		}
	}
	return found
}

// ReadIndex returns the log's head and floor.
func (r *Reader) ReadIndex() (ReadIndex, error) {
	row, err := one(r, func(s scanner) (logRow, error) {
		var l logRow
		err := s.Scan(append(l.head.fields(), &l.floor)...)
		return l, err
	}, "SELECT "+headColumns+", (SELECT min(rev) FROM revocations) FROM log_head h WHERE h.id = 1")
	if err != nil {
		return ReadIndex{}, err
	}
	return r.index(row), nil
}

// Range returns the records with after < rev in order, at most limit of them,
// with the head and floor of the same snapshot.
func (r *Reader) Range(after uint64, limit int) (Page, error) {
	rows, err := all(r, scanLogRow, "SELECT "+headColumns+`, (SELECT min(rev) FROM revocations), `+revocationColumns+`
		FROM log_head h LEFT JOIN
			(SELECT * FROM revocations WHERE rev > $1 ORDER BY rev LIMIT $2) r ON TRUE
		WHERE h.id = 1 ORDER BY r.rev`, after, limit)
	if err != nil {
		return Page{}, err
	}
	if len(rows) == 0 {
		return Page{}, fmt.Errorf("reading the log's head: %w", ErrNotFound)
	}
	page := Page{ReadIndex: r.index(rows[0]), Records: records(rows)}
	page.Through = page.Rev
	if len(page.Records) >= limit && limit > 0 {
		page.Through = page.Records[limit-1].Rev
	}
	return page, nil
}

// TokenRecords returns the live records that name one of the token's ids,
// covering it or not: of each id, and of everyone, the latest.
func (r *Reader) TokenRecords(token events.TokenRef) (TokenRecords, error) {
	rows, err := all(r, scanLogRow, "SELECT "+headColumns+", NULL, "+revocationColumns+`
		FROM log_head h LEFT JOIN
			(SELECT * FROM revocations WHERE rev IN
				(SELECT max(rev) FROM revocations
				WHERE (scope = 'token' AND target = $1 OR scope = 'session' AND target = $2
					OR scope = 'user' AND target = $3 OR scope = 'key' AND target = $4
					OR scope = 'everyone' AND target = '') AND expires_at >= $5
				GROUP BY scope)) r ON TRUE
		WHERE h.id = 1 ORDER BY r.rev`, token.JTI, token.SID, token.Sub, token.KID, time.Now().Unix())
	if err != nil {
		return TokenRecords{}, err
	}
	if len(rows) == 0 {
		return TokenRecords{}, fmt.Errorf("reading the log's head: %w", ErrNotFound)
	}
	return TokenRecords{Head: r.current(rows[0].head), Records: records(rows)}, nil
}

// RevokedCertificates returns those of the ids ([events.CertificateID]) that a live
// record names.
func (r *Reader) RevokedCertificates(ids ...string) ([]string, error) {
	var revoked []string
	for _, id := range ids {
		found, err := one(r, func(s scanner) (n int, err error) { return n, s.Scan(&n) },
			"SELECT count(*) FROM revocations WHERE scope = 'cert' AND target = $1 AND expires_at >= $2",
			id, time.Now().Unix())
		if err != nil {
			return nil, err
		}
		if found > 0 {
			revoked = append(revoked, id)
		}
	}
	return revoked, nil
}

// AllRevokedCertificates returns the ids of every certificate that a live record names.
func (r *Reader) AllRevokedCertificates() ([]string, error) {
	return all(r, func(s scanner) (id string, err error) { return id, s.Scan(&id) },
		"SELECT DISTINCT target FROM revocations WHERE scope = 'cert' AND expires_at >= $1 ORDER BY target", time.Now().Unix())
}

// LiveRecord returns the live record of that scope and id that lives longest, and of
// several the latest; or ErrNotFound.
func (r *Reader) LiveRecord(scope events.Scope, id string) (LogEntry, error) {
	return one(r, scanLogEntry, "SELECT "+logColumns+` FROM revocations r
		WHERE r.scope = $1 AND r.target = $2 AND r.expires_at >= $3
		ORDER BY r.expires_at DESC, r.rev DESC LIMIT 1`, string(scope), id, time.Now().Unix())
}

// LogFilter chooses from the log. Empty fields choose everything.
type LogFilter struct {
	Scope events.Scope
	ID    string
	// Before is the rev of the last entry of the page before; 0 starts at the newest.
	Before uint64
	// Limit is the most entries wanted.
	Limit int
}

// Log lists the records that the table still holds, newest first.
func (r *Reader) Log(f LogFilter) ([]LogEntry, error) {
	return all(r, scanLogEntry, "SELECT "+logColumns+` FROM revocations r
		WHERE ($1 = '' OR r.scope = $1) AND ($2 = '' OR r.target = $2) AND (CAST($3 AS BIGINT) = 0 OR r.rev < $3)
		ORDER BY r.rev DESC LIMIT $4`, string(f.Scope), f.ID, f.Before, f.Limit)
}

// Undelivered lists records that the stream has not acknowledged, in order.
func (r *Reader) Undelivered(limit int) ([]events.Revocation, error) {
	return all(r, scanRevocation, "SELECT "+revocationColumns+` FROM revocations r
		WHERE r.delivered_at IS NULL ORDER BY r.rev LIMIT $1`, limit)
}
