package gateway

import (
	"net/http"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
)

// counters are those of the sessions; requests that are carried have the proxy's.
type counters struct {
	own       *prometheus.CounterVec
	looks     *prometheus.CounterVec
	refreshes *prometheus.CounterVec
	dropped   prometheus.Counter
	unsaved   prometheus.Gauge
}

func newCounters(registry prometheus.Registerer) *counters {
	opts := func(name, help string) prometheus.CounterOpts {
		return prometheus.CounterOpts{Namespace: "authsvc", Subsystem: "gateway", Name: name, Help: help}
	}
	m := &counters{
		own: prometheus.NewCounterVec(opts("own_requests_total", "Requests to the gateway's own paths, by path and status."), []string{"path", "status"}),
		looks: prometheus.NewCounterVec(opts("vault_looks_total",
			"Sessions looked up in the vault, by outcome: found, unknown, damaged or failed."), []string{"outcome"}),
		refreshes: prometheus.NewCounterVec(opts("refreshes_total",
			"Refreshes at the auth service, by outcome: renewed, ended or failed."), []string{"outcome"}),
		dropped: prometheus.NewCounter(opts("sessions_dropped_total", "Sessions dropped from memory because a revocation named them and the verifier refuses them.")),
		unsaved: prometheus.NewGauge(prometheus.GaugeOpts{
			Namespace: "authsvc", Subsystem: "gateway", Name: "sessions_unsaved",
			Help: "Refreshed sessions that the vault has not taken yet. They end with this process.",
		}),
	}
	registry.MustRegister(m.own, m.looks, m.refreshes, m.dropped, m.unsaved)
	return m
}

// recorder remembers the status of an answer.
type recorder struct {
	http.ResponseWriter
	status int
}

func (r *recorder) WriteHeader(status int) {
	r.status = status
	r.ResponseWriter.WriteHeader(status)
}

// Unwrap is for http.ResponseController.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

// counted counts an answer to one of the gateway's own paths.
func (m *counters) counted(path string, answer http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		seen := &recorder{ResponseWriter: w, status: http.StatusOK}
		defer func() { m.own.WithLabelValues(path, strconv.Itoa(seen.status)).Inc() }()
		answer(seen, r)
	}
}
