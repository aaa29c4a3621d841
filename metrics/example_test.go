package metrics_test

import (
	"log"
	"net/http"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/metrics"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

func Example() {
	space, err := everheap.Open("forum")
	if err != nil {
		log.Fatal(err)
	}
	collector := metrics.New(space)
	defer collector.Close()
	prometheus.MustRegister(collector)
	http.Handle("/metrics", promhttp.Handler())
}
