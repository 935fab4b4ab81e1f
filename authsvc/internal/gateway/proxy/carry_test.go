package proxy_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/authbus/authbus/authsvc/internal/gateway/proxy"
)

const ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

func TestWhatAServiceSeesOfARequest(t *testing.T) {
	s := rawService(t, ok)
	g := start(t, proxy.Config{}, everything(t, "", s.url))
	res := g.send(t, "POST /a%20b/?q=1&access_token=opaque&r=2 HTTP/1.1\r\nHost: shop.example:8443\r\nContent-Length: 3\r\n"+
		"Authorization: Bearer opaque\r\nX-Custom: kept\r\nCookie: a=1; __Host-session=opaque; b=2\r\n"+
		"Referer: https://shop.example/x?access_token=opaque&y=1\r\n\r\nabc")
	if res.status != 200 || res.body != "ok" {
		t.Fatalf("got %+v", res)
	}
	seen := <-s.seen
	for _, line := range []string{
		"POST /a%20b/?q=1&r=2 HTTP/1.1\r\n", "\r\nHost: " + strings.TrimPrefix(s.url, "http://") + "\r\n",
		"\r\nAuthorization: Bearer " + jwt + "\r\n", "\r\nX-Custom: kept\r\n", "\r\nCookie: a=1; b=2\r\n",
		"\r\nReferer: https://shop.example/x?y=1\r\n", "\r\nContent-Length: 3\r\n",
		"\r\nX-Forwarded-For: 127.0.0.1\r\n", "\r\nX-Forwarded-Host: shop.example:8443\r\n", "\r\nX-Forwarded-Proto: http\r\n",
	} {
		if !strings.Contains(seen, line) {
			t.Errorf("no %q in\n%s", line, seen)
		}
	}
	if strings.Contains(seen, "opaque") {
		t.Errorf("the opaque token in\n%s", seen)
	}
}

func TestPublicRequestsCarryNoJWT(t *testing.T) {
	s := rawService(t, ok)
	g := start(t, proxy.Config{}, everything(t, "public: true", s.url))
	g.send(t, "GET / HTTP/1.1\r\nHost: h\r\nAuthorization: Basic YTpi\r\n\r\n")
	if seen := <-s.seen; strings.Contains(seen, "Authorization") {
		t.Errorf("credentials in\n%s", seen)
	}
}

// TestNobodyIsNotSomebody: a caller that forgets to find out who asks gets nothing carried.
func TestNobodyIsNotSomebody(t *testing.T) {
	s := rawService(t, ok)
	g := start(t, proxy.Config{}, everything(t, "", s.url))
	g.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rule, _ := g.table.Match(r.Host, r.Method, r.URL.Path)
		g.proxy.Serve(w, r, rule, nil)
	})
	if p := g.ask(t, "GET", "/").problem(t); p.Code != "internal" || len(s.seen) != 0 {
		t.Errorf("got %+v, and the service saw %d requests", p, len(s.seen))
	}
}

// TestAClientThatGoesAwayEndsTheServicesWork too.
func TestAClientThatGoesAwayEndsTheServicesWork(t *testing.T) {
	asked, ended := make(chan struct{}), make(chan struct{})
	s := service(t, func(_ http.ResponseWriter, r *http.Request) {
		close(asked)
		<-r.Context().Done()
		close(ended)
	})
	g := start(t, proxy.Config{}, everything(t, "", s.URL))
	conn := g.dial(t, "GET / HTTP/1.1\r\nHost: h\r\n\r\n")
	<-asked
	if err := conn.Close(); err != nil {
		t.Fatal(err)
	}
	<-ended
}

func TestMetrics(t *testing.T) {
	registry := prometheus.NewRegistry()
	g := start(t, proxy.Config{Registry: registry}, everything(t, "limits: {body: 1}", rawService(t, ok).url))
	g.ask(t, "GET", "/")
	g.ask(t, "GET", "/never-a-label")
	g.send(t, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nab")
	// An exchange is counted after its answer has gone out.
	want := `requests_total{all,200}=2 requests_total{all,413}=1 requests_in_flight{s}=0 upstream_healthy{s,*}=1`
	var got string
	eventually(t, want, func() bool { got = sample(t, registry); return got == want })
	if _, err := proxy.New(proxy.Config{Registry: registry}); err == nil || !strings.Contains(err.Error(), "registering metrics") {
		t.Errorf("the same metrics twice: %v", err)
	}
}

// sample spells the gateway's counters and gauges.
func sample(t *testing.T, registry *prometheus.Registry) string {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	values := make(map[string][]string)
	for _, f := range families {
		name := strings.TrimPrefix(f.GetName(), "authsvc_gateway_")
		for _, m := range f.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				if strings.HasPrefix(l.GetValue(), "http://") {
					*l.Value = "*"
				}
				labels = append(labels, l.GetValue())
			}
			value := m.GetCounter().GetValue() + m.GetGauge().GetValue()
			values[name] = append(values[name], fmt.Sprintf("%s{%s}=%v", name, strings.Join(labels, ","), value))
		}
	}
	return strings.Join(slices.Concat(values["requests_total"], values["requests_in_flight"], values["upstream_healthy"]), " ")
}
