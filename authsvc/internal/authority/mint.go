package authority

import (
	"context"
	"fmt"

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

// issue signs what a committed transaction has granted.
func (a *Authority) issue(ctx context.Context, g grant) (*Tokens, error) {
	if g.keysVersion > a.keys.Version() {
		if err := a.keys.Reload(context.WithoutCancel(ctx)); err != nil {
			return nil, err
		}
	}
	raw, err := a.keys.SignToken(g.claims)
	if err != nil {
		return nil, fmt.Errorf("minting an access token: %w", err)
	}
	return &Tokens{
		TokenType: "Bearer", AccessToken: Secret(raw), RefreshToken: g.refresh,
		ExpiresIn: g.claims.ExpiresAt - g.claims.IssuedAt, Sub: g.claims.Subject, SID: g.claims.SessionID,
	}, nil
}
