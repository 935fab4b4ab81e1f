package authority_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authbus/authbus/authsvc/internal/authority"
	"github.com/authbus/authbus/authsvc/internal/password"
	"github.com/authbus/authbus/events"
)

// causes returns the causes of the failed logins so far.
func causes(w *world) []string {
	var got []string
	for _, e := range eventsOf[events.LoginFailed](w) {
		got = append(got, e.Cause)
	}
	return got
}

func TestFailedLoginsLookAlike(t *testing.T) {
	w := newWorld(t, nil)
	admin := w.admin()
	w.register("alice")
	disabled := w.register("carol")
	deleted := w.register("dave")
	_, err := w.Disable(w.ctx(), admin, disabled.Sub, "")
	w.must(err)
	_, err = w.DeleteAccount(w.ctx(), w.claims(w.login("dave")), goodPassword, authority.Meta{})
	w.must(err)
	before := len(causes(w))

	tries := []struct{ login, plain, cause string }{
		{"alice", badPassword, "wrong_password"},
		{"nobody", goodPassword, "unknown_account"},
		{"carol", goodPassword, "disabled"},
		{"carol", badPassword, "wrong_password"},
		{"dave", goodPassword, "unknown_account"},
		{"\x00 not a name", goodPassword, "unknown_account"},
		{"", goodPassword, "unknown_account"},
	}
	var first error
	for i, try := range tries {
		_, err := w.tryLogin(try.login, try.plain, fmt.Sprintf("203.0.113.%d", i))
		w.wantCode(err, authority.CodeInvalidCredentials, try.login)
		if first == nil {
			first = err
		}
		if err.Error() != first.Error() {
			t.Errorf("%q gets %q, others get %q", try.login, err, first)
		}
		if got := causes(w)[before:]; len(got) != i+1 || got[i] != try.cause {
			t.Errorf("%q: causes %v, the last should be %s", try.login, got, try.cause)
		}
	}
	for _, e := range eventsOf[events.LoginFailed](w) {
		if e.Sub == deleted.Sub {
			t.Error("a failed login names a deleted account")
		}
	}
}

func TestBackOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		w.register("alice")
		n := 0
		fail := func() { // from ever new addresses
			n++
			_, err := w.tryLogin("alice", badPassword, fmt.Sprintf("10.0.%d.%d", n/250, n%250))
			w.wantCode(err, authority.CodeInvalidCredentials, "a wrong password")
		}
		for range 5 {
			fail()
		}
		// From the fifth failure on even the right password waits, and nobody is told.
		_, err := w.tryLogin("alice", goodPassword, elsewhere)
		w.wantCode(err, authority.CodeInvalidCredentials, "the right password within the pause")
		wait := time.Second
		for i := range 12 {
			time.Sleep(wait - time.Millisecond)
			fail()
			if got := causes(w); got[len(got)-1] != "throttled" {
				t.Fatalf("pause %d was shorter than %v", i, wait)
			}
			time.Sleep(time.Millisecond)
			fail()
			if got := causes(w); got[len(got)-1] != "wrong_password" {
				t.Fatalf("pause %d was longer than %v", i, wait)
			}
			wait = min(2*wait, 15*time.Minute)
		}
		time.Sleep(15 * time.Minute)
		if _, err := w.tryLogin("alice", goodPassword, elsewhere); err != nil {
			t.Fatalf("the owner is locked out after the longest pause: %v", err)
		}
		for range 4 {
			fail()
		}
		if _, err := w.tryLogin("alice", goodPassword, "10.9.9.9"); err != nil {
			t.Errorf("a success did not clear the count: %v", err)
		}
	})
}

func TestAnAttackDoesNotLockTheOwnerOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		w.register("alice")
		w.login("alice") // home is known from now on
		for i := range 300 {
			_, err := w.tryLogin("alice", badPassword, fmt.Sprintf("10.1.%d.%d", i/250, i%250))
			w.wantCode(err, authority.CodeInvalidCredentials, "the attack")
			time.Sleep(time.Second)
		}
		w.login("alice")
		// Not even from the owner's own network, as long as the account is another.
		w.register("mallory")
		for range 30 {
			_, _ = w.tryLogin("mallory", badPassword, home)
		}
		w.login("alice")
	})
}

func TestAliasesShareOneCount(t *testing.T) {
	w := newWorld(t, nil)
	w.register("alice")
	for i, login := range []string{"alice", "ALICE", "Alice@Example.com", "ａlice", "alice@example.com"} {
		_, err := w.tryLogin(login, badPassword, fmt.Sprintf("10.2.0.%d", i))
		w.wantCode(err, authority.CodeInvalidCredentials, login)
	}
	_, _ = w.tryLogin("alice", goodPassword, "10.2.0.9")
	if got := causes(w); got[len(got)-1] != "throttled" {
		t.Errorf("causes %v: five failures under five names of one account should block it", got)
	}
}

func TestAnAddressIsThrottled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		w.register("alice")
		for i := range 5 {
			_, err := w.tryLogin(fmt.Sprintf("user%d", i), badPassword, "2001:db8::"+fmt.Sprint(i+1))
			w.wantCode(err, authority.CodeInvalidCredentials, "a failure")
		}
		_, err := w.tryLogin("alice", goodPassword, "2001:db8::ffff")
		w.wantCode(err, authority.CodeThrottled, "another address of the same /64")
		var refused *authority.Error
		if errors.As(err, &refused) && refused.RetryAfter != time.Second {
			t.Errorf("Retry-After is %v, want 1 s", refused.RetryAfter)
		}
		if _, err := w.tryLogin("alice", goodPassword, "2001:db8:0:1::1"); err != nil {
			t.Errorf("another network is throttled too: %v", err)
		}
		time.Sleep(time.Second)
		if _, err := w.tryLogin("alice", goodPassword, "2001:db8::ffff"); err != nil {
			t.Errorf("the pause did not end: %v", err)
		}
	})
}

// However many guesses run at once, those that count come one after the other.
func TestParallelGuessesGainNothing(t *testing.T) {
	w := newWorld(t, nil)
	w.register("alice")
	var wg sync.WaitGroup
	for i := range 60 {
		wg.Go(func() { _, _ = w.tryLogin("alice", badPassword, fmt.Sprintf("10.3.0.%d", i)) })
	}
	wg.Wait()
	counted := 0
	for _, cause := range causes(w) {
		if cause == "wrong_password" {
			counted++
		}
	}
	if counted > 7 { // five free ones, and what the pauses of 1 s and 2 s let through on a slow machine
		t.Errorf("%d of 60 guesses at once were judged by their password", counted)
	}
}

func TestCurrentPasswordSharesTheCount(t *testing.T) {
	w := newWorld(t, nil)
	w.register("alice")
	c := w.claims(w.login("alice"))
	meta := authority.Meta{Address: home}
	change := authority.PasswordChange{Current: badPassword, New: newPassword}
	for range 3 {
		_, _, err := w.ChangePassword(w.ctx(), c, change, meta)
		w.wantCode(err, authority.CodeWrongPassword, "changing the password")
	}
	_, err := w.DeleteAccount(w.ctx(), c, badPassword, meta)
	w.wantCode(err, authority.CodeWrongPassword, "deleting the account")
	_, err = w.tryLogin("alice", badPassword, home)
	w.wantCode(err, authority.CodeInvalidCredentials, "logging in")
	change.Current = goodPassword
	_, _, err = w.ChangePassword(w.ctx(), c, change, meta)
	w.wantCode(err, authority.CodeThrottled, "the sixth try")
}

func TestRehashWhenParametersRise(t *testing.T) {
	w := newWorld(t, nil)
	account := w.register("alice")
	before, err := w.db.Reader(w.ctx()).Account(account.Sub)
	w.must(err)
	stronger, err := authority.New(w.config, w.db, w.keys, w.hasher(password.HasherConfig{MemoryKiB: 128, Passes: 2}), nil)
	w.must(err)
	w.Authority = stronger
	var wg sync.WaitGroup
	for range 8 { // at once: each finds the hash too weak, and one replaces it first
		wg.Go(func() { w.login("alice") })
	}
	wg.Wait()
	after, err := w.db.Reader(w.ctx()).Account(account.Sub)
	w.must(err)
	if !strings.Contains(before.PasswordHash, "m=64,t=1") || !strings.Contains(after.PasswordHash, "m=128,t=2") {
		t.Errorf("hash before %.40s, after %.40s", before.PasswordHash, after.PasswordHash)
	}
	w.login("alice")
}

func TestBusyIsARefusal(t *testing.T) {
	w := newWorld(t, nil)
	w.register("alice")
	var err error
	w.Authority, err = authority.New(w.config, w.db, w.keys,
		w.hasher(password.HasherConfig{MemoryKiB: 64 << 10, Passes: 3, Concurrent: 1, Waiting: 1}), nil)
	w.must(err)
	errs := make([]error, 20)
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() { _, errs[i] = w.tryLogin("nobody", goodPassword, "") })
	}
	wg.Wait()
	for _, err := range errs {
		var refused *authority.Error
		if errors.As(err, &refused) && refused.Code == authority.CodeBusy && refused.RetryAfter > 0 {
			return
		}
	}
	t.Errorf("twenty logins at once, and none was told that the service is busy: %v", errs)
}

func TestClientIDs(t *testing.T) {
	w := newWorld(t, nil)
	sub := w.register("alice").Sub
	for _, id := range []string{sub, "Mobile", "-x", "a b", strings.Repeat("a", 65), "é", "authbus_x"} {
		_, err := w.Login(w.ctx(), authority.Credentials{Login: "alice", Password: goodPassword, ClientID: id}, authority.Meta{})
		w.wantCode(err, authority.CodeInvalidInput, id)
	}
	tokens, err := w.Login(w.ctx(), authority.Credentials{Login: "alice", Password: goodPassword, ClientID: "mobile-2"}, authority.Meta{})
	w.must(err)
	if c := w.claims(tokens); c.ClientID != "mobile-2" {
		t.Errorf("client_id is %q", c.ClientID)
	}
}

func TestWhatClientsSayOfThemselvesIsMadeHarmless(t *testing.T) {
	w := newWorld(t, nil)
	w.register("alice")
	tokens, err := w.Login(w.ctx(), authority.Credentials{Login: "alice", Password: goodPassword}, authority.Meta{
		Address: "not an address\r\n", UserAgent: "evil\x00\x1b[31m\r\nX-Admin: 1\xff" + strings.Repeat("ü", 300),
	})
	w.must(err)
	sessions, err := w.Sessions(w.ctx(), w.claims(tokens))
	w.must(err)
	got := sessions[0].UserAgent
	if sessions[0].Address != "" || len(got) > 256 || !strings.HasPrefix(got, "evil[31mX-Admin: 1ü") || !sessions[0].Current {
		t.Errorf("session %+v", sessions[0])
	}
	w.outbox() // validates the events
}
