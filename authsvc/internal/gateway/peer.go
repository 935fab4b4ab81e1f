package gateway

import (
	"context"
	"net/http"
)

// peer is the client on whose behalf the auth service is asked.
type peer struct{ address, userAgent string }

type peerKey struct{}

func withPeer(ctx context.Context, p peer) context.Context {
	return context.WithValue(ctx, peerKey{}, p)
}

func peerOf(ctx context.Context) peer {
	p, _ := ctx.Value(peerKey{}).(peer)
	return p
}

// onBehalf tells the auth service who the client is, so that its limits and its
// list of sessions are about clients and not about the gateway.
type onBehalf struct{ next http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (b onBehalf) RoundTrip(r *http.Request) (*http.Response, error) {
	p := peerOf(r.Context())
	r = r.Clone(r.Context())
	if p.address != "" {
		r.Header.Set("X-Forwarded-For", p.address)
	}
	if p.userAgent != "" {
		r.Header.Set("User-Agent", p.userAgent)
	}
	return b.next.RoundTrip(r)
}
