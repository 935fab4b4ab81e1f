package tour

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	dto "github.com/prometheus/client_model/go"

	"github.com/authbus/authbus/authsvc/internal/httpapi/wire"
)

// deployment is one answer to "who is this?", deployed beside the others on the
// same account, and what it cost in this run.
type deployment struct {
	name string
	// url is the protected address that a client calls.
	url string
	// logIn begins a session of the account and returns what the client presents.
	logIn func(ctx context.Context) (credential string, err error)
	cost  cost
}

// cost is what an answer costs.
type cost struct {
	Answer string `json:"answer"`
	// MedianMS is the median time of a protected call, as the client sees it.
	MedianMS float64 `json:"median_ms"`
	// AuthCalls counts what the auth service was asked in 100 protected calls.
	// Proofs of freshness, one a second and service, depend on no call and are not
	// among them.
	AuthCalls int `json:"auth_calls_per_100"`
	// LogoutMS is the median time from the acknowledgement of a forced logout to
	// the answer that refuses, to a client that calls without a pause.
	LogoutMS float64 `json:"logout_ms"`
	// LogoutWorstMS is the longest of those times.
	LogoutWorstMS float64 `json:"logout_worst_ms"`
	// Stopped says what happens when the auth service stops.
	Stopped string `json:"auth_stopped"`
}

func (c cost) String() string {
	return fmt.Sprintf("median call %.2f ms; %d requests to the auth service in %d calls; forced logout honoured after %.1f ms, the slowest of %d after %.1f ms",
		c.MedianMS, c.AuthCalls, measuredCalls, c.LogoutMS, measuredLogouts, c.LogoutWorstMS)
}

// measuredCalls is how many protected calls are measured, after warmCalls, and
// measuredLogouts how many forced logouts.
const (
	measuredCalls   = 100
	warmCalls       = 20
	measuredLogouts = 5
)

// measure finds all of a deployment's costs but the last, which needs the auth
// service to stop.
func (t *tour) measure(ctx context.Context, d *deployment) error {
	d.cost.Answer = d.name
	if err := t.measureCalls(ctx, d); err != nil {
		return err
	}
	return t.measureLogouts(ctx, d)
}

// measureLogouts forces the user out several times, each time out of a new session.
func (t *tour) measureLogouts(ctx context.Context, d *deployment) error {
	took := make([]time.Duration, measuredLogouts)
	for i := range took {
		credential, err := t.begin(ctx, d)
		if err != nil {
			return err
		}
		if _, err := t.admin.Revoke(ctx, wire.RevokeRequest{Scope: "user", ID: t.user.Sub, Reason: "laptop stolen"}); err != nil {
			return fmt.Errorf("forcing the user out: %w", err)
		}
		if took[i], err = t.honoured(ctx, d.url, credential, loginAgain); err != nil {
			return err
		}
	}
	slices.Sort(took)
	t.revoking = median(took)
	d.cost.LogoutMS, d.cost.LogoutWorstMS = milliseconds(t.revoking), milliseconds(slices.Max(took))
	return nil
}

// honoured returns how long after now, when a revocation has been acknowledged, the
// answer is the one that is wanted. It must be within the bound.
func (t *tour) honoured(ctx context.Context, url, credential string, want answer) (time.Duration, error) {
	acked := time.Now()
	ctx, cancel := context.WithTimeout(ctx, t.bound)
	defer cancel()
	return t.awaitRefusal(ctx, url, credential, want, acked)
}

// begin begins a session of the deployment that works.
func (t *tour) begin(ctx context.Context, d *deployment) (credential string, err error) {
	if credential, err = d.logIn(ctx); err != nil {
		return "", fmt.Errorf("logging in: %w", err)
	}
	return credential, t.expectAt(ctx, d.url, credential, validated)
}

func (t *tour) measureCalls(ctx context.Context, d *deployment) error {
	credential, err := t.begin(ctx, d)
	if err != nil {
		return err
	}
	if _, err := t.timeCalls(ctx, d, credential, warmCalls); err != nil {
		return err
	}
	before, err := t.authCalls(ctx)
	if err != nil {
		return err
	}
	took, err := t.timeCalls(ctx, d, credential, measuredCalls)
	if err != nil {
		return err
	}
	after, err := t.authCalls(ctx)
	if err != nil {
		return err
	}
	d.cost.MedianMS = float64(median(took).Microseconds()) / 1000
	d.cost.AuthCalls = after - before
	return nil
}

// timeCalls makes n protected calls, one after the other, and returns how long each
// took, the fastest first.
func (t *tour) timeCalls(ctx context.Context, d *deployment, credential string, n int) ([]time.Duration, error) {
	took := make([]time.Duration, n)
	for i := range took {
		began := time.Now()
		if err := t.expectAt(ctx, d.url, credential, validated); err != nil {
			return nil, err
		}
		took[i] = time.Since(began)
	}
	slices.Sort(took)
	return took, nil
}

// median of times that are sorted.
func median(sorted []time.Duration) time.Duration { return sorted[len(sorted)/2] }

// background are the requests on the bus that no call of a client causes.
var background = []string{"fresh", "range", "keys"}

// settleTime is how long the count of requests must stand still before it is
// believed: the auth service counts an answer when it has sent it, so a client may
// be faster.
const settleTime = 20 * time.Millisecond

// authCalls is how many requests the auth service has counted so far, over HTTP
// and on the bus.
func (t *tour) authCalls(ctx context.Context) (int, error) {
	counted := -1
	for range 100 {
		before := counted
		var err error
		if counted, err = t.countedCalls(); err != nil || counted == before {
			return counted, err
		}
		if err := pause(ctx, settleTime); err != nil {
			return 0, err
		}
	}
	return 0, errors.New("the auth service is asked all the time, though nobody calls")
}

func (t *tour) countedCalls() (int, error) {
	families, err := t.node.Metrics().Gather()
	if err != nil {
		return 0, fmt.Errorf("reading the metrics of the auth service: %w", err)
	}
	total := 0.0
	for _, family := range families {
		if name := family.GetName(); name != "authsvc_bus_requests_total" && name != "authsvc_http_requests_total" {
			continue
		}
		for _, m := range family.GetMetric() {
			if !slices.ContainsFunc(m.GetLabel(), isBackground) {
				total += m.GetCounter().GetValue()
			}
		}
	}
	return int(total), nil
}

func isBackground(label *dto.LabelPair) bool {
	return label.GetName() == "endpoint" && slices.Contains(background, label.GetValue())
}

// watchTheStop stops the auth service and finds what each deployment does then.
func (t *tour) watchTheStop(ctx context.Context, deployments []*deployment) (detail string, err error) {
	credentials := make([]string, len(deployments))
	for i, d := range deployments {
		if credentials[i], err = t.begin(ctx, d); err != nil {
			return "", fmt.Errorf("%s: %w", d.name, err)
		}
	}
	if err := t.node.Close(); err != nil {
		return "", fmt.Errorf("stopping the auth service: %w", err)
	}
	stopped := time.Now()
	errs := make([]error, len(deployments))
	var wg sync.WaitGroup
	for i, d := range deployments {
		wg.Go(func() { d.cost.Stopped, errs[i] = t.lasts(ctx, d, credentials[i], stopped) })
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return "", err
	}
	said := make([]string, len(deployments))
	for i, d := range deployments {
		said[i] = d.name + ": " + d.cost.Stopped
	}
	return strings.Join(said, "; "), nil
}

// atOnce is what counts as that. A verifier may wait twice as long for an answer.
const atOnce = time.Second

// lasts calls until the deployment says that it cannot decide, and says how long it
// went on. It must accept nothing beyond the bound. Over mutual TLS a service may be
// first to know nothing of the gateway's certificate any longer, which is a 502 until
// the gateway's own bound.
func (t *tour) lasts(ctx context.Context, d *deployment, credential string, stopped time.Time) (string, error) {
	accepted := stopped // the last time
	for {
		began := time.Now()
		got, err := t.call(ctx, d.url, credential)
		switch {
		case err != nil:
			return "", err
		case got == validated && began.Sub(stopped) > t.bound:
			return "", fmt.Errorf("%s still accepts %v after the auth service has stopped", d.name, began.Sub(stopped))
		case got == validated:
			accepted = time.Now()
		case got == undecided && accepted != stopped:
			return fmt.Sprintf("works for %.1f s, then 503", accepted.Sub(stopped).Seconds()), nil
		case got == undecided && time.Since(began) < atOnce:
			return "503 at once", nil
		case got == undecided:
			return fmt.Sprintf("503 after %.1f s", time.Since(began).Seconds()), nil
		case got != unreachable || d.name != mutualTLS || began.Sub(stopped) > t.bound:
			return "", fmt.Errorf("%s answered %v, not %v", d.name, got, undecided)
		}
		if err := pause(ctx, 20*time.Millisecond); err != nil {
			return "", err
		}
	}
}
