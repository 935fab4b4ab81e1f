package tour

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"
)

// answer is what a service said.
type answer struct {
	status int
	// said is the message of a success or the title of a problem.
	said string
}

func (a answer) String() string { return fmt.Sprintf("%d %q", a.status, a.said) }

// The answers that the tour expects.
var (
	validated   = answer{http.StatusOK, "token validated"}
	anonymous   = answer{http.StatusUnauthorized, "not authenticated"}
	loginAgain  = answer{http.StatusUnauthorized, "please log in again"}
	unreachable = answer{http.StatusBadGateway, "Bad Gateway"}
	undecided   = answer{http.StatusServiceUnavailable, "cannot be decided now, try again"}
)

// call asks at url with a token, or without one where it is empty.
func (t *tour) call(ctx context.Context, url, token string) (answer, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return answer{}, err
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := t.http.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer func() { _ = resp.Body.Close() }() // read to its end below
	var body struct{ Message, Title string }
	if err := json.NewDecoder(resp.Body).Decode(&body); err != nil {
		return answer{}, fmt.Errorf("reading the answer of %s: %w", url, err)
	}
	_, _ = io.Copy(io.Discard, resp.Body) // so that the connection is used again
	return answer{resp.StatusCode, body.Message + body.Title}, nil
}

// expect calls both services and fails unless both answer as wanted.
func (t *tour) expect(ctx context.Context, token string, want answer) error {
	for _, s := range t.services {
		got, err := t.call(ctx, s.URL(), token)
		if err != nil {
			return err
		}
		if got != want {
			return fmt.Errorf("%s answered %v, not %v", s.Name(), got, want)
		}
	}
	return nil
}

// refusedAfter calls both services with a token, over and over, until each
// refuses it, and returns how long after acked the refusals came.
func (t *tour) refusedAfter(ctx context.Context, token string, acked time.Time) (refusals, error) {
	ctx, cancel := context.WithTimeout(ctx, t.bound)
	defer cancel()
	found := make(refusals, len(t.services))
	errs := make([]error, len(t.services))
	var wg sync.WaitGroup
	for i, s := range t.services {
		wg.Go(func() {
			found[i].service = s.Name()
			found[i].after, errs[i] = t.awaitRefusal(ctx, s.URL(), token, loginAgain, acked)
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}
	return found, nil
}

// awaitRefusal calls at url until the answer is not to be validated any more but the
// one that is wanted, and returns how long after acked that was.
func (t *tour) awaitRefusal(ctx context.Context, url, token string, want answer, acked time.Time) (time.Duration, error) {
	for {
		got, err := t.call(ctx, url, token)
		switch {
		case err != nil:
			return 0, fmt.Errorf("waiting for a refusal: %w", err)
		case got == want:
			return time.Since(acked), nil
		case got != validated:
			return 0, fmt.Errorf("%s answered %v, not %v", url, got, want)
		}
	}
}

// refusal is when a service refused a revoked token, counted from the
// acknowledgement.
type refusal struct {
	service string
	after   time.Duration
}

type refusals []refusal

// slowest is the time of the last service.
func (r refusals) slowest() time.Duration {
	var most time.Duration
	for _, one := range r {
		most = max(most, one.after)
	}
	return most
}

func (r refusals) String() string {
	texts := make([]string, len(r))
	for i, one := range r {
		texts[i] = fmt.Sprintf("%s after %.1f ms", one.service, milliseconds(one.after))
	}
	return strings.Join(texts, ", ")
}
