package authority_test

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authbus/authbus/authsvc/internal/authority"
	"github.com/authbus/authbus/events"
)

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
