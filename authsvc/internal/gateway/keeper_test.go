package gateway

import (
	"context"
	"errors"
	"testing"

	"github.com/authbus/authbus/authsvc/internal/gateway/vault"
)

// TestBoundsOfTheKeeper: at them, neither vault nor auth service is asked, which
// are not there.
func TestBoundsOfTheKeeper(t *testing.T) {
	k := &keeper{looks: make(chan struct{}, 1), unsure: make(map[vault.Token]struct{})}
	k.looks <- struct{}{} // somebody looks already
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := k.look(ctx, vault.NewToken()); !errors.Is(err, context.Canceled) {
		t.Errorf("with all looks taken: %v", err)
	}
	for range maxMending {
		k.unsure[vault.NewToken()] = struct{}{}
	}
	if _, err := k.refresh(t.Context(), vault.NewToken(), vault.Entry{}); !errors.Is(err, errUnsaved) {
		t.Errorf("with as much to mend as can be: %v", err)
	}
}
