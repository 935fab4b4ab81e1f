package authority_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/authbus/authbus/authsvc/internal/authority"
)

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
	_, service, err := w.AddService(w.ctx(), w.claims(admin), "orders", nil)
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
