package bus

import (
	"errors"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

// publisherMetrics count what the publishing side does.
type publisherMetrics struct {
	revocations    *prometheus.CounterVec // by delivery
	relayed        *prometheus.CounterVec // by what
	relayErrors    prometheus.Counter
	reconciled     *prometheus.CounterVec // by result
	takenBack      prometheus.Counter
	republished    prometheus.Counter
	foreign        prometheus.Counter
	ready, leading prometheus.Gauge
}

func newPublisherMetrics(reg prometheus.Registerer) (*publisherMetrics, error) {
	m := &publisherMetrics{
		revocations: counters("feed_revocations_total", "Revocations published at once, by delivery.", "delivery"),
		relayed:     counters("relay_published_total", "Messages published from the database by the relay.", "kind"),
		relayErrors: counter("relay_errors_total", "Attempts of the relay that failed."),
		reconciled:  counters("reconciliations_total", "Comparisons of the database with the streams.", "result"),
		takenBack:   counter("reconcile_taken_back_total", "Revocations that the database took back from the stream."),
		republished: counter("reconcile_republished_total", "Revocations that the stream lacked and got again."),
		foreign:     counter("reconcile_foreign_total", "Messages on the feed that no known feed key has signed."),
		ready:       gauge("bus_ready", "1 once database and streams have been compared."),
		leading:     gauge("relay_leading", "1 while this process holds the lease of the relay."),
	}
	return m, register(reg, m.revocations, m.relayed, m.relayErrors, m.reconciled, m.takenBack, m.republished,
		m.foreign, m.ready, m.leading)
}

// responderMetrics count what the answering side does.
type responderMetrics struct {
	requests   *prometheus.CounterVec // by endpoint and result
	redirected prometheus.Counter
	probeReads prometheus.Counter
	probeBatch prometheus.Histogram
}

func newResponderMetrics(reg prometheus.Registerer) (*responderMetrics, error) {
	m := &responderMetrics{
		requests:   counters("bus_requests_total", "Requests on the bus.", "endpoint", "result"),
		redirected: counter("bus_redirected_total", "Requests whose reply subject is no inbox: not answered."),
		probeReads: counter("bus_probe_reads_total", "Reads of the log's head for freshness probes."),
		probeBatch: prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: "authsvc", Name: "bus_probe_batch", Help: "Freshness probes answered by one read.",
			Buckets: prometheus.ExponentialBuckets(1, 4, 8),
		}),
	}
	return m, register(reg, m.requests, m.redirected, m.probeReads, m.probeBatch)
}

func counters(name, help string, labels ...string) *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "authsvc", Name: name, Help: help}, labels)
}

func counter(name, help string) prometheus.Counter {
	return prometheus.NewCounter(prometheus.CounterOpts{Namespace: "authsvc", Name: name, Help: help})
}

func gauge(name, help string) prometheus.Gauge {
	return prometheus.NewGauge(prometheus.GaugeOpts{Namespace: "authsvc", Name: name, Help: help})
}

// register adds the collectors to reg, which may be nil.
func register(reg prometheus.Registerer, collectors ...prometheus.Collector) error {
	if reg == nil {
		return nil
	}
	var errs []error
	for _, c := range collectors {
		errs = append(errs, reg.Register(c))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("registering metrics: %w", err)
	}
	return nil
}
