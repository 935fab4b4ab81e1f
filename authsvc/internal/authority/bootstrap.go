package authority

import (
	"context"
	"fmt"
	"time"

	"github.com/authbus/authbus/authsvc/internal/store"
)

// bootstrapFor is how long a bootstrap secret can be used.
const bootstrapFor = 24 * time.Hour

// NewBootstrapSecret returns a secret that makes the first admin, once, within 24
// hours. It takes the place of an earlier one. After the first use there is no
// other: CodeAdminExists.
func (a *Authority) NewBootstrapSecret(ctx context.Context) (Secret, error) {
	secret := newSecret(prefixBootstrap)
	set := false
	err := a.db.Write(ctx, func(tx *store.Tx) (err error) {
		set, err = tx.SetBootstrapSecret(store.Hash(secret.hash()))
		return err
	})
	if err != nil {
		return "", fmt.Errorf("making a bootstrap secret: %w", err)
	}
	if !set {
		return "", &Error{Code: CodeAdminExists, Message: "the first admin has been made"}
	}
	return secret, nil
}

// BootstrapAdmin uses up the secret and makes the first admin. A registration
// that is refused leaves the secret as it was. The refusals are
// CodeInvalidBootstrapSecret and those of Register.
func (a *Authority) BootstrapAdmin(ctx context.Context, secret Secret, r Registration, m Meta) (Account, error) {
	// Hashing a password for nothing is dear: look first.
	state, err := a.db.Reader(ctx).Bootstrap()
	if err != nil {
		return Account{}, fmt.Errorf("reading the bootstrap secret: %w", err)
	}
	if !state.Set || !state.UsedAt.IsZero() {
		return Account{}, invalidBootstrap()
	}
	fresh, err := a.newAccount(ctx, r)
	if err != nil {
		return Account{}, err
	}
	fresh.Roles = []string{RoleAdmin}
	err = a.db.Write(ctx, func(tx *store.Tx) error {
		if err := useBootstrap(tx, secret); err != nil {
			return err
		}
		return a.createAccount(tx, &fresh)
	})
	if err != nil {
		return Account{}, registrationError(err)
	}
	a.log.InfoContext(ctx, "first admin registered", "sub", fresh.Sub, "address", m.clean().Address)
	return accountOf(fresh), nil
}

func useBootstrap(tx *store.Tx, secret Secret) error {
	used, err := tx.UseBootstrapSecret(store.Hash(secret.hash()))
	if err != nil {
		return err
	}
	if !used {
		return invalidBootstrap()
	}
	at, err := tx.BootstrapSetAt()
	if err == nil && tx.Now().Sub(at) > bootstrapFor {
		err = invalidBootstrap()
	}
	return err
}

func invalidBootstrap() error {
	return &Error{Code: CodeInvalidBootstrapSecret, Message: "the bootstrap secret is wrong, used, or too old"}
}
