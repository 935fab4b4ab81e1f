package authority_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/authbus/authbus/authsvc/internal/authority"
	"github.com/authbus/authbus/authsvc/internal/store/storetest"
)

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
