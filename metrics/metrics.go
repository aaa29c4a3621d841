// Package metrics gives the numbers of Everheap spaces to Prometheus: a Collector of the client library
// client_golang for each space that a process has open.
//
//	space, err := everheap.Open("forum")
//	…
//	collector := metrics.New(space)
//	defer collector.Close()
//	prometheus.MustRegister(collector)
//	http.Handle("/metrics", promhttp.Handler())
//
// It has every number of Stats, Processes, Readers and Locks, which are the same in all processes. As
// native histograms it has the times that transactions of this process spent waiting for their turn,
// in the program, in the commit and waiting for the disk. The dashboard and the rules beside the
// package show what to watch: grafana/dashboard.json and prometheus/rules.yaml.
package metrics

import (
	"context"
	"sync"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/internal/metric"
	"github.com/prometheus/client_golang/prometheus"
)

// Collector collects the metrics of one space. It implements prometheus.Collector. Each metric has
// the label space, the name by which the space was opened; two collectors of one registry need
// different names.
type Collector struct {
	space *everheap.Space
	set   metric.Options
	once  sync.Once
	stop  func()

	wait, run, commit, sync *prometheus.HistogramVec
	ended                   *prometheus.CounterVec
	of                      [2]series // for transactions of the program, and of the library
}

// series has the metrics of transactions begun by the program, or by the library.
type series struct {
	wait, run, commit, sync                  prometheus.Observer
	committed, unchanged, failed, notDurable prometheus.Counter
}

// Option says what a Collector collects.
type Option func(*metric.Options)

// WithCollections adds the number of entries of each collection: one time series for each.
func WithCollections() Option { return func(o *metric.Options) { o.Collections = true } }

// WithoutReaders leaves out the held versions, and the bytes that they keep from reuse: to count
// those bytes, each collection of the metrics reads all blocks that only those versions can see.
func WithoutReaders() Option { return func(o *metric.Options) { o.NoReaders = true } }

// New returns a collector of an open space, which traces the transactions of this process until
// Close. The space can be closed before the collector: then everheap_up is 0.
func New(space *everheap.Space, opts ...Option) *Collector {
	c := &Collector{space: space}
	for _, o := range opts {
		o(&c.set)
	}
	fixed := prometheus.Labels{"space": space.Name()}
	latency := func(name, help string) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: name, Help: help, ConstLabels: fixed,
			// Classic buckets for servers that take no native histograms: from a microsecond to ten seconds.
			Buckets:                        []float64{1e-6, 3e-6, 1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 0.1, 0.3, 1, 3, 10},
			NativeHistogramBucketFactor:    1.1,
			NativeHistogramMaxBucketNumber: 160,
		}, []string{"by"})
	}
	c.wait = latency("everheap_transaction_wait_seconds", "How long write transactions of this process have waited for their turn.")
	c.run = latency("everheap_transaction_run_seconds", "How long the functions of transactions took, from their turn to their end.")
	c.commit = latency("everheap_transaction_commit_seconds", "How long commits took, without the wait for the disk.")
	c.sync = latency("everheap_transaction_sync_seconds", "How long durable transactions have waited for the disk after their commit.")
	c.ended = prometheus.NewCounterVec(prometheus.CounterOpts{Name: "everheap_transactions_total", ConstLabels: fixed,
		Help: "Ended write transactions of this process, by their origin and their outcome."}, []string{"by", "outcome"})
	for i, by := range []string{"program", "library"} {
		c.of[i] = series{
			wait: c.wait.WithLabelValues(by), run: c.run.WithLabelValues(by), commit: c.commit.WithLabelValues(by), sync: c.sync.WithLabelValues(by),
			committed: c.ended.WithLabelValues(by, "committed"), unchanged: c.ended.WithLabelValues(by, "unchanged"),
			failed: c.ended.WithLabelValues(by, "failed"), notDurable: c.ended.WithLabelValues(by, "not_durable"),
		}
	}
	c.stop = space.Trace(c.trace)
	return c
}

// Close ends the tracing of transactions.
func (c *Collector) Close() { c.once.Do(c.stop) }

// trace counts an event of a transaction.
func (c *Collector) trace(_ context.Context, e everheap.TraceEvent) {
	of := &c.of[0]
	if e.Background {
		of = &c.of[1]
	}
	took := e.Took.Seconds()
	switch e.Kind {
	case everheap.TraceTurn:
		of.wait.Observe(took)
	case everheap.TraceWritten:
		of.run.Observe(took)
	case everheap.TraceCommit:
		of.commit.Observe(took)
		if e.Changed {
			of.committed.Inc()
		} else {
			of.unchanged.Inc()
		}
	case everheap.TraceDurable:
		of.sync.Observe(took)
	case everheap.TraceFail:
		if e.Version != 0 { // the transaction has committed, and counts as committed
			of.notDurable.Inc()
		} else {
			of.failed.Inc()
		}
	}
}

// Describe implements prometheus.Collector. It describes no metrics: the set depends on the processes
// that have the space open.
func (c *Collector) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector. Collect waits for no other process. But if a process is
// writing, it takes a tenth of a second, to see whether that process is suspended.
func (c *Collector) Collect(to chan<- prometheus.Metric) {
	for _, f := range metric.Of(c.space, c.set) {
		desc := prometheus.NewDesc(f.Name, f.Help, f.Labels, nil)
		kind := prometheus.GaugeValue
		if f.Kind == metric.Counter {
			kind = prometheus.CounterValue
		}
		for _, s := range f.Samples {
			to <- prometheus.MustNewConstMetric(desc, kind, s.Value, s.Labels...)
		}
	}
	for _, v := range []prometheus.Collector{c.wait, c.run, c.commit, c.sync, c.ended} {
		v.Collect(to)
	}
}
