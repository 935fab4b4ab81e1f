package authority

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/authbus/authbus/authsvc/internal/store"
	"github.com/authbus/authbus/events"
)

// RefreshRequest trades a refresh token for new tokens.
type RefreshRequest struct {
	Token    Secret
	ClientID string // as at the login; empty means DefaultClient
}

// Refresh rotates a refresh token: it works once, and gives an access token and
// its successor. Within Config.RefreshGrace after that it gives the very same
// successor again, because honest clients race and lose answers. Used again
// later, or by another client, it ends its session.
//
// The refusal is CodeInvalidGrant for whatever reason.
func (a *Authority) Refresh(ctx context.Context, r RefreshRequest, m Meta) (*Tokens, error) {
	setDefault(&r.ClientID, DefaultClient)
	x, err := a.newExchange(ctx, r, m.clean())
	if err != nil {
		return nil, err
	}
	if err := a.db.Write(ctx, x.run); err != nil {
		return nil, fmt.Errorf("refreshing: %w", err)
	}
	if x.ended.Rev != 0 {
		a.acknowledge(ctx, x.ended, actorRule)
	}
	if x.refused != "" {
		a.log.InfoContext(ctx, "refresh refused", "reason", x.refused, "sid", x.sid, "address", x.meta.Address)
		return nil, invalidGrant(x.refused)
	}
	return a.issue(ctx, x.grant)
}

// exchange is one refresh on its way.
type exchange struct {
	a        *Authority
	clientID string
	meta     Meta
	old      Secret
	next     Secret // what old is exchanged for if nobody has exchanged it before
	sealed   []byte // next, for the holder of old

	// What run has decided.
	sid     string
	refused string // why not
	ended   events.Revocation
	grant   grant
}

// newExchange does what needs no transaction: most garbage ends here.
func (a *Authority) newExchange(ctx context.Context, r RefreshRequest, m Meta) (*exchange, error) {
	if !isRefreshToken(r.Token) {
		return nil, invalidGrant(reasonUnknown)
	}
	if _, err := a.db.Reader(ctx).RefreshState(store.Hash(r.Token.hash())); err != nil {
		if errors.Is(err, store.ErrNotFound) {
			return nil, invalidGrant(reasonUnknown)
		}
		return nil, fmt.Errorf("refreshing: %w", err)
	}
	next := newSecret(prefixRefresh)
	sealed, err := sealSuccessor(r.Token, next)
	if err != nil {
		return nil, err
	}
	return &exchange{a: a, clientID: r.ClientID, meta: m, old: r.Token, next: next, sealed: sealed}, nil
}

// isRefreshToken reports whether a secret has the form of a refresh token.
func isRefreshToken(s Secret) bool {
	return len(s) == len(prefixRefresh)+43 && strings.HasPrefix(string(s), prefixRefresh)
}

// run decides in the write transaction, where refreshes of the same token come
// one after the other.
func (x *exchange) run(tx *store.Tx) error {
	state, err := tx.RefreshState(store.Hash(x.old.hash()))
	if errors.Is(err, store.ErrNotFound) {
		x.refused = reasonUnknown
		return nil
	}
	if err != nil {
		return err
	}
	x.sid = state.Session.SID
	if x.refused = x.a.deadBecause(state.SessionState, tx.Now()); x.refused != "" {
		return nil
	}
	inGrace := tx.Now().Sub(state.Token.RotatedAt) <= x.a.config.RefreshGrace && state.Token.SealedSuccessor != nil
	switch {
	case state.Session.ClientID != x.clientID:
		x.refused = reasonOtherClient
		x.ended, err = x.a.revokeSession(tx, state.Session.Sub, x.sid, reasonMismatch, actorRule)
		return err
	case state.Token.RotatedAt.IsZero():
		return x.rotate(tx, state)
	case inGrace:
		return x.repeat(tx, state)
	}
	x.refused = reasonReuse
	x.ended, err = x.a.endReused(tx, state.Session.Sub, x.sid)
	return err
}

// rotate exchanges the token for its successor.
func (x *exchange) rotate(tx *store.Tx, state store.RefreshState) error {
	rotated, err := tx.RotateRefreshToken(state.Token.Hash, store.Hash(x.next.hash()), x.sealed)
	if err != nil {
		return err
	}
	if !rotated {
		return errors.New("a refresh token was rotated by two transactions at once")
	}
	if err := tx.UseSession(x.sid, x.meta.Address, x.meta.UserAgent); err != nil {
		return err
	}
	if err := x.a.emit(tx, events.SessionRefreshed{Sub: state.Session.Sub, SID: x.sid}); err != nil {
		return err
	}
	return x.mint(tx, state, x.next)
}

// repeat answers with the successor that the token was exchanged for already.
func (x *exchange) repeat(tx *store.Tx, state store.RefreshState) error {
	successor, err := openSuccessor(x.old, state.Token.SealedSuccessor)
	if err != nil {
		return err
	}
	return x.mint(tx, state, successor)
}

func (x *exchange) mint(tx *store.Tx, state store.RefreshState, refresh Secret) error {
	var err error
	x.grant, err = x.a.mint(tx, state.Session, state.Account, refresh)
	return err
}
