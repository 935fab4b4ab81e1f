package metrics_test

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/authbus/authbus/verifier"
	"github.com/authbus/authbus/verifier/metrics"
	"github.com/authbus/authbus/verifier/verifiertest"
)

// TestCollector gathers from a real verifier and checks a few values.
func TestCollector(t *testing.T) {
	a := verifiertest.Start(t, "orders")
	v, err := verifier.New(t.Context(), a.Config())
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	if _, err := v.Verify(t.Context(), a.Token(t, "ada")); err != nil {
		t.Fatal(err)
	}
	if _, err := v.Verify(t.Context(), "garbage"); err == nil {
		t.Fatal("garbage is accepted")
	}
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(metrics.NewCollector(v))
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			name := f.GetName()
			for _, l := range m.GetLabel() {
				name += "/" + l.GetValue()
			}
			got[name] = m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	for name, want := range map[string]float64{
		"authbus_verifier_fresh": 1, "authbus_verifier_tokens_total/accepted": 1,
		"authbus_verifier_tokens_total/invalid": 1, "authbus_verifier_signatures_total": 1,
		"authbus_verifier_alarms_total": 0, "authbus_verifier_records_total/live": 0,
	} {
		if value, ok := got[name]; !ok || value != want {
			t.Errorf("%s is %v (%v), want %v", name, value, ok, want)
		}
	}
}
