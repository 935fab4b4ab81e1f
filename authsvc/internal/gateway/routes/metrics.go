package routes

import "github.com/prometheus/client_golang/prometheus"

// descriptions are those of the metrics of a File.
func descriptions() (changes, current *prometheus.Desc) {
	return prometheus.NewDesc("authsvc_gateway_routes_changes_total",
			"Changes of the file of routes, the first reading among them, by what became of them.", []string{"result"}, nil),
		prometheus.NewDesc("authsvc_gateway_routes_current",
			"1 while the table in force is the file's, 0 while the file is refused and an older table in force.", nil, nil)
}

// Describe implements [prometheus.Collector].
func (*File) Describe(into chan<- *prometheus.Desc) {
	changes, current := descriptions()
	into <- changes
	into <- current
}

// Collect implements [prometheus.Collector].
func (f *File) Collect(into chan<- prometheus.Metric) {
	changes, current := descriptions()
	s := f.Stats()
	inForce := 1.0
	if s.Err != nil {
		inForce = 0
	}
	into <- prometheus.MustNewConstMetric(changes, prometheus.CounterValue, float64(s.Adopted), "adopted")
	into <- prometheus.MustNewConstMetric(changes, prometheus.CounterValue, float64(s.Refused), "refused")
	into <- prometheus.MustNewConstMetric(current, prometheus.GaugeValue, inForce)
}
