package authority

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/authbus/authbus/authsvc/internal/keyring"
	"github.com/authbus/authbus/authsvc/internal/store"
	"github.com/authbus/authbus/verifier/token"
)

// grant is what a transaction has decided to give. It is signed after the commit,
// because signing is slow and the transaction holds up everybody else's.
type grant struct {
	claims token.Claims
	// keysVersion is that of the transaction: no older key may sign.
	keysVersion uint64
	refresh     Secret // empty where only an access token is given
}

// mint decides on an access token for a session that tx has found alive, or has
// just begun. The claims hold the revision of this very transaction: a revocation
// is either committed before it, and then tx has seen the session dead, or after
// it, and then its number is greater.
func (a *Authority) mint(tx *store.Tx, s store.Session, account store.Account, refresh Secret) (grant, error) {
	if err := a.keys.MayMint(tx); err != nil {
		return grant{}, mintError(err)
	}
	head := tx.Head()
	issued := tx.Now().Unix()
	// A token never outlives its session.
	expires := min(tx.Now().Add(a.config.AccessLifetime).Unix(), s.ExpiresAt.Unix())
	if expires <= issued {
		return grant{}, invalidGrant(reasonSessionOver)
	}
	return grant{
		claims: token.Claims{
			Issuer: a.config.Issuer, Subject: account.Sub, Audience: a.config.Audiences,
			ExpiresAt: expires, IssuedAt: issued, ID: newID(prefixToken), SessionID: s.SID,
			ClientID: s.ClientID, Roles: account.Roles, AuthTime: s.AuthTime.Unix(), Rev: head.Rev,
		},
		keysVersion: head.KeysVersion,
		refresh:     refresh,
	}, nil
}

// mintError turns the death of the shared secret into a refusal. It comes before
// anything is committed, so that nobody's refresh token is used up meanwhile.
func mintError(err error) error {
	if errors.Is(err, keyring.ErrKilledSecret) {
		return &Error{
			Code: CodeCannotMint, Message: "no token can be given until the operator has replaced the secret that signs them",
			RetryAfter: time.Minute, Reason: "killed_secret", Err: err,
		}
	}
	return err
}

// issue signs what a committed transaction has granted.
func (a *Authority) issue(ctx context.Context, g grant) (*Tokens, error) {
	if g.keysVersion > a.keys.Version() {
		if err := a.keys.Reload(context.WithoutCancel(ctx)); err != nil {
			return nil, err
		}
	}
	raw, err := a.keys.SignToken(g.claims)
	if err != nil {
		return nil, fmt.Errorf("minting an access token: %w", mintError(err))
	}
	return &Tokens{
		TokenType: "Bearer", AccessToken: Secret(raw), RefreshToken: g.refresh,
		ExpiresIn: g.claims.ExpiresAt - g.claims.IssuedAt, Sub: g.claims.Subject, SID: g.claims.SessionID,
	}, nil
}
