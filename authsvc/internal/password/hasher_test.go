package password_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/authbus/authbus/authsvc/internal/password"
)

const plain = password.Plaintext("vnq zr8Kd pWx5m")

// newHasher returns a quick hasher.
func newHasher(t *testing.T, config password.HasherConfig) *password.Hasher {
	t.Helper()
	if config.MemoryKiB == 0 {
		config.MemoryKiB, config.Passes = 64, 1
	}
	hasher, err := password.NewHasher(config)
	if err != nil {
		t.Fatal(err)
	}
	return hasher
}

func hash(t *testing.T, hasher *password.Hasher, plain password.Plaintext) string {
	t.Helper()
	phc, err := hasher.Hash(t.Context(), plain)
	if err != nil {
		t.Fatal(err)
	}
	return phc
}

func TestDefaultParameters(t *testing.T) {
	hasher, err := password.NewHasher(password.HasherConfig{})
	if err != nil {
		t.Fatal(err)
	}
	phc := hash(t, hasher, plain)
	if !strings.HasPrefix(phc, "$argon2id$v=19$m=19456,t=2,p=1$") {
		t.Errorf("got %s", phc)
	}
	if again := hash(t, hasher, plain); again == phc {
		t.Error("two hashes of one password are equal: where is the salt?")
	}
}

func TestVerify(t *testing.T) {
	hasher := newHasher(t, password.HasherConfig{})
	long := password.Plaintext(strings.Repeat("vnq zr8Kd pWx5mT", 5))
	tests := map[string]struct {
		stored, given password.Plaintext
		ok            bool
	}{
		"the same":                            {plain, plain, true},
		"another":                             {plain, plain + "x", false},
		"other case":                          {plain, password.Plaintext(strings.ToUpper(string(plain))), false},
		"a space more":                        {plain, plain + " ", false},
		"other after the 72nd byte":           {long, long[:72] + "#" + long[73:], false},
		"other after a NUL":                   {plain + "\x00a", plain + "\x00b", false},
		"composed and decomposed":             {"cr\u00e8me br\u00fbl\u00e9e du chef", "cre\u0300me bru\u0302le\u0301e du chef", true},
		"compatible characters are different": {"vnq zr8Kd pWx5①", "vnq zr8Kd pWx51", false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			ok, rehash, err := hasher.Verify(t.Context(), hash(t, hasher, test.stored), test.given)
			if ok != test.ok || rehash || err != nil {
				t.Fatalf("got ok=%v rehash=%v err=%v", ok, rehash, err)
			}
		})
	}
}

func TestRehashOnlyWhenParametersRise(t *testing.T) {
	weak := newHasher(t, password.HasherConfig{MemoryKiB: 64, Passes: 1})
	tests := map[string]struct {
		config password.HasherConfig
		rehash bool
	}{
		"same":                        {password.HasherConfig{MemoryKiB: 64, Passes: 1}, false},
		"more memory":                 {password.HasherConfig{MemoryKiB: 128, Passes: 1}, true},
		"more passes":                 {password.HasherConfig{MemoryKiB: 64, Passes: 2}, true},
		"less memory and same passes": {password.HasherConfig{MemoryKiB: 32, Passes: 1}, false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			hasher := newHasher(t, test.config)
			ok, rehash, err := hasher.Verify(t.Context(), hash(t, weak, plain), plain)
			if !ok || rehash != test.rehash || err != nil {
				t.Errorf("right password: ok=%v rehash=%v err=%v", ok, rehash, err)
			}
			ok, rehash, err = hasher.Verify(t.Context(), hash(t, weak, plain), "wrong")
			if ok || rehash || err != nil {
				t.Errorf("wrong password: ok=%v rehash=%v err=%v", ok, rehash, err)
			}
		})
	}
}

func TestVerifyRefusesWhatIsNoHash(t *testing.T) {
	hasher := newHasher(t, password.HasherConfig{})
	good := hash(t, hasher, plain)
	for _, phc := range []string{"x", "$argon2id$", good[:20], "$2b$12$abcdefghijklmnopqrstuv", good + "$x", strings.Replace(good, "v=19", "v=18", 1)} {
		if ok, _, err := hasher.Verify(t.Context(), phc, plain); ok || err == nil {
			t.Errorf("%q: ok=%v err=%v", phc, ok, err)
		}
	}
}

// An account that does not exist must cost what one that does costs.
func TestUnknownAccountTakesTheSameTime(t *testing.T) {
	hasher := newHasher(t, password.HasherConfig{MemoryKiB: 4096, Passes: 2})
	phc := hash(t, hasher, plain)
	shortest := func(phc string) time.Duration {
		best := time.Hour
		for range 15 {
			begin := time.Now()
			if ok, _, err := hasher.Verify(t.Context(), phc, "wrong"); ok || err != nil {
				t.Fatalf("ok=%v err=%v", ok, err)
			}
			best = min(best, time.Since(begin))
		}
		return best
	}
	known, unknown := shortest(phc), shortest("")
	if ratio := float64(unknown) / float64(known); ratio < 0.5 || ratio > 2 {
		t.Errorf("known takes %v, unknown %v", known, unknown)
	}
}

func TestConcurrencyIsBounded(t *testing.T) {
	hasher := newHasher(t, password.HasherConfig{MemoryKiB: 2048, Passes: 4, Concurrent: 1, Waiting: 3})
	var done, busy atomic.Int64
	var group sync.WaitGroup
	start := make(chan struct{})
	for range 50 {
		group.Go(func() {
			<-start
			switch _, err := hasher.Hash(t.Context(), plain); {
			case err == nil:
				done.Add(1)
			case errors.Is(err, password.ErrBusy):
				busy.Add(1)
			default:
				t.Error(err)
			}
		})
	}
	close(start)
	group.Wait()
	if done.Load() < 4 || busy.Load() == 0 || done.Load()+busy.Load() != 50 {
		t.Errorf("%d done, %d refused as busy", done.Load(), busy.Load())
	}
	hash(t, hasher, plain) // all places are free again
}

func TestWaitingEndsWithItsContext(t *testing.T) {
	hasher := newHasher(t, password.HasherConfig{MemoryKiB: 64 << 10, Passes: 8, Concurrent: 1, Waiting: 8})
	var group sync.WaitGroup
	group.Go(func() { hash(t, hasher, plain) })
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	// Whether the first has begun or not, an ended context is no error where a
	// turn was free, and its own error where not.
	_, err := hasher.Hash(ctx, plain)
	if err != nil && !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	group.Wait()
}

func TestHasherRefusesBadParameters(t *testing.T) {
	for name, config := range map[string]password.HasherConfig{
		"no memory":       {MemoryKiB: 1},
		"negative passes": {Passes: -1},
		"negative lanes":  {Lanes: -1},
		"none at once":    {Concurrent: -1},
		"negative queue":  {Waiting: -1},
	} {
		if _, err := password.NewHasher(config); err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
}

func TestPlaintextShowsNothing(t *testing.T) {
	var log strings.Builder
	logger := slog.New(slog.NewTextHandler(&log, nil))
	logger.Info("x", "password", plain, "request", struct{ Password password.Plaintext }{plain})
	encoded, err := json.Marshal(map[string]any{"password": plain})
	if err != nil {
		t.Fatal(err)
	}
	all := log.String() + string(encoded)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d", "%T"} {
		all += fmt.Sprintf(verb, plain)
		if verb != "%T" {
			all += fmt.Sprintf(verb, struct{ P password.Plaintext }{plain})
		}
	}
	if strings.Contains(all, "vnq") || strings.Contains(all, fmt.Sprintf("%x", "vnq")) {
		t.Errorf("the password is in %s", all)
	}
	var decoded struct{ Password password.Plaintext }
	if err := json.Unmarshal([]byte(`{"Password":"vnq zr8Kd pWx5m"}`), &decoded); err != nil || decoded.Password != plain {
		t.Errorf("decoding it: %v", err)
	}
}

func BenchmarkHash(b *testing.B) {
	hasher, err := password.NewHasher(password.HasherConfig{})
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := hasher.Hash(b.Context(), plain); err != nil {
			b.Fatal(err)
		}
	}
}
