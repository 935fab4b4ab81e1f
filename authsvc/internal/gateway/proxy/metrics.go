package proxy

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are labelled by what the table names, never by what a client wrote.
type metrics struct {
	requests *prometheus.CounterVec
	duration *prometheus.HistogramVec
	inFlight *prometheus.GaugeVec
	retries  *prometheus.CounterVec
	healthy  *prometheus.GaugeVec
}

func newMetrics(registry prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: "authsvc", Subsystem: "gateway", Name: "requests_total",
			Help: "Requests carried or refused, by rule and status; status 0: ended without an answer.",
		}, []string{"rule", "status"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: "authsvc", Subsystem: "gateway", Name: "request_duration_seconds",
			Help:    "Time from the request's header to the end of the answer, by rule; WebSockets and streams left out.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30},
		}, []string{"rule"}),
		inFlight: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Namespace: "authsvc", Subsystem: "gateway", Name: "requests_in_flight",
			Help: "Requests being carried, by upstream.",
		}, []string{"upstream"}),
		retries: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: "authsvc", Subsystem: "gateway", Name: "retries_total",
			Help: "Further tries of requests, by upstream.",
		}, []string{"upstream"}),
		healthy: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Namespace: "authsvc", Subsystem: "gateway", Name: "upstream_healthy",
			Help: "1 while the URL of an upstream gets requests.",
		}, []string{"upstream", "url"}),
	}
	if registry == nil {
		return m, nil
	}
	var errs []error
	for _, c := range []prometheus.Collector{m.requests, m.duration, m.inFlight, m.retries, m.healthy} {
		errs = append(errs, registry.Register(c))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("proxy: registering metrics: %w", err)
	}
	return m, nil
}

// show sets the gauge of a target while its pool is in the table.
func (b *pool) show(t *target, healthy bool) {
	b.shown.Lock()
	defer b.shown.Unlock()
	if !b.listed {
		return // it would stay for ever
	}
	value := 0.0
	if healthy {
		value = 1
	}
	b.metrics.healthy.WithLabelValues(b.upstream.Name, t.url.String()).Set(value)
}

// hide takes the gauges of a pool away that leaves the table.
func (b *pool) hide() {
	b.shown.Lock()
	defer b.shown.Unlock()
	b.listed = false
	for _, t := range b.targets {
		b.metrics.healthy.DeleteLabelValues(b.upstream.Name, t.url.String())
	}
}

// observe counts a request that is over.
func (m *metrics) observe(rule string, status int, streamed bool, took time.Duration) {
	m.requests.WithLabelValues(rule, strconv.Itoa(status)).Inc()
	if !streamed {
		m.duration.WithLabelValues(rule).Observe(took.Seconds())
	}
}
