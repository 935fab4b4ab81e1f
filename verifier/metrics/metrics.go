// Package metrics exposes a verifier to Prometheus.
//
//	prometheus.MustRegister(metrics.NewCollector(v))
//
// Each metric stands for the field of verifier.Stats of the same meaning. Worth
// an alert: authbus_verifier_fresh at 0 for longer than the bound, and any
// increase of authbus_verifier_alarms_total.
package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/authbus/authbus/verifier"
)

// Collector reports the Stats of one verifier.
type Collector struct{ verifier *verifier.Verifier }

// NewCollector returns a collector of v's statistics. To register several
// verifiers, wrap the registerer with a label each
// (prometheus.WrapRegistererWith).
func NewCollector(v *verifier.Verifier) *Collector { return &Collector{v} }

// metric is one number of Stats.
type metric struct {
	desc  *prometheus.Desc
	kind  prometheus.ValueType
	value func(verifier.Stats) float64
}

func gauge(name, help string, value func(verifier.Stats) float64) metric {
	return metric{prometheus.NewDesc("authbus_verifier_"+name, help, nil, nil), prometheus.GaugeValue, value}
}

func counter(name, help string, value func(verifier.Stats) uint64) metric {
	return metric{
		prometheus.NewDesc("authbus_verifier_"+name+"_total", help, nil, nil), prometheus.CounterValue,
		func(s verifier.Stats) float64 { return float64(value(s)) },
	}
}

// verdict is one value of the label of the tokens_total metric.
func verdict(name string, value func(verifier.Stats) uint64) metric {
	return metric{
		prometheus.NewDesc("authbus_verifier_tokens_total", "Tokens presented, by verdict.", nil, prometheus.Labels{"verdict": name}),
		prometheus.CounterValue, func(s verifier.Stats) float64 { return float64(value(s)) },
	}
}

// record is one value of the label of the records_total metric.
func record(source string, value func(verifier.Stats) uint64) metric {
	return metric{
		prometheus.NewDesc("authbus_verifier_records_total", "Revocation records received, by what became of them.", nil, prometheus.Labels{"as": source}),
		prometheus.CounterValue, func(s verifier.Stats) float64 { return float64(value(s)) },
	}
}

// mode is 1 for the mode of the verifier and 0 for the other.
func mode(m verifier.Mode) metric {
	return metric{
		prometheus.NewDesc("authbus_verifier_mode", "1 for the mode of the verifier.", nil, prometheus.Labels{"mode": m.String()}),
		prometheus.GaugeValue, func(s verifier.Stats) float64 {
			if s.Mode == m {
				return 1
			}
			return 0
		},
	}
}

func all() []metric {
	type stats = verifier.Stats
	return []metric{
		mode(verifier.Local),
		mode(verifier.Remote),
		gauge("fresh", "1 while the verifier may accept on its own; remote: while it asks.", func(s stats) float64 {
			if s.Fresh {
				return 1
			}
			return 0
		}),
		gauge("staleness_seconds", "Age of the last proof of freshness; remote: of the last answer; -1 without one.", func(s stats) float64 {
			if s.Staleness < 0 {
				return -1
			}
			return s.Staleness.Seconds()
		}),
		gauge("applied_revision", "Revision up to which every revocation is applied.", func(s stats) float64 { return float64(s.Applied) }),
		gauge("revocations", "Revocations held.", func(s stats) float64 { return float64(s.Revocations) }),
		gauge("revocation_bytes", "Memory of the revocations.", func(s stats) float64 { return float64(s.RevocationBytes) }),
		gauge("cached_token_bytes", "Memory of the cache of verified tokens.", func(s stats) float64 { return float64(s.CachedTokenBytes) }),
		gauge("watches", "Long-lived connections watched.", func(s stats) float64 { return float64(s.Watches) }),
		verdict("accepted", func(s stats) uint64 { return s.Accepted }),
		verdict("invalid", func(s stats) uint64 { return s.Invalid }),
		verdict("expired", func(s stats) uint64 { return s.Expired }),
		verdict("revoked", func(s stats) uint64 { return s.Revoked }),
		verdict("unavailable", func(s stats) uint64 { return s.Unavailable }),
		counter("accepted_stale", "Tokens accepted beyond the bound.", func(s stats) uint64 { return s.AcceptedStale }),
		counter("signatures", "Tokens whose signature was verified.", func(s stats) uint64 { return s.Verified }),
		counter("asked", "Requests about single tokens.", func(s stats) uint64 { return s.Asked }),
		counter("ask_failed", "Requests about single tokens without an answer.", func(s stats) uint64 { return s.AskFailed }),
		counter("ask_shared", "Tokens decided by a request that another call had made.", func(s stats) uint64 { return s.AskShared }),
		counter("breaker_opened", "Times that asking stopped for a pause because there was no answer.", func(s stats) uint64 { return s.BreakerOpened }),
		record("live", func(s stats) uint64 { return s.LiveRecords }),
		record("repaired", func(s stats) uint64 { return s.RepairedRecords }),
		record("bulk", func(s stats) uint64 { return s.BulkRecords }),
		record("repeated", func(s stats) uint64 { return s.Repeated }),
		record("bad_signature", func(s stats) uint64 { return s.BadSignature }),
		record("not_understood", func(s stats) uint64 { return s.NotUnderstood }),
		record("malformed", func(s stats) uint64 { return s.Malformed }),
		record("dropped", func(s stats) uint64 { return s.Dropped }),
		counter("probes", "Requests for the read index.", func(s stats) uint64 { return s.Probes }),
		counter("probes_failed", "Rounds that ended without a proof.", func(s stats) uint64 { return s.ProbesFailed }),
		counter("epoch_changes", "Times the authority began another log.", func(s stats) uint64 { return s.EpochChanges }),
		counter("key_fetches", "Times the keys were fetched.", func(s stats) uint64 { return s.KeyFetches }),
		counter("alarms", "Events that an operator should look at.", func(s stats) uint64 { return s.Alarms }),
	}
}

// Describe implements prometheus.Collector.
func (c *Collector) Describe(ch chan<- *prometheus.Desc) {
	for _, m := range all() {
		ch <- m.desc
	}
}

// Collect implements prometheus.Collector.
func (c *Collector) Collect(ch chan<- prometheus.Metric) {
	stats := c.verifier.Stats()
	for _, m := range all() {
		ch <- prometheus.MustNewConstMetric(m.desc, m.kind, m.value(stats))
	}
}
