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
	// LogoutMS is the time from the acknowledgement of a forced logout to the
	// refusal of the next call.
	LogoutMS float64 `json:"logout_ms"`
	// Stopped says what happens when the auth service stops.
	Stopped string `json:"auth_stopped"`
}

func (c cost) String() string {
	return fmt.Sprintf("median call %.2f ms; %d requests to the auth service in %d calls; forced logout honoured after %.1f ms",
		c.MedianMS, c.AuthCalls, measuredCalls, c.LogoutMS)
}

// measuredCalls is how many protected calls are measured, after warmCalls.
const (
	measuredCalls = 100
	warmCalls     = 20
)

// measure finds all of a deployment's costs but the last, which needs the auth
// service to stop.
func (t *tour) measure(ctx context.Context, d *deployment) error {
	credential, err := d.logIn(ctx)
	if err != nil {
		return fmt.Errorf("logging in: %w", err)
	}
	if err := t.measureCalls(ctx, d, credential); err != nil {
		return err
	}
	if _, err := t.admin.Revoke(ctx, wire.RevokeRequest{Scope: "user", ID: t.user.Sub, Reason: "laptop stolen"}); err != nil {
		return fmt.Errorf("forcing the user out: %w", err)
	}
	acked := time.Now()
	waiting, cancel := context.WithTimeout(ctx, t.bound)
	defer cancel()
	after, err := t.awaitRefusal(waiting, d.url, credential, acked)
	if err != nil {
		return err
	}
	d.cost.Answer, d.cost.LogoutMS = d.name, milliseconds(after)
	t.revoking = after
	return nil
}

func (t *tour) measureCalls(ctx context.Context, d *deployment, credential string) error {
	var took []time.Duration
	var before int
	for i := range warmCalls + measuredCalls {
		if i == warmCalls {
			var err error
			if before, err = t.authCalls(); err != nil {
				return err
			}
		}
		began := time.Now()
		got, err := t.call(ctx, d.url, credential)
		if err != nil {
			return err
		}
		if got != validated {
			return fmt.Errorf("%s answered %v, not %v", d.name, got, validated)
		}
		took = append(took, time.Since(began))
	}
	after, err := t.authCalls()
	if err != nil {
		return err
	}
	took = took[warmCalls:]
	slices.Sort(took)
	d.cost.MedianMS = float64(took[len(took)/2].Microseconds()) / 1000
	d.cost.AuthCalls = after - before
	return nil
}

// background are the requests on the bus that no call of a client causes.
var background = []string{"fresh", "range", "keys"}

// authCalls is how many requests the auth service has counted so far, over HTTP
// and on the bus.
func (t *tour) authCalls() (int, error) {
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
		if credentials[i], err = d.logIn(ctx); err != nil {
			return "", err
		}
		if got, err := t.call(ctx, d.url, credentials[i]); err != nil || got != validated {
			return "", errors.Join(err, fmt.Errorf("%s answered %v, not %v", d.name, got, validated))
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

// lasts calls until the deployment no longer accepts, which must be within the
// bound, and says how long it went on.
func (t *tour) lasts(ctx context.Context, d *deployment, credential string, stopped time.Time) (string, error) {
	calls := 0
	for {
		began := time.Now()
		got, err := t.call(ctx, d.url, credential)
		switch {
		case err != nil:
			return "", err
		case got == undecided && calls == 0:
			return "503 at once", nil
		case got == undecided:
			return fmt.Sprintf("works for %.1f s, then 503", time.Since(stopped).Seconds()), nil
		case got != validated:
			return "", fmt.Errorf("%s answered %v, not %v", d.name, got, undecided)
		case began.Sub(stopped) > t.bound:
			return "", fmt.Errorf("%s still accepts %v after the auth service has stopped", d.name, began.Sub(stopped))
		}
		calls++
		if err := pause(ctx, 20*time.Millisecond); err != nil {
			return "", err
		}
	}
}
