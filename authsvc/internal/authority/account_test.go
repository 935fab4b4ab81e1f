package authority_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authbus/authbus/authsvc/internal/authority"
	"github.com/authbus/authbus/authsvc/internal/password"
	"github.com/authbus/authbus/authsvc/internal/store/storetest"
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

// P4: whoever logs in at once after "log out everywhere" gets a token that works,
// and of the logins that race with it each is either dead or alive as a whole.
func TestLoginsRaceWithLogoutEverywhere(t *testing.T) {
	t.Run("SQLite", func(t *testing.T) { raceLogins(t, newWorld(t, nil)) })
	t.Run("PostgreSQL", func(t *testing.T) { raceLogins(t, newWorldAt(t, storetest.Postgres(t), nil)) })
}

func raceLogins(t *testing.T, w *world) {
	w.register("alice")
	claims := w.claims(w.login("alice"))
	got := make([]*authority.Tokens, 40)
	var ack authority.Ack
	var wg sync.WaitGroup
	for i := range got {
		wg.Go(func() { got[i] = w.login("alice") })
		if i == len(got)/2 {
			wg.Go(func() {
				var err error
				if ack, _, err = w.EndAll(context.WithoutCancel(t.Context()), claims, false); err != nil {
					t.Error(err)
				}
			})
		}
	}
	wg.Wait()
	for _, tokens := range got {
		_, authErr := w.Authenticate(w.ctx(), tokens.AccessToken.Reveal())
		_, refreshErr := w.tryRefresh(tokens.RefreshToken)
		rev := tokenRev(t, tokens)
		if (authErr == nil) != (rev >= ack.Rev) || (refreshErr == nil) != (rev >= ack.Rev) {
			t.Errorf("a token of revision %d, revocation %d: access %v, refresh %v", rev, ack.Rev, authErr, refreshErr)
		}
	}
	w.wantAlive(w.login("alice"), "a login after logging out everywhere")
}

// tokenRev reads the rev claim as a verifier would.
func tokenRev(t *testing.T, tokens *authority.Tokens) uint64 {
	t.Helper()
	var claims struct {
		Rev uint64 `json:"rev"`
	}
	if err := json.Unmarshal(payload(t, tokens), &claims); err != nil {
		t.Fatal(err)
	}
	return claims.Rev
}

func payload(t *testing.T, tokens *authority.Tokens) []byte {
	t.Helper()
	raw, err := base64.RawURLEncoding.DecodeString(strings.Split(tokens.AccessToken.Reveal(), ".")[1])
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func TestClaimsHoldNothingPersonal(t *testing.T) {
	w := newWorld(t, nil)
	w.register("alice")
	var claims map[string]any
	raw := payload(t, w.login("alice"))
	w.must(json.Unmarshal(raw, &claims))
	var names []string
	for name := range claims {
		names = append(names, name)
	}
	slices.Sort(names)
	if got := strings.Join(names, " "); got != "aud auth_time client_id exp iat iss jti rev sid sub" {
		t.Errorf("claims are %s", got)
	}
	if bytes.Contains(bytes.ToLower(raw), []byte("alice")) {
		t.Error("the token holds the user's name")
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

// Of changes of the password that run at once with the same old one, one counts.
func TestPasswordChangesRace(t *testing.T) {
	w := newWorld(t, nil)
	w.register("alice")
	c := w.claims(w.login("alice"))
	done := make([]bool, 8)
	var wg sync.WaitGroup
	for i := range done {
		wg.Go(func() {
			_, _, err := w.ChangePassword(w.ctx(), c, authority.PasswordChange{
				Current: goodPassword, New: authority.Secret(fmt.Sprintf("%s-%d", newPassword, i)),
			}, authority.Meta{Address: home})
			if done[i] = err == nil; !done[i] && !strings.Contains(err.Error(), "wrong_password") &&
				!strings.Contains(err.Error(), "throttled") {
				t.Errorf("change %d: %v", i, err)
			}
		})
	}
	wg.Wait()
	winner := slices.Index(done, true)
	if winner < 0 || slices.Contains(done[winner+1:], true) {
		t.Fatalf("changes that succeeded: %v, want one", done)
	}
	if _, err := w.tryLogin("alice", fmt.Sprintf("%s-%d", newPassword, winner), "192.0.2.77"); err != nil {
		t.Errorf("logging in with the password whose change was acknowledged: %v", err)
	}
}

// A login that verified the old password may not begin a session after the change.
func TestLoginsRaceWithAPasswordChange(t *testing.T) {
	w := newWorld(t, nil)
	w.register("alice")
	c := w.claims(w.login("alice"))
	got := make([]*authority.Tokens, 60)
	var ack authority.Ack
	var wg sync.WaitGroup
	for i := range got {
		wg.Go(func() { got[i], _ = w.tryLogin("alice", goodPassword, fmt.Sprintf("10.4.0.%d", i)) })
		if i == len(got)/2 {
			wg.Go(func() {
				var err error
				ack, _, err = w.ChangePassword(context.WithoutCancel(t.Context()), c,
					authority.PasswordChange{Current: goodPassword, New: newPassword}, authority.Meta{Address: home})
				if err != nil {
					t.Error(err)
				}
			})
		}
	}
	wg.Wait()
	for _, tokens := range got {
		if tokens != nil && tokenRev(t, tokens) >= ack.Rev {
			t.Errorf("the old password began a session at revision %d, after the change at %d", tokenRev(t, tokens), ack.Rev)
		}
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

func TestNoSecretIsInTheDatabaseOrTheLog(t *testing.T) {
	var log bytes.Buffer
	w := newWorld(t, func(c *authority.Config) { c.Logger = slog.New(slog.NewJSONHandler(&log, nil)) })
	bootstrap, err := w.NewBootstrapSecret(w.ctx())
	w.must(err)
	_, err = w.BootstrapAdmin(w.ctx(), bootstrap, authority.Registration{
		Username: "root", Email: "root@example.com", Password: goodPassword,
	}, authority.Meta{})
	w.must(err)
	admin := w.login("root")
	_, service, err := w.AddService(w.ctx(), w.claims(admin), "orders")
	w.must(err)
	w.register("alice")
	first := w.login("alice")
	second := w.refresh(first.RefreshToken)
	_, err = w.Logout(w.ctx(), w.claims(second))
	w.must(err)
	_, err = w.tryLogin("alice", badPassword, home)
	w.wantCode(err, authority.CodeInvalidCredentials, "a wrong password")
	_, err = w.tryLogin(badPassword, badPassword, home) // typed into the wrong field
	w.wantCode(err, authority.CodeInvalidCredentials, "a password for a name")

	dump := w.dump()
	for name, secret := range map[string]authority.Secret{
		"bootstrap secret": bootstrap, "service secret": service, "access token": second.AccessToken,
		"rotated refresh token": first.RefreshToken, "refresh token": second.RefreshToken,
		"password": goodPassword, "wrong password": badPassword,
	} {
		if strings.Contains(dump, secret.Reveal()) || strings.Contains(dump, secret.Reveal()[2:]) {
			t.Errorf("the database holds the %s", name)
		}
		if strings.Contains(log.String(), secret.Reveal()) {
			t.Errorf("the log holds the %s", name)
		}
	}
	if strings.Contains(log.String(), "eyJ") || strings.Contains(log.String(), "alice@") {
		t.Errorf("the log holds a token or an address:\n%s", log.String())
	}
	if got := fmt.Sprintf("%v %+v %#v", *second, *second, *second); strings.Contains(got, "eyJ") || strings.Contains(got, "r_") {
		t.Error("tokens print their secrets")
	}
}

// dump returns every value of every table.
func (w *world) dump() string {
	w.t.Helper()
	db := w.raw()
	var names []string
	rows, err := db.Query("SELECT name FROM sqlite_master WHERE type = 'table'")
	w.must(err)
	for rows.Next() {
		var name string
		w.must(rows.Scan(&name))
		names = append(names, name)
	}
	w.must(rows.Err())
	var out strings.Builder
	for _, name := range names {
		rows, err := db.Query("SELECT * FROM " + name)
		w.must(err)
		columns, err := rows.Columns()
		w.must(err)
		for rows.Next() {
			values, into := make([]any, len(columns)), make([]any, len(columns))
			for i := range values {
				into[i] = &values[i]
			}
			w.must(rows.Scan(into...))
			for _, v := range values {
				if b, ok := v.([]byte); ok {
					v = string(b)
				}
				fmt.Fprintf(&out, "%v|", v)
			}
		}
		w.must(rows.Err())
	}
	if !strings.Contains(out.String(), "alice") {
		w.t.Fatal("the dump is not one")
	}
	return out.String()
}

func TestBootstrap(t *testing.T) {
	root := authority.Registration{Username: "root", Email: "root@example.com", Password: goodPassword}
	t.Run("works once, however many try", func(t *testing.T) {
		w := newWorld(t, nil)
		secret, err := w.NewBootstrapSecret(w.ctx())
		w.must(err)
		var wg sync.WaitGroup
		errs := make([]error, 20)
		for i := range errs {
			wg.Go(func() {
				r := root
				r.Username, r.Email = fmt.Sprintf("root%d", i), fmt.Sprintf("root%d@example.com", i)
				_, errs[i] = w.BootstrapAdmin(w.ctx(), secret, r, authority.Meta{})
			})
		}
		wg.Wait()
		made := 0
		for _, err := range errs {
			if err == nil {
				made++
				continue
			}
			w.wantCode(err, authority.CodeInvalidBootstrapSecret, "a second use")
		}
		if made != 1 || len(eventsOf[events.AccountRegistered](w)) != 1 {
			t.Errorf("%d admins were made", made)
		}
		_, err = w.NewBootstrapSecret(w.ctx())
		w.wantCode(err, authority.CodeAdminExists, "another secret")
	})
	t.Run("a refused registration does not use it up", func(t *testing.T) {
		w := newWorld(t, nil)
		w.register("root")
		secret, err := w.NewBootstrapSecret(w.ctx())
		w.must(err)
		_, err = w.BootstrapAdmin(w.ctx(), secret, root, authority.Meta{})
		w.wantCode(err, authority.CodeAccountExists, "a name that is taken")
		_, err = w.BootstrapAdmin(w.ctx(), secret, authority.Registration{}, authority.Meta{})
		w.wantCode(err, authority.CodeInvalidInput, "an empty registration")
		_, err = w.BootstrapAdmin(w.ctx(), secret, authority.Registration{
			Username: "chief", Email: "chief@example.com", Password: goodPassword,
		}, authority.Meta{})
		w.must(err)
	})
	t.Run("is good for a day, and replaced by the next", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, nil)
			_, err := w.BootstrapAdmin(w.ctx(), "b_made_up", root, authority.Meta{})
			w.wantCode(err, authority.CodeInvalidBootstrapSecret, "before there is a secret")
			first, err := w.NewBootstrapSecret(w.ctx())
			w.must(err)
			second, err := w.NewBootstrapSecret(w.ctx())
			w.must(err)
			_, err = w.BootstrapAdmin(w.ctx(), first, root, authority.Meta{})
			w.wantCode(err, authority.CodeInvalidBootstrapSecret, "a replaced secret")
			time.Sleep(24*time.Hour + time.Second)
			_, err = w.BootstrapAdmin(w.ctx(), second, root, authority.Meta{})
			w.wantCode(err, authority.CodeInvalidBootstrapSecret, "an old secret")
			third, err := w.NewBootstrapSecret(w.ctx())
			w.must(err)
			account, err := w.BootstrapAdmin(w.ctx(), third, root, authority.Meta{})
			w.must(err)
			if !slices.Equal(account.Roles, []string{"admin"}) {
				t.Errorf("roles are %v", account.Roles)
			}
		})
	})
}

func TestIDsAreUnique(t *testing.T) {
	w := newWorld(t, nil)
	w.register("alice")
	seen := map[string]bool{}
	tokens := w.login("alice")
	for range 200 {
		tokens = w.refresh(tokens.RefreshToken)
		id := w.claims(tokens).ID
		if seen[id] || len(id) != len("t_")+26 {
			t.Fatalf("jti %q", id)
		}
		seen[id] = true
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
