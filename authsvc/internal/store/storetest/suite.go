package storetest

import (
	"reflect"
	"testing"
	"time"

	"github.com/authbus/authbus/authsvc/internal/store"
	"github.com/authbus/authbus/events"
)

// Run runs the conformance suite: what every database must do. open opens a
// fresh database, closed when the test ends; it is called from several goroutines
// at once.
func Run(t *testing.T, open func(t *testing.T) *store.DB) {
	t.Helper()
	groups := map[string]map[string]func(*testing.T, *store.DB){
		"log": {
			"an empty log":                          testEmptyLog,
			"revisions and events count up":         testCounting,
			"ranges are complete":                   testRange,
			"records of a token":                    testTokenRecords,
			"listing and delivering":                testLogListing,
			"nonsense is refused":                   testNonsense,
			"an event leaves with its state":        testEmit,
			"a transaction sees its own writes":     testOwnWrites,
			"a snapshot stays as it is":             testSnapshot,
			"everything at once in one transaction": testBatchOfScopes,
			"revoked certificates":                  testCertificates,
			"a record that outlives many":           testLongLived,
		},
		"accounts": {
			"what is written is read":         testAccountRoundTrip,
			"names are unique":                testNames,
			"changes":                         testAccountChanges,
			"a deleted account":               testDeletedAccount,
			"pages and search":                testAccountPages,
			"markup and quotes are just text": testOddText,
		},
		"sessions": {
			"what is written is read":             testSessionRoundTrip,
			"only the living are listed":          testLiveSessions,
			"all but this":                        testKeepSession,
			"ending is done once":                 testEndSession,
			"known addresses":                     testKnownAddress,
			"rotation":                            testRotation,
			"a hundred rotations of one token":    testRotationRace,
			"what nobody knows cannot be rotated": testRotationUnknown,
		},
		"keys": {
			"life of a key":        testKeyLife,
			"a key that is killed": testKeyKilled,
		},
		"rest": {
			"outbox":           testOutbox,
			"throttle":         testThrottle,
			"lease":            testLease,
			"services":         testServices,
			"bootstrap secret": testBootstrap,
			"purge":            testPurge,
			"purge of many":    testPurgeMany,
		},
		"restore": {
			"a new epoch":            testOpenEpoch,
			"records are taken back": testTakeBack,
			"two logs that diverged": testTakeBackDiverged,
			"refilling a stream":     testAllLive,
		},
	}
	for group, tests := range groups {
		for name, test := range tests {
			t.Run(group+"/"+name, func(t *testing.T) {
				t.Parallel()
				test(t, open(t))
			})
		}
	}
}

const issuer = "http://127.0.0.1:8080"

// write runs fn in a transaction that must succeed.
func write(t *testing.T, db *store.DB, fn func(tx *store.Tx) error) {
	t.Helper()
	if err := db.Write(t.Context(), fn); err != nil {
		t.Fatalf("writing: %v", err)
	}
}

// expect compares what a call returned with what it should have.
func expect[T any](t *testing.T, what string, want T) func(got T, err error) {
	t.Helper()
	return func(got T, err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("%s:\ngot  %+v\nwant %+v", what, got, want)
		}
	}
}

// get returns what a call returned, which must succeed.
func get[T any](t *testing.T) func(T, error) T {
	t.Helper()
	return func(got T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
}

// addAccount adds an active account with a user name.
func addAccount(t *testing.T, db *store.DB, sub, username string) {
	t.Helper()
	write(t, db, func(tx *store.Tx) error {
		return tx.CreateAccount(store.Account{Sub: sub, Username: username, UsernameKey: username})
	})
}

// addSession adds a session of an account that lives for a day.
func addSession(t *testing.T, db *store.DB, sid, sub string) {
	t.Helper()
	write(t, db, func(tx *store.Tx) error { return tx.CreateSession(sessionOf(tx, sid, sub)) })
}

func sessionOf(tx *store.Tx, sid, sub string) store.Session {
	return store.Session{
		SID: sid, Sub: sub, ClientID: "first-party", UserAgent: "agent", Address: "192.0.2.1",
		CreatedAt: tx.Now(), LastUsedAt: tx.Now(), ExpiresAt: tx.Now().Add(24 * time.Hour), AuthTime: tx.Now(),
		Rev: tx.Head().Rev,
	}
}

// revoke writes one record that expires in an hour.
func revoke(t *testing.T, db *store.DB, scope events.Scope, id string) events.Revocation {
	t.Helper()
	var record events.Revocation
	write(t, db, func(tx *store.Tx) (err error) {
		record, err = tx.Revoke(scope, id, tx.Now().Add(time.Hour), "test", "u_admin")
		return err
	})
	return record
}

// revs returns the numbers of records.
func revs(records []events.Revocation) []uint64 {
	var numbers []uint64
	for _, r := range records {
		numbers = append(numbers, r.Rev)
	}
	return numbers
}
