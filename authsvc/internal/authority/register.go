package authority

import (
	"context"
	"errors"
	"fmt"

	"github.com/authbus/authbus/authsvc/internal/password"
	"github.com/authbus/authbus/authsvc/internal/store"
	"github.com/authbus/authbus/events"
)

// Registration asks for a new account.
type Registration struct {
	Username string // up to 64 characters that can be seen, without @
	Email    string
	Password Secret
}

// Register makes an account. The refusals are CodeInvalidInput, CodeAccountExists
// and CodeBusy.
func (a *Authority) Register(ctx context.Context, r Registration, m Meta) (Account, error) {
	fresh, err := a.newAccount(ctx, r)
	if err != nil {
		return Account{}, err
	}
	err = a.db.Write(ctx, func(tx *store.Tx) error { return a.createAccount(tx, &fresh) })
	if err != nil {
		return Account{}, registrationError(err)
	}
	a.log.InfoContext(ctx, "account registered", "sub", fresh.Sub, "address", m.clean().Address)
	return accountOf(fresh), nil
}

// newAccount checks a registration and hashes its password.
func (a *Authority) newAccount(ctx context.Context, r Registration) (store.Account, error) {
	n, bad := checkNames(r.Username, r.Email)
	weak, err := passwordViolation("password", a.policy.Check(password.Plaintext(r.Password), r.Username, r.Email))
	if err != nil {
		return store.Account{}, err
	}
	if bad = append(bad, weak...); len(bad) > 0 {
		return store.Account{}, invalidInput(bad...)
	}
	hash, err := a.hasher.Hash(ctx, password.Plaintext(r.Password))
	if err != nil {
		return store.Account{}, busyError(err)
	}
	return store.Account{
		Sub: newID(prefixSub), Username: n.username, UsernameKey: n.usernameKey,
		Email: n.email, EmailKey: n.emailKey, PasswordHash: hash, Status: store.AccountActive,
	}, nil
}

// createAccount adds the account with its event. It sets the time of creation.
func (a *Authority) createAccount(tx *store.Tx, fresh *store.Account) error {
	if err := tx.CreateAccount(*fresh); err != nil {
		return err
	}
	fresh.CreatedAt = tx.Now()
	return a.emit(tx, events.AccountRegistered{Sub: fresh.Sub})
}

// registrationError does not say which name is taken: of an e-mail address that
// would tell anybody who has an account.
func registrationError(err error) error {
	if taken, ok := errors.AsType[*store.NameTakenError](err); ok {
		return &Error{
			Code: CodeAccountExists, Message: "the user name or the e-mail address is in use",
			Reason: taken.Field + "_taken", Err: err,
		}
	}
	return fmt.Errorf("registering: %w", err)
}

func accountOf(s store.Account) Account {
	return Account{
		Sub: s.Sub, Username: s.Username, Email: s.Email, Roles: s.Roles,
		Status: string(s.Status), CreatedAt: s.CreatedAt,
	}
}
