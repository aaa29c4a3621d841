package metrics_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/internal/metric"
	"github.com/everheap/everheap/metrics"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

func open(t testing.TB, name string) (*everheap.Space, everheap.Map[string, int]) {
	t.Helper()
	s, err := everheap.Open(filepath.Join(t.TempDir(), name))
	must(t, err)
	t.Cleanup(func() { _ = s.Close() })
	m, err := everheap.OpenMap[string, int](s, "numbers")
	must(t, err)
	return s, m
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func gather(t testing.TB, g prometheus.Gatherer) map[string]*dto.MetricFamily {
	t.Helper()
	list, err := g.Gather()
	must(t, err)
	byName := map[string]*dto.MetricFamily{}
	for _, f := range list {
		byName[f.GetName()] = f
	}
	return byName
}

// find returns the metric of a family with the labels, given as name=value.
func find(t testing.TB, f *dto.MetricFamily, labels ...string) *dto.Metric {
	t.Helper()
	for _, m := range f.GetMetric() {
		var has []string
		for _, l := range m.GetLabel() {
			has = append(has, l.GetName()+"="+l.GetValue())
		}
		if !slices.ContainsFunc(labels, func(l string) bool { return !slices.Contains(has, l) }) {
			return m
		}
	}
	t.Fatalf("%s has no sample with %q: %v", f.GetName(), labels, f)
	return nil
}

// Two spaces in one registry: the metrics equal the numbers of Stats and the other functions, and
// count transactions by their outcome.
func TestCollector(t *testing.T) {
	s, m := open(t, "one")
	other, _ := open(t, "two")
	r := prometheus.NewPedanticRegistry()
	c := metrics.New(s, metrics.WithCollections())
	defer c.Close()
	d := metrics.New(other, metrics.WithoutReaders())
	defer d.Close()
	must(t, r.Register(c))
	must(t, r.Register(d))

	for i := range 10 {
		must(t, m.Set(s, fmt.Sprint(i), i))
	}
	must(t, s.Update(context.Background(), func(tx *everheap.Tx) error { return m.Set(tx, "a", 1) }, everheap.Durable))
	must(t, s.Update(context.Background(), func(tx *everheap.Tx) error { return nil }))
	if err := m.Modify(s, "none", func(*int) error { return nil }); !errors.Is(err, everheap.ErrNotFound) {
		t.Fatal(err)
	}
	mutex := s.Mutex("a \"name\"\nof two lines \xff")
	must(t, mutex.Lock(context.Background()))
	must(t, s.View(func(*everheap.Tx) error {
		all := gather(t, r)
		value := func(name string, labels ...string) float64 {
			t.Helper()
			f := all[name]
			if f == nil {
				t.Fatalf("there is no %s", name)
			}
			m := find(t, f, append(labels, "space="+s.Name())...)
			return m.GetGauge().GetValue() + m.GetCounter().GetValue()
		}
		st := s.Stats()
		for name, want := range map[string]float64{
			"everheap_up": 1, "everheap_versions_total": float64(st.Version), "everheap_live_bytes": float64(st.Live), "everheap_objects": float64(st.Objects),
			"everheap_max_size_bytes": float64(st.MaxSize), "everheap_processes": 1, "everheap_failed": 0, "everheap_scrape_errors": 0,
		} {
			if got := value(name); got != want {
				t.Errorf("%s is %v, want %v", name, got, want)
			}
		}
		if n := value("everheap_entries", "collection=numbers", "kind=map"); n != 11 {
			t.Errorf("%v entries", n)
		}
		if n := value("everheap_readers"); n < 1 {
			t.Errorf("%v readers while a View reads", n)
		}
		if n := value("everheap_lock_held_permits", "kind=mutex", "lock=a \"name\"\nof two lines \uFFFD"); n != 1 {
			t.Errorf("the mutex is held by %v", n)
		}
		for outcome, want := range map[string]float64{"committed": 11, "unchanged": 1, "failed": 1, "not_durable": 0} {
			if n := value("everheap_transactions_total", "by=program", "outcome="+outcome); n != want {
				t.Errorf("%v transactions are %s, want %v", n, outcome, want)
			}
		}
		for name, want := range map[string]uint64{"wait": 13, "run": 12, "commit": 12, "sync": 1} {
			h := find(t, all["everheap_transaction_"+name+"_seconds"], "by=program", "space="+s.Name()).GetHistogram()
			if h.GetSampleCount() != want || len(h.GetPositiveSpan()) == 0 || math.IsNaN(h.GetSampleSum()) {
				t.Errorf("%s: %d observations, of %d; native: %d", name, h.GetSampleCount(), want, len(h.GetPositiveSpan()))
			}
		}
		for _, m := range all["everheap_readers"].GetMetric() {
			for _, l := range m.GetLabel() {
				if l.GetValue() == other.Name() {
					t.Error("the readers of the second space were to be left out")
				}
			}
		}
		return nil
	}))
	must(t, mutex.Unlock())
	problems, err := testutil.GatherAndLint(r)
	must(t, err)
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
	c.Close()
	c.Close()
	must(t, m.Set(s, "after", 1))
	if n := find(t, gather(t, r)["everheap_transactions_total"], "by=program", "outcome=committed", "space="+s.Name()).GetCounter().GetValue(); n != 11 {
		t.Errorf("%v transactions are counted after Close", n)
	}
	must(t, s.Close())
	if up := find(t, gather(t, r)["everheap_up"], "space="+s.Name()).GetGauge().GetValue(); up != 0 {
		t.Errorf("a closed space is up: %v", up)
	}
}

// The text that the command serves has the same metrics as the collector.
func TestText(t *testing.T) {
	s, m := open(t, "one")
	must(t, m.Set(s, "a", 1))
	must(t, s.Sync(context.Background()))
	l := s.Semaphore("of\"\\\n", 3)
	must(t, l.Acquire(context.Background()))
	c := metrics.New(s)
	defer c.Close()
	r := prometheus.NewRegistry()
	must(t, r.Register(c))
	all := gather(t, r)
	var text bytes.Buffer
	other, _ := open(t, "two")
	must(t, metric.Write(&text, metric.Of(s, metric.Options{}), metric.Of(other, metric.Options{})))
	parser := expfmt.NewTextParser(model.UTF8Validation)
	parsed, err := parser.TextToMetricFamilies(&text)
	must(t, err)
	for name, f := range all {
		if strings.HasPrefix(name, "everheap_transaction") {
			continue
		}
		p := parsed[name]
		if p == nil || p.GetHelp() != f.GetHelp() || p.GetType() != f.GetType() || len(p.GetMetric()) < len(f.GetMetric()) {
			t.Errorf("the text says of %s: %v, want %v", name, p, f)
			continue
		}
		if strings.HasSuffix(name, "_seconds") || strings.Contains(name, "_bytes") { // these change from one moment to the next
			continue
		}
		for _, m := range f.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, l.GetName()+"="+l.GetValue())
			}
			q := find(t, p, labels...)
			if a, b := m.GetGauge().GetValue()+m.GetCounter().GetValue(), q.GetGauge().GetValue()+q.GetCounter().GetValue(); a != b {
				t.Errorf("%s %q: %v in the text, %v of the collector", name, labels, b, a)
			}
		}
	}
	if len(parsed) < 30 {
		t.Errorf("%d families", len(parsed))
	}
}

// replicaOf makes a replica of a space.
func replicaOf(t testing.TB, s *everheap.Space) *everheap.Replica {
	t.Helper()
	var backup bytes.Buffer
	must(t, s.Backup(&backup))
	dir := filepath.Join(t.TempDir(), "replica")
	must(t, everheap.RestoreReplica(dir, &backup, "one"))
	copy, err := everheap.Open(dir)
	must(t, err)
	t.Cleanup(func() { _ = copy.Close() })
	r, err := copy.AsReplica("one")
	must(t, err)
	return r
}

// A replica has metrics for how far it is behind its leader; another space has none of them.
func TestReplica(t *testing.T) {
	s, m := open(t, "one")
	must(t, m.Set(s, "a", 1))
	replica := replicaOf(t, s)
	must(t, m.Set(s, "a", 2))
	must(t, m.Set(s, "a", 3))
	newest := s.Stats().Version
	must(t, replica.Hear(newest, time.Now()))
	values := map[string]float64{}
	for _, f := range metric.Of(replica.Space(), metric.Options{}) {
		values[f.Name] = f.Samples[0].Value
	}
	for name, want := range map[string]float64{"everheap_replica": 1, "everheap_replica_known_version": float64(newest), "everheap_replica_lag_versions": 2} {
		if got := values[name]; got != want {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
	if lag, heard := values["everheap_replica_lag_seconds"], values["everheap_replica_heard_timestamp_seconds"]; lag <= 0 || heard <= 0 {
		t.Errorf("the lag is %v, and the leader was heard at %v", lag, heard)
	}
	for _, f := range metric.Of(s, metric.Options{}) {
		if strings.HasPrefix(f.Name, "everheap_replica_") || f.Name == "everheap_replica" && f.Samples[0].Value != 0 {
			t.Errorf("the leader has %s: %v", f.Name, f.Samples)
		}
	}
}

// The dashboard and the rules name existing metrics.
func TestDashboardAndRules(t *testing.T) {
	s, m := open(t, "one")
	must(t, m.Set(s, "a", 1))
	mutex := s.Mutex("m")
	must(t, mutex.Lock(context.Background()))
	_, err := s.Subscribe("copy", 0)
	must(t, err)
	c := metrics.New(s, metrics.WithCollections())
	defer c.Close()
	follower := metrics.New(replicaOf(t, s).Space())
	defer follower.Close()
	r := prometheus.NewRegistry()
	must(t, r.Register(c))
	must(t, r.Register(follower))
	var all map[string]*dto.MetricFamily
	must(t, s.View(func(*everheap.Tx) error { all = gather(t, r); return nil }))
	named := map[string]bool{}
	for _, file := range []string{"grafana/dashboard.json", "prometheus/rules.yaml"} {
		text, err := os.ReadFile(file)
		must(t, err)
		if filepath.Ext(file) == ".json" {
			var v map[string]any
			must(t, json.Unmarshal(text, &v))
			if v["title"] == "" || v["panels"] == nil {
				t.Error("the dashboard has no title or no panels")
			}
		}
		for _, name := range regexp.MustCompile(`everheap_[a-z_]+`).FindAllString(string(text), -1) {
			named[name] = true
			if all[name] == nil && all[strings.TrimSuffix(name, "_bucket")] == nil {
				t.Errorf("%s names %s, and there is no such metric", file, name)
			}
		}
	}
	if len(named) < 20 {
		t.Errorf("only %d metrics are named", len(named))
	}
}

// The rules raise the right alerts and no others, as promtool verifies.
func TestRules(t *testing.T) {
	tool, err := exec.LookPath("promtool")
	if err != nil {
		t.Skip("there is no promtool (Debian: apt-get install prometheus)")
	}
	for _, args := range [][]string{{"check", "rules", "prometheus/rules.yaml"}, {"test", "rules", "prometheus/rules_test.yaml"}} {
		if out, err := exec.Command(tool, args...).CombinedOutput(); err != nil {
			t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
}

func BenchmarkSet(b *testing.B) {
	for _, traced := range []bool{false, true} {
		b.Run(fmt.Sprint("collected=", traced), func(b *testing.B) {
			s, m := open(b, "one")
			if traced {
				defer metrics.New(s).Close()
			}
			for i := 0; b.Loop(); i++ {
				must(b, m.Set(s, "key", i))
			}
		})
	}
}

// Each subscription has metrics for how far it is behind, the bytes kept for it, and whether it is
// lost.
func TestCollector_Subscriptions(t *testing.T) {
	s, m := open(t, "followed")
	r := prometheus.NewPedanticRegistry()
	c := metrics.New(s)
	defer c.Close()
	must(t, r.Register(c))
	if f := gather(t, r)["everheap_subscription_version"]; f != nil {
		t.Errorf("there are no subscriptions, and they tell %v", f)
	}
	ctx := context.Background()
	quick, err := s.Subscribe("quick", 0)
	must(t, err)
	slow, err := s.Subscribe("slow", 4<<20)
	must(t, err)
	big := make([]byte, 64<<10)
	b, err := everheap.OpenMap[int, []byte](s, "big")
	must(t, err)
	for i := range 400 { // 25 MB
		must(t, b.Set(s, i%10, big))
		must(t, s.Sync(ctx))
	}
	must(t, quick.Confirm(s.Stats().Version))
	for i := range 7 {
		must(t, m.Set(s, "a", i))
	}
	if _, err := slow.Version(); !errors.Is(err, everheap.ErrNotKept) {
		t.Fatalf("the slow one is not lost: %v", err)
	}
	list, err := s.Subscriptions()
	must(t, err)
	all := gather(t, r)
	for _, u := range list {
		for name, want := range map[string]float64{"kept_bytes": float64(u.Kept), "keep_bytes": float64(u.Keep), "version": float64(u.Version), "lag_versions": 7, "lost": 0} {
			f := all["everheap_subscription_"+name]
			if u.Name == "slow" {
				if name == "version" || name == "lag_versions" {
					if n := len(f.GetMetric()); n != 1 {
						t.Errorf("%d subscriptions tell %s, want the one that is not lost", n, name)
					}
					continue
				}
				if name == "lost" {
					want = 1
				}
			}
			if got := find(t, f, "subscription="+u.Name, "space="+s.Name()).GetGauge().GetValue(); got != want {
				t.Errorf("%s of %s is %v, want %v", name, u.Name, got, want)
			}
		}
	}
}
