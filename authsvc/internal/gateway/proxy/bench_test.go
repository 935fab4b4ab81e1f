package proxy_test

import (
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/authbus/authbus/authsvc/internal/gateway/proxy"
)

// BenchmarkProxied asks a service directly and through the gateway in turn, in the
// same run. The metric x/direct is what the gateway makes of a request's time.
func BenchmarkProxied(b *testing.B) {
	s := service(b, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") })
	g := start(b, proxy.Config{}, everything(b, "rate: {requests: 1000000, per: 1s}", s.URL))
	ask := func(client *http.Client, url string) time.Duration {
		began := time.Now()
		res, err := client.Get(url)
		if err != nil {
			b.Fatal(err)
		}
		if got := read(b, res); got.body != "hello" {
			b.Fatalf("got %+v", got)
		}
		return time.Since(began)
	}
	var direct, proxied time.Duration
	for b.Loop() {
		direct += ask(s.Client(), s.URL)
		proxied += ask(g.Client(), g.URL)
	}
	b.ReportMetric(float64(proxied)/float64(direct), "x/direct")
	b.ReportMetric(float64((proxied-direct).Microseconds())/float64(b.N), "µs/hop")
}
