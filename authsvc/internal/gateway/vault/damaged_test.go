package vault

import (
	"errors"
	"strings"
	"testing"

	"github.com/authbus/authbus/events/eventstest"
)

// TestAnEntryWithoutASession, sealed as it should be. The error does not quote it.
func TestAnEntryWithoutASession(t *testing.T) {
	b := eventstest.NewBroker(t)
	v, err := Open(t.Context(), b.Streams(t), Config{})
	if err != nil {
		t.Fatal(err)
	}
	for _, inside := range []string{"", "secret", `{"access":"secret"`, `["secret"]`, `{"refresh_at":"secret"}`} {
		token := NewToken()
		sealed, err := token.seal([]byte(inside))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := v.kv.Put(t.Context(), token.Name(), sealed); err != nil {
			t.Fatal(err)
		}
		if e, err := v.Get(t.Context(), token); !errors.Is(err, ErrDamaged) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: %v, %v, want ErrDamaged", inside, e, err)
		}
	}
}
