package gateway_test

import (
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/authbus/authbus/authsvc/authsvctest"
	"github.com/authbus/authbus/authsvc/internal/demo"
)

// BenchmarkGateway calls a service that verifies its tokens, with the JWT and with
// the opaque token through the gateway in turn. The metric x/direct is what the
// gateway makes of a call's time.
func BenchmarkGateway(b *testing.B) {
	w := start(b, authsvctest.Config{AccessLifetime: time.Hour})
	orders, err := demo.Start(b.Context(), demo.Config{
		Name: "orders", Listen: "127.0.0.1:0", Issuer: w.auth.Issuer(), NATSURL: w.auth.NATSURL(), Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = orders.Close() })
	w.config.Routes = filepath.Join(b.TempDir(), "routes.yaml")
	table := "upstreams: {orders: {urls: ['" + orders.URL() + "']}}\nrules: [{name: orders, path: /, methods: [GET], upstream: orders}]\n"
	if err := os.WriteFile(w.config.Routes, []byte(table), 0o600); err != nil {
		b.Fatal(err)
	}
	w.Gateway = w.replica(b)
	opaque, jwt := w.login(b).AccessToken, w.auth.Login(b, w.ada).AccessToken
	ask := func(at, bearer string) time.Duration {
		began := time.Now()
		req, err := http.NewRequestWithContext(b.Context(), http.MethodGet, at, nil)
		if err != nil {
			b.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+bearer)
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			b.Fatal(err)
		}
		defer res.Body.Close() //nolint:errcheck // only read
		if _, err := io.Copy(io.Discard, res.Body); err != nil || res.StatusCode != http.StatusOK {
			b.Fatal(res.Status, err)
		}
		return time.Since(began)
	}
	var direct, through time.Duration
	for b.Loop() {
		direct += ask(orders.URL()+"/orders", jwt)
		through += ask(w.URL()+"/orders", opaque)
	}
	b.ReportMetric(float64(through)/float64(direct), "x/direct")
	b.ReportMetric(float64((through-direct).Microseconds())/float64(b.N), "µs/hop")
}
