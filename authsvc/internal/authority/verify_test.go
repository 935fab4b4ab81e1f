package authority_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authbus/authbus/authsvc/internal/authority"
	"github.com/authbus/authbus/authsvc/internal/store"
	"github.com/authbus/authbus/events"
	"github.com/authbus/authbus/verifier/token"
)

func TestAuthenticateRefuses(t *testing.T) {
	w := newWorld(t, nil)
	w.register("alice")
	good := w.claims(w.login("alice"))
	for name, change := range map[string]func(*token.Claims){
		"a revision above the log's":    func(c *token.Claims) { c.Rev = 1 },
		"an unknown session":            func(c *token.Claims) { c.SessionID = "s_none" },
		"no session":                    func(c *token.Claims) { c.SessionID = "" },
		"an unknown user":               func(c *token.Claims) { c.Subject = "u_none" },
		"another audience":              func(c *token.Claims) { c.Audience = []string{"orders"} },
		"another issuer":                func(c *token.Claims) { c.Issuer = "https://evil.example.com" },
		"a token that is not valid yet": func(c *token.Claims) { c.NotBefore = time.Now().Unix() + 60 },
		"a token from the future":       func(c *token.Claims) { c.IssuedAt += 60; c.ExpiresAt += 60 },
		"an expired token":              func(c *token.Claims) { c.IssuedAt -= 1000; c.ExpiresAt -= 1000 },
	} {
		c := *good
		c.KeyID = ""
		change(&c)
		raw, err := w.keys.SignToken(c)
		w.must(err)
		_, err = w.Authenticate(w.ctx(), raw)
		w.wantCode(err, authority.CodeInvalidToken, name)
	}
	for _, raw := range []string{"", "x", "..", strings.Repeat("A", 20000)} {
		_, err := w.Authenticate(w.ctx(), raw)
		w.wantCode(err, authority.CodeInvalidToken, "garbage")
	}
}

// A key that another replica has just made is looked for, and the database is not
// asked for every made-up one.
func TestATokenOfAKeyThatIsNewHere(t *testing.T) {
	w := newWorld(t, nil)
	admin := w.admin()
	other := &world{t: t, address: w.address, config: w.config}
	other.start()
	w.register("alice")
	_, err := w.KillKey(w.ctx(), admin, admin.KeyID, "leaked")
	w.must(err)
	tokens := w.login("alice")
	if _, err := other.Authenticate(t.Context(), tokens.AccessToken.Reveal()); err != nil {
		t.Errorf("another replica refuses a token of the new key: %v", err)
	}
	other.wantAlive(other.login("alice"), "a token of the other replica")
}

// The replica that has not yet heard of the killed key must not sign with it.
func TestAReplicaDoesNotMintWithAKilledKey(t *testing.T) {
	w := newWorld(t, nil)
	admin := w.admin()
	other := &world{t: t, address: w.address, config: w.config}
	other.start()
	w.register("alice")
	_, err := w.KillKey(w.ctx(), admin, admin.KeyID, "leaked")
	w.must(err)
	w.wantAlive(other.login("alice"), "a token that the other replica minted after the kill")
}

func TestStatus(t *testing.T) {
	w := newWorld(t, nil)
	admin := w.admin()
	w.register("alice")
	ref := w.claims(w.login("alice")).Ref()
	status := func(ref events.TokenRef) events.StatusReply {
		t.Helper()
		reply, err := w.Status(w.ctx(), ref)
		w.must(err)
		return reply
	}
	if got := status(ref); !got.Active || got.Rev != 0 || got.Epoch == "" || len(got.Records) != 0 {
		t.Errorf("a good token: %+v", got)
	}
	for name, change := range map[string]func(*events.TokenRef){
		"expired": func(r *events.TokenRef) { r.Exp -= 1000 }, "ahead": func(r *events.TokenRef) { r.Rev = 1 },
		"of an unknown key": func(r *events.TokenRef) { r.KID = "k_none" }, "of another user": func(r *events.TokenRef) { r.Sub = "u_none" },
		"of an unknown session": func(r *events.TokenRef) { r.SID = "s_none" },
	} {
		changed := ref
		change(&changed)
		if status(changed).Active {
			t.Errorf("a token %s is active", name)
		}
	}
	_, err := w.Revoke(w.ctx(), admin, authority.RevokeRequest{Scope: events.ScopeUser, ID: ref.Sub})
	w.must(err)
	got := status(ref)
	if got.Active || len(got.Records) != 1 || !got.Records[0].Covers(ref) {
		t.Errorf("a revoked token: %+v", got)
	}
	ref = w.claims(w.login("alice")).Ref()
	if got := status(ref); !got.Active || len(got.Records) != 1 {
		t.Errorf("a new login: %+v; want it active, with the record that does not cover it", got)
	}
}

func TestRangePagesThroughTheLog(t *testing.T) {
	w := newWorld(t, nil)
	admin := w.admin()
	fresh, err := w.Fresh(w.ctx())
	if err != nil || fresh.Rev != 0 || fresh.Floor != 1 || fresh.Keys != w.keys.Version() {
		t.Errorf("fresh in an empty log: %+v, %v", fresh, err)
	}
	const total = 25
	for i := range total {
		_, err := w.Revoke(w.ctx(), admin, authority.RevokeRequest{
			Scope: events.ScopeToken, ID: fmt.Sprint("t_", i), Reason: strings.Repeat("r", 256),
		})
		w.must(err)
	}
	fresh, err = w.Fresh(w.ctx())
	if err != nil || fresh.Rev != total || fresh.Floor != 1 {
		t.Errorf("fresh: %+v, %v", fresh, err)
	}
	after, next := uint64(0), uint64(1)
	for pages := 0; ; pages++ {
		reply, err := w.Range(w.ctx(), events.RangeRequest{Epoch: fresh.Epoch, After: after, Limit: 10})
		w.must(err)
		for _, doc := range reply.Records {
			r, err := events.DecodeRevocation(doc)
			if err != nil || r.Rev != next {
				t.Fatalf("record %+v, %v; want revision %d", r, err, next)
			}
			next++
		}
		if reply.After != after || reply.Rev != total {
			t.Errorf("page %+v", reply)
		}
		if after = reply.Through; after == total {
			if pages != 2 {
				t.Errorf("%d pages", pages+1)
			}
			break
		}
	}
	other, err := w.Range(w.ctx(), events.RangeRequest{Epoch: "e_other", After: 20, Limit: 100})
	if err != nil || other.After != 0 || len(other.Records) != total {
		t.Errorf("a request in another epoch starts after %d with %d records, %v", other.After, len(other.Records), err)
	}
}

func TestALongPageFitsInAMessage(t *testing.T) {
	w := newWorld(t, nil)
	const total = 4000
	err := w.db.Write(w.ctx(), func(tx *store.Tx) error {
		for i := range total {
			_, err := tx.Revoke(events.ScopeToken, fmt.Sprint("t_", i), time.Now().Add(time.Hour), strings.Repeat("r", 256), "x")
			if err != nil {
				return err
			}
		}
		return nil
	})
	w.must(err)
	reply, err := w.Range(w.ctx(), events.RangeRequest{Limit: 5000})
	w.must(err)
	doc, err := json.Marshal(reply)
	w.must(err)
	if len(doc) > 600<<10 || reply.Through != uint64(len(reply.Records)) || reply.Through == total {
		t.Errorf("a page of %d bytes, %d records, through %d", len(doc), len(reply.Records), reply.Through)
	}
}

// A record leaves the database only when nothing that it covers can be alive.
func TestRecordsOutliveWhatTheyCover(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, func(c *authority.Config) { c.AccessLifetime = time.Hour })
		w.register("alice")
		tokens := w.login("alice")
		_, err := w.Logout(w.ctx(), w.claims(tokens))
		w.must(err)
		time.Sleep(time.Hour + time.Minute) // the longest lifetime and leeway
		w.must(w.Sweep(w.ctx()))
		if len(w.records()) != 1 {
			t.Fatal("the record is gone while a verifier may still accept the token")
		}
		time.Sleep(6 * time.Minute)
		w.must(w.Sweep(w.ctx()))
		fresh, err := w.Fresh(w.ctx())
		if err != nil || len(w.records()) != 0 || fresh.Floor != 2 {
			t.Errorf("%d records are left, floor %d, %v", len(w.records()), fresh.Floor, err)
		}
	})
}
