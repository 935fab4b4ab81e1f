package verifier

import (
	"context"
	"time"

	"github.com/authbus/authbus/verifier/token"
)

// Claims are the claims of an accepted token. They are shared between the
// requests that carry the token: treat them as read-only.
type Claims struct {
	token.Claims
	// Stale says that the token was accepted beyond the bound, under the policy
	// [Accept]: it may have been revoked since.
	Stale bool
	// presented is what Watch is about; nil for claims that did not come from Verify.
	presented *presented
}

// presented is a token as it came. It is reached through a pointer only, so that
// whoever prints claims does not print a token.
type presented struct {
	raw   string
	asked time.Time // when the question began whose answer accepted it
}

type claimsKey struct{}

// NewContext returns a context that carries the claims, for middleware of
// protocols that this package does not know.
func NewContext(ctx context.Context, claims *Claims) context.Context {
	return context.WithValue(ctx, claimsKey{}, claims)
}

// FromContext returns the claims of the request's token, put there by
// [Verifier.Middleware] or [NewContext].
func FromContext(ctx context.Context) (claims *Claims, ok bool) {
	claims, ok = ctx.Value(claimsKey{}).(*Claims)
	return claims, ok
}
