package storetest

import (
	"errors"
	"fmt"
	"testing"

	"github.com/authbus/authbus/authsvc/internal/store"
)

func testAccountRoundTrip(t *testing.T, db *store.DB) {
	account := store.Account{ //nolint:gosec // not a password, only the look of a hash
		Sub: "u_a", Username: "Alice", UsernameKey: "alice", Email: "Alice@Example.org", EmailKey: "alice@example.org",
		PasswordHash: "$argon2id$…", Roles: []string{"admin", "auditor"},
	}
	write(t, db, func(tx *store.Tx) error {
		account.CreatedAt, account.UpdatedAt, account.Status = tx.Now(), tx.Now(), store.AccountActive
		return tx.CreateAccount(account)
	})
	r := db.Reader(t.Context())
	expect(t, "by sub", account)(r.Account("u_a"))
	expect(t, "by user name", account)(r.AccountByLogin("alice"))
	expect(t, "by e-mail", account)(r.AccountByLogin("alice@example.org"))
	if !account.HasRole("admin") || account.HasRole("adm") {
		t.Error("roles are compared wrongly")
	}
	for _, key := range []string{"", "Alice", "bob", "alice@example"} {
		if _, err := r.AccountByLogin(key); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("login %q: %v", key, err)
		}
	}
	if _, err := r.Account("u_b"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("unknown sub: %v", err)
	}
}

func testNames(t *testing.T, db *store.DB) {
	create := func(sub, username, email string) error {
		return db.Write(t.Context(), func(tx *store.Tx) error {
			return tx.CreateAccount(store.Account{
				Sub: sub, Username: username, UsernameKey: username, Email: email, EmailKey: email,
			})
		})
	}
	if err := errors.Join(create("u_a", "alice", "alice@example.org"), create("u_b", "bob", ""), create("u_c", "carol", "")); err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct{ username, email, field string }{
		"the user name":                     {"alice", "new@example.org", "username"},
		"the e-mail address":                {"dora", "alice@example.org", "email"},
		"an address as a user name":         {"alice@example.org", "", "username"},
		"a user name as an e-mail address":  {"dora", "bob", "email"},
		"both, of which the first is named": {"alice", "alice@example.org", "username"},
	}
	for name, test := range tests {
		var taken *store.NameTakenError
		if err := create("u_d", test.username, test.email); !errors.As(err, &taken) || taken.Field != test.field {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := create("u_a", "dora", ""); err == nil {
		t.Error("a sub was used twice")
	}
}

func testAccountChanges(t *testing.T, db *store.DB) {
	addAccount(t, db, "u_a", "alice")
	before := get[store.Account](t)(db.Reader(t.Context()).Account("u_a"))
	write(t, db, func(tx *store.Tx) error {
		before.UpdatedAt = tx.Now()
		return errors.Join(tx.SetPasswordHash("u_a", "hash"), tx.SetAccountStatus("u_a", store.AccountDisabled),
			tx.SetRoles("u_a", []string{"admin"}))
	})
	before.PasswordHash, before.Status, before.Roles = "hash", store.AccountDisabled, []string{"admin"}
	expect(t, "changed account", before)(db.Reader(t.Context()).Account("u_a"))
	for name, change := range map[string]func(tx *store.Tx) error{
		"password": func(tx *store.Tx) error { return tx.SetPasswordHash("u_x", "h") },
		"status":   func(tx *store.Tx) error { return tx.SetAccountStatus("u_x", store.AccountActive) },
		"roles":    func(tx *store.Tx) error { return tx.SetRoles("u_x", nil) },
		"deletion": func(tx *store.Tx) error { return tx.DeleteAccount("u_x") },
	} {
		if err := db.Write(t.Context(), change); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("%s of an unknown account: %v", name, err)
		}
	}
	if err := db.Write(t.Context(), func(tx *store.Tx) error { return tx.SetAccountStatus("u_a", "frozen") }); err == nil {
		t.Error("an unknown status was accepted")
	}
}

func testDeletedAccount(t *testing.T, db *store.DB) {
	write(t, db, func(tx *store.Tx) error {
		return tx.CreateAccount(store.Account{
			Sub: "u_a", Username: "Alice", UsernameKey: "alice", Email: "a@example.org", EmailKey: "a@example.org",
			PasswordHash: "hash", Roles: []string{"admin"},
		})
	})
	write(t, db, func(tx *store.Tx) error { return tx.DeleteAccount("u_a") })
	account := get[store.Account](t)(db.Reader(t.Context()).Account("u_a"))
	if account.Username+account.UsernameKey+account.Email+account.EmailKey+account.PasswordHash != "" ||
		len(account.Roles) != 0 || account.Status != store.AccountDeleted {
		t.Errorf("what is left of it: %+v", account)
	}
	for name, change := range map[string]func(tx *store.Tx) error{
		"enabling": func(tx *store.Tx) error { return tx.SetAccountStatus("u_a", store.AccountActive) },
		"deleting": func(tx *store.Tx) error { return tx.DeleteAccount("u_a") },
	} {
		if err := db.Write(t.Context(), change); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("%s a deleted account: %v", name, err)
		}
	}
	addAccount(t, db, "u_b", "alice") // the name is free
	addAccount(t, db, "u_c", "a@example.org")
	if err := db.Write(t.Context(), func(tx *store.Tx) error {
		return tx.CreateAccount(store.Account{Sub: "u_a", Username: "x", UsernameKey: "x"})
	}); err == nil {
		t.Error("the sub of a deleted account was used again")
	}
}

func testAccountPages(t *testing.T, db *store.DB) {
	// Twenty-five of the same millisecond: the order must not rest on time alone.
	write(t, db, func(tx *store.Tx) error {
		for n := range 25 {
			name := fmt.Sprintf("user_%02d", n)
			account := store.Account{Sub: "u_" + name, Username: name, UsernameKey: name, EmailKey: fmt.Sprintf("%02d%%@x", n)}
			if n%5 == 0 {
				account.Status = store.AccountDisabled
			}
			if err := tx.CreateAccount(account); err != nil {
				return err
			}
		}
		return nil
	})
	r := db.Reader(t.Context())
	seen := map[string]bool{}
	filter := store.AccountFilter{Limit: 10}
	for range 3 {
		page := get[[]store.Account](t)(r.Accounts(filter))
		for _, account := range page {
			seen[account.Sub] = true
		}
		filter.After = page[len(page)-1]
	}
	if len(seen) != 25 {
		t.Errorf("three pages of 10 hold %d of 25 accounts", len(seen))
	}
	if page := get[[]store.Account](t)(r.Accounts(filter)); len(page) != 0 {
		t.Errorf("a fourth page holds %d", len(page))
	}
	counts := map[string]struct {
		filter store.AccountFilter
		want   int
	}{
		"beginning of a name":            {store.AccountFilter{Search: "user_1"}, 10},
		"a whole sub":                    {store.AccountFilter{Search: "u_user_03"}, 1},
		"beginning of an address":        {store.AccountFilter{Search: "07%@"}, 1},
		"a wildcard is just a sign":      {store.AccountFilter{Search: "%"}, 0},
		"so is the other":                {store.AccountFilter{Search: "use__"}, 0},
		"and a backslash":                {store.AccountFilter{Search: `\`}, 0},
		"a status":                       {store.AccountFilter{Status: store.AccountDisabled}, 5},
		"a status and a name":            {store.AccountFilter{Status: store.AccountDisabled, Search: "user_2"}, 1},
		"the middle of a name is not it": {store.AccountFilter{Search: "ser"}, 0},
	}
	for name, test := range counts {
		test.filter.Limit = 100
		if found := get[[]store.Account](t)(r.Accounts(test.filter)); len(found) != test.want {
			t.Errorf("%s: found %d, want %d", name, len(found), test.want)
		}
	}
}

func testOddText(t *testing.T, db *store.DB) {
	for n, name := range []string{`'; DROP TABLE accounts; --`, `<script>"&`, "ȧ̸l\u202eice", "\\x00", "$1 $2", "%s%n"} {
		sub := fmt.Sprintf("u_%d", n)
		addAccount(t, db, sub, name)
		account := get[store.Account](t)(db.Reader(t.Context()).AccountByLogin(name))
		if account.Username != name || account.Sub != sub {
			t.Errorf("%q came back as %+v", name, account)
		}
	}
}
