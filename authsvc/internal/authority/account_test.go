package authority_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/authbus/authbus/authsvc/internal/authority"
	"github.com/authbus/authbus/authsvc/internal/password"
	"github.com/authbus/authbus/events"
)

func TestRegisterNamesEveryViolation(t *testing.T) {
	w := newWorld(t, nil)
	tests := []struct {
		name                 string
		username, mail, pass string
		want                 []string // field:code
	}{
		{"everything empty", "", "", "", []string{"username:invalid", "email:invalid", "password:too_short"}},
		{"a short password", "bob", "bob@example.com", "fourteen-chars", []string{"password:too_short"}},
		{"a common password", "bob", "bob@example.com", "passwordpassword", []string{"password:too_common"}},
		{"a password with the user name", "robert", "bob@example.com", "xk-robert-quorum-ibex", []string{"password:contains_username"}},
		{"a user name that is an address", "bob@example.com", "bob@example.com", goodPassword, []string{"username:invalid"}},
		{"a user name that cannot be seen", "bob\u200b", "bob@example.com", goodPassword, []string{"username:invalid"}},
		{"a user name too long", strings.Repeat("b", 65), "bob@example.com", goodPassword, []string{"username:too_long"}},
		{"an address with a name", "bob", "Bob <bob@example.com>", goodPassword, []string{"email:invalid"}},
		{"two addresses", "bob", "a@example.com,b@example.com", goodPassword, []string{"email:invalid"}},
		{"an address without a domain", "bob", "bob@", goodPassword, []string{"email:invalid"}},
		{"an address too long", "bob", strings.Repeat("b", 250) + "@example.com", goodPassword, []string{"email:invalid"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := w.Register(w.ctx(), authority.Registration{
				Username: test.username, Email: test.mail, Password: authority.Secret(test.pass),
			}, authority.Meta{})
			var refused *authority.Error
			if !errors.As(err, &refused) || refused.Code != authority.CodeInvalidInput {
				t.Fatalf("%v, want invalid_input", err)
			}
			var got []string
			for _, v := range refused.Violations {
				got = append(got, v.Field+":"+v.Code)
				if v.Message == "" {
					t.Errorf("%s has no message", v.Field)
				}
			}
			if !slices.Equal(got, test.want) {
				t.Errorf("violations %v, want %v", got, test.want)
			}
		})
	}
	if n := len(w.outbox()); n != 2 { // key.published, key.activated
		t.Errorf("refused registrations left %d events", n-2)
	}
}

func TestRegisterTwice(t *testing.T) {
	w := newWorld(t, nil)
	first := w.register("Ålice")
	for name, r := range map[string]authority.Registration{
		"the same user name":        {Username: "Ålice", Email: "x@example.com", Password: goodPassword},
		"the name in another case":  {Username: "åLICE", Email: "x@example.com", Password: goodPassword},
		"the name decomposed":       {Username: "A\u030alice", Email: "x@example.com", Password: goodPassword},
		"the address":               {Username: "other", Email: "ÅLICE@EXAMPLE.COM", Password: goodPassword},
		"the name and the password": {Username: "ålice", Email: "ålice@example.com", Password: goodPassword},
	} {
		_, err := w.Register(w.ctx(), r, authority.Meta{})
		w.wantCode(err, authority.CodeAccountExists, name)
	}
	// Composed and decomposed, in any case: one account.
	for _, login := range []string{"A\u030aLICE", "ålice@Example.Com"} {
		if tokens := w.login(login); tokens.Sub != first.Sub {
			t.Errorf("%q logs in as %s", login, tokens.Sub)
		}
	}
}

func TestASubIsNeverReused(t *testing.T) {
	w := newWorld(t, nil)
	first := w.register("alice")
	_, err := w.DeleteAccount(w.ctx(), w.claims(w.login("alice")), goodPassword, authority.Meta{})
	w.must(err)
	second := w.register("alice")
	if first.Sub == second.Sub {
		t.Error("a deleted account's sub was given out again")
	}
	if tokens := w.login("alice"); tokens.Sub != second.Sub {
		t.Error("the login names the deleted account")
	}
}

func TestPasswordsThatDifferLate(t *testing.T) {
	w := newWorld(t, nil)
	long := goodPassword + strings.Repeat("x", 72)
	_, err := w.Register(w.ctx(), authority.Registration{
		Username: "alice", Email: "alice@example.com", Password: authority.Secret(long + "1\x00A"),
	}, authority.Meta{})
	w.must(err)
	for _, wrong := range []string{long + "1\x00B", long + "2\x00A", long + "1", long + "1\x00A "} {
		if _, err := w.tryLogin("alice", wrong, ""); err == nil {
			t.Errorf("a password that differs in its end logs in")
		}
	}
	if _, err := w.tryLogin("alice", long+"1\x00A", ""); err != nil {
		t.Errorf("the right password: %v", err)
	}
}

func TestKeepCurrent(t *testing.T) {
	w := newWorld(t, nil)
	w.register("alice")
	kept, other := w.login("alice"), w.login("alice")
	_, fresh, err := w.EndAll(w.ctx(), w.claims(kept), true)
	w.must(err)
	w.wantDead(other, "the other session")
	w.wantAlive(fresh, "the kept session")
	if fresh.RefreshToken != "" || fresh.SID != kept.SID {
		t.Errorf("tokens %+v", fresh)
	}
	w.wantAlive(w.refresh(kept.RefreshToken), "refreshing the kept session")
	live, err := w.Sessions(w.ctx(), w.claims(fresh))
	w.must(err)
	if len(live) != 1 || live[0].SID != kept.SID || !live[0].Current {
		t.Errorf("sessions %+v", live)
	}
	if e := eventsOf[events.UserRevoked](w); len(e) != 1 || e[0].KeptSID != kept.SID || e[0].Actor != kept.Sub {
		t.Errorf("events user.revoked %+v", e)
	}
}

func TestNobodyEndsAnothersSession(t *testing.T) {
	w := newWorld(t, nil)
	w.register("alice")
	w.register("bob")
	alice, bob := w.login("alice"), w.login("bob")
	for _, sid := range []string{alice.SID, "s_none", "", "a b", "x\x00y", strings.Repeat("s", 65)} {
		_, err := w.EndSession(w.ctx(), w.claims(bob), sid)
		w.wantCode(err, authority.CodeNotFound, sid)
	}
	w.wantAlive(alice, "alice's session")
	if len(w.records()) != 0 {
		t.Error("a refused request left a record")
	}
}

func TestNewNamesTheFieldThatIsWrong(t *testing.T) {
	w := newWorld(t, nil)
	for name, change := range map[string]func(*authority.Config){
		"Issuer":             func(c *authority.Config) { c.Issuer = "auth.example.com" },
		"Audiences":          func(c *authority.Config) { c.Audiences = []string{"orders", "orders"} },
		"AccessLifetime":     func(c *authority.Config) { c.AccessLifetime = time.Hour + time.Second },
		"RefreshGrace":       func(c *authority.Config) { c.RefreshGrace = time.Hour },
		"SessionIdle":        func(c *authority.Config) { c.SessionIdle = 100 * 24 * time.Hour },
		"SessionAbsolute":    func(c *authority.Config) { c.SessionAbsolute = -1 },
		"MaxSessionsPerUser": func(c *authority.Config) { c.MaxSessionsPerUser = -1 },
		"AdminMaxAge":        func(c *authority.Config) { c.AdminMaxAge = -1 },
		"Issuer: \"https://auth.example.com/\" has a slash at its end": func(c *authority.Config) { c.Issuer = "https://auth.example.com/" },
	} {
		config := authority.Config{Issuer: issuer}
		change(&config)
		_, err := authority.New(config, w.db, w.keys, nil, nil)
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("a wrong %s: %v, want an error that names it", name, err)
		}
	}
}

// delivering is a feed that always reaches the stream.
type delivering struct {
	mu  sync.Mutex
	got []events.Revocation
}

func (d *delivering) Deliver(ctx context.Context, r events.Revocation) authority.Delivery {
	d.mu.Lock()
	defer d.mu.Unlock()
	if ctx.Err() == nil {
		d.got = append(d.got, r)
	}
	return authority.Delivered
}

func TestARecordIsDeliveredOnceItIsCommitted(t *testing.T) {
	w := newWorld(t, nil)
	feed := &delivering{}
	var err error
	w.Authority, err = authority.New(w.config, w.db, w.keys, w.hasher(password.HasherConfig{}), feed)
	w.must(err)
	w.register("alice")
	claims := w.claims(w.login("alice"))
	ack, err := w.Logout(w.ctx(), claims)
	w.must(err)
	if ack.Delivery != authority.Delivered || len(feed.got) != 1 || feed.got[0].Rev != ack.Rev {
		t.Errorf("ack %+v, feed %+v", ack, feed.got)
	}
	if head, err := w.db.Reader(w.ctx()).ReadIndex(); err != nil || head.Rev != ack.Rev || head.Epoch != ack.Epoch {
		t.Errorf("head %+v, %v", head, err)
	}
}
