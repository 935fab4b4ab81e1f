package password

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"runtime"
	"strings"

	"github.com/go-crypt/crypt/algorithm/argon2"
)

// ErrBusy is returned where as many hashes wait as may: try again later.
var ErrBusy = errors.New("too many passwords are being checked")

// HasherConfig is how passwords are hashed, with argon2id. The zero value of each
// field stands for its default.
type HasherConfig struct {
	MemoryKiB  uint32 // memory of one hash; default 19456 (19 MiB)
	Passes     int    // passes over the memory; default 2
	Lanes      int    // parallel lanes; default 1
	Concurrent int    // most hashes at once; default GOMAXPROCS
	Waiting    int    // most that wait for their turn; default 32 × Concurrent
}

func (c HasherConfig) memory() uint32 {
	if c.MemoryKiB == 0 {
		return 19456
	}
	return c.MemoryKiB
}

func (c HasherConfig) passes() int { return orDefault(c.Passes, 2) }

func (c HasherConfig) lanes() int { return orDefault(c.Lanes, 1) }

func (c HasherConfig) concurrent() int { return orDefault(c.Concurrent, runtime.GOMAXPROCS(0)) }

func (c HasherConfig) waiting() int { return orDefault(c.Waiting, 32*c.concurrent()) }

func orDefault(n, fallback int) int {
	if n == 0 {
		return fallback
	}
	return n
}

// Hasher hashes and verifies passwords. Its methods may be called from several
// goroutines at once.
type Hasher struct {
	config  HasherConfig
	argon   *argon2.Hasher
	dummy   string        // the hash of a password that nobody has
	places  chan struct{} // one for each hash that runs or waits
	running chan struct{}
}

// NewHasher returns a hasher. It refuses parameters that argon2id does not allow.
func NewHasher(config HasherConfig) (*Hasher, error) {
	if config.concurrent() < 1 || config.waiting() < 0 {
		return nil, errors.New("password hashing: the number at once must be positive, that of the waiting not negative")
	}
	argon, err := argon2.New(argon2.WithVariantID(), argon2.WithM(config.memory()),
		argon2.WithT(config.passes()), argon2.WithP(config.lanes()), argon2.WithK(32), argon2.WithS(16))
	if err != nil {
		return nil, fmt.Errorf("password hashing: %w", err)
	}
	dummy, err := argon.Hash(rand.Text())
	if err != nil {
		return nil, fmt.Errorf("password hashing: %w", err)
	}
	return &Hasher{
		config: config, argon: argon, dummy: dummy.Encode(),
		places:  make(chan struct{}, config.concurrent()+config.waiting()),
		running: make(chan struct{}, config.concurrent()),
	}, nil
}

// Hash returns the hash of a password in PHC string form, with a salt of its own.
// It returns [ErrBusy], or the error of ctx where that ends while it waits.
func (h *Hasher) Hash(ctx context.Context, plain Plaintext) (string, error) {
	leave, err := h.enter(ctx)
	if err != nil {
		return "", fmt.Errorf("hashing a password: %w", err)
	}
	defer leave()
	digest, err := h.argon.Hash(plain.normal())
	if err != nil {
		return "", fmt.Errorf("hashing a password: %w", err)
	}
	return digest.Encode(), nil
}

// Verify reports whether phc is the hash of the password, and if so whether it
// was made with weaker parameters than the hasher's and should be made anew. With
// an empty phc, for an account that does not exist, it takes the same time and
// says no. Errors are those of Hash, and a phc that cannot be read.
func (h *Hasher) Verify(ctx context.Context, phc string, plain Plaintext) (ok, needsRehash bool, err error) {
	known := phc != ""
	if !known {
		phc = h.dummy
	}
	digest, err := argon2.Decode(phc)
	if err != nil {
		return false, false, fmt.Errorf("reading a password hash: %w", err)
	}
	leave, err := h.enter(ctx)
	if err != nil {
		return false, false, fmt.Errorf("verifying a password: %w", err)
	}
	defer leave()
	matches, err := digest.MatchAdvanced(plain.normal())
	if err != nil {
		return false, false, fmt.Errorf("verifying a password: %w", err)
	}
	ok = matches && known
	return ok, ok && h.weaker(phc), nil
}

// weaker reports whether a readable hash has weaker parameters than the hasher's.
func (h *Hasher) weaker(phc string) bool {
	var version, memory, passes, lanes int
	rest, isID := strings.CutPrefix(phc, "$argon2id$")
	n, err := fmt.Sscanf(rest, "v=%d$m=%d,t=%d,p=%d$", &version, &memory, &passes, &lanes)
	return !isID || err != nil || n != 4 || memory < int(h.config.memory()) || passes < h.config.passes()
}

// enter waits for a turn and returns how to end it.
func (h *Hasher) enter(ctx context.Context) (leave func(), err error) {
	select {
	case h.places <- struct{}{}:
	default:
		return nil, ErrBusy
	}
	select {
	case h.running <- struct{}{}:
		return func() { <-h.running; <-h.places }, nil
	case <-ctx.Done():
		<-h.places
		return nil, ctx.Err()
	}
}
