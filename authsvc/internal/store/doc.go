// Package store keeps the state of the auth service in SQLite or PostgreSQL:
// accounts, sessions, refresh tokens, keys, and the revocation log with its
// head. It knows tables and their rules of consistency; what they mean is the
// business of the packages above.
//
//	db, err := store.Open(ctx, "sqlite:/var/lib/authsvc/auth.db")
//	defer db.Close()
//	err = db.Write(ctx, func(tx *store.Tx) error {
//		record, err = tx.Revoke(events.ScopeSession, sid, expires, "logout", sub)
//		return errors.Join(err, tx.Emit(issuer, events.SessionEnded{Sub: sub, SID: sid, Rev: record.Rev}))
//	})
//	state, err := db.Reader(ctx).SessionState(sid)
//
// # Order
//
// Every write transaction first locks the one row of the log's head, so writes
// are serial, across replicas too. Revisions and the order numbers of events are
// therefore gap-free and in commit order, and a function given to [DB.Write] may
// read and then write what it has read without a race.
//
// # Durability
//
// [DB.Write] returns nil only after the database has committed durably: SQLite
// runs with synchronous=FULL, and a PostgreSQL with synchronous_commit or fsync
// off is refused. Functions that wait at the same time share one commit; each
// runs in a savepoint of its own, so that one that fails undoes nothing but
// itself and fails nobody else. Where the commit itself fails, all that shared it
// get the error; if the connection broke during the commit, it is not known
// whether the database still carried it out.
//
// # Reading
//
// Each method of [Reader] is one statement and sees one snapshot. [DB.Snapshot]
// gives several calls the same one. Readers never wait for the writer.
//
// Not promised: that a read on one replica sees a write that another has not yet
// committed, and any order among functions that wait to write at the same time.
package store
