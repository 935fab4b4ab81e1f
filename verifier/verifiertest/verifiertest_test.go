package verifiertest_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/authbus/authbus/verifier"
	"github.com/authbus/authbus/verifier/verifiertest"
)

// TestTheDocumentedUse does what the package documentation shows.
func TestTheDocumentedUse(t *testing.T) {
	a := verifiertest.Start(t, "orders")
	c := a.Config()
	c.MaxStale = 2 * time.Second
	v, err := verifier.New(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	until := func(token string, want error) {
		t.Helper()
		deadline := time.After(20 * time.Second)
		for {
			_, err := v.Verify(context.Background(), token)
			if errors.Is(err, want) {
				return
			}
			select {
			case <-time.After(5 * time.Millisecond):
			case <-deadline:
				t.Fatalf("the verdict is %v, want %v", err, want)
			}
		}
	}
	first, second := a.Token(t, "ada"), a.Token(t, "ada")
	until(first, nil)
	a.Revoke(t, first)
	until(first, verifier.ErrRevoked)
	until(second, nil)
	a.Partition()
	until(second, verifier.ErrUnavailable)
	a.RevokeUser(t, "ada")
	a.Heal()
	until(second, verifier.ErrRevoked)
	until(a.Token(t, "ada"), nil)
}
