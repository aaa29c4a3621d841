// Package metric has the numbers of a space as metrics: their names, units, help texts and values, in
// the terms of Prometheus. The module metrics hands them to its client library; the command
// writes them as text.
//
// Names follow Prometheus' conventions: base units, and total at the end of the name of a counter.
// Each sample has the label space, the name by which the space was opened.
//
// Start reading at Of.
package metric

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/everheap/everheap"
)

// Kind says how the values of a family change.
type Kind uint8

// The kinds.
const (
	Gauge   Kind = iota // up and down
	Counter             // up; a new process or space begins anew
)

// Family is a metric: all samples of one name.
type Family struct {
	Name, Help string
	Kind       Kind
	Labels     []string // names, space first
	Samples    []Sample // by labels; no two have the same
}

// Sample is a value.
type Sample struct {
	Labels []string // values, as many as the family has names
	Value  float64
}

// Options say what to leave out.
type Options struct {
	NoReaders   bool // the bytes that held versions keep from reuse; to count them, all blocks that the versions see are read
	Collections bool // how many entries each collection has
}

// Of returns the metrics of an open space. Of leaves out families without samples. For a space that
// cannot be read, the result is little more than everheap_up, which is 0 then; everheap_scrape_errors
// counts the parts that could not be read.
//
// Of waits for no other process. But if a process is writing, Of takes a tenth of a second, to see
// whether that process is suspended.
func Of(s *everheap.Space, o Options) []Family {
	g := gathering{space: s.Name()}
	st := s.Stats()
	g.one("everheap_up", "1 if this process has the space open and can read its numbers.", Gauge, truth(!st.Closed))
	if st.Closed {
		return g.list()
	}
	g.stats(&st)
	g.failed(g.processes(s))
	if !o.NoReaders {
		g.failed(g.readers(s))
	}
	g.failed(g.locks(s))
	g.failed(g.subscriptions(s, st.Version))
	if o.Collections {
		g.failed(g.collections(s))
	}
	g.one("everheap_scrape_errors", "Parts of these metrics that could not be read this time.", Gauge, float64(g.errors))
	return g.list()
}

// gathering gathers families.
type gathering struct {
	space    string
	families []*Family
	errors   int
}

// failed counts an error.
func (g *gathering) failed(err error) {
	if err != nil {
		g.errors++
	}
}

// list returns the gathered families, without those that have no samples.
func (g *gathering) list() (list []Family) {
	for _, f := range g.families {
		if len(f.Samples) > 0 {
			slices.SortFunc(f.Samples, func(a, b Sample) int { return slices.Compare(a.Labels, b.Labels) })
			list = append(list, *f)
		}
	}
	slices.SortFunc(list, func(a, b Family) int { return cmp.Compare(a.Name, b.Name) })
	return list
}

// family adds a family.
func (g *gathering) family(name, help string, kind Kind, labels ...string) *Family {
	f := &Family{Name: name, Help: help, Kind: kind, Labels: append([]string{"space"}, labels...)}
	g.families = append(g.families, f)
	return f
}

// one adds a family with one sample.
func (g *gathering) one(name, help string, kind Kind, value float64) {
	g.add(g.family(name, help, kind), value)
}

// add adds a value to the sample with the labels. Processes of different PID namespaces can have the
// same number, and share a sample.
func (g *gathering) add(f *Family, value float64, labels ...string) {
	all := append([]string{g.space}, labels...)
	for i := range all {
		all[i] = strings.ToValidUTF8(all[i], "\uFFFD")
	}
	if i := slices.IndexFunc(f.Samples, func(s Sample) bool { return slices.Equal(s.Labels, all) }); i >= 0 {
		f.Samples[i].Value += value
		return
	}
	f.Samples = append(f.Samples, Sample{all, value})
}

// stats adds the numbers of Stats.
func (g *gathering) stats(st *everheap.Stats) {
	g.one("everheap_created_timestamp_seconds", "When the space was created.", Gauge, seconds(st.Created))
	g.one("everheap_versions_total", "Versions committed since the space was created, by all processes.", Counter, float64(st.Version))
	g.one("everheap_last_commit_timestamp_seconds", "When the newest version was committed.", Gauge, seconds(st.Committed))
	g.one("everheap_durable_versions_total", "The newest version that survives a power loss.", Counter, float64(st.Durable))
	g.one("everheap_anchored_versions_total", "The newest version from which a recovery would start.", Counter, float64(st.Anchored))
	g.one("everheap_durable_lag_versions", "Versions that a power loss would cost.", Gauge, float64(st.Version-min(st.Durable, st.Version)))
	g.one("everheap_objects", "Collections and types, those of the space itself included.", Gauge, float64(st.Objects))
	for _, size := range []struct {
		name, help string
		bytes      uint64
	}{
		{"window", "Addresses that the space has: its maximum size can be raised up to this while it is open.", st.Window},
		{"max_size", "Maximum size of the heap file.", st.MaxSize},
		{"live", "Live set: the blocks that the newest version can reach, headers and rounding included.", st.Live},
		{"used", "High-water mark of the heap file: its length up to the last block ever used.", st.Used},
		{"file", "Length of the heap file.", st.File},
		{"disk", "Bytes that the files of the space take on disk.", st.Disk},
		{"journal", "Bytes of the journal that a recovery would read.", st.Journal},
		{"reserved", "Set aside by the processes that have the space open, when they last counted.", st.Reserved},
		{"leaked", "Estimate of what the next sweep finds.", st.Leaked},
		{"free", "Free blocks that this process has set aside.", st.Free},
		{"waiting", "Freed blocks of this process that an older version can still see.", st.Waiting},
	} {
		g.one("everheap_"+size.name+"_bytes", size.help, Gauge, float64(size.bytes))
	}
	g.replica(st.Replica)
	c := st.Collected
	g.one("everheap_collection_version", "Version that the last collection of this process has examined; 0: no collection has ended yet.", Gauge, float64(c.Version))
	g.one("everheap_collection_objects", "Objects that the last collection of this process has examined.", Gauge, float64(c.Objects))
	g.one("everheap_collection_dropped_objects", "Objects that the last collection of this process has dropped.", Gauge, float64(c.Dropped))
	g.one("everheap_collection_rescued_objects", "Objects that the last collection of this process has kept, since they were modified or linked meanwhile.", Gauge, float64(c.Rescued))
	g.one("everheap_collection_dropped_bytes", "Bytes of the objects that the last collection of this process has dropped.", Gauge, float64(c.Bytes))
	g.one("everheap_collection_transactions", "Transactions of the last collection of this process.", Gauge, float64(c.Batches))
	g.one("everheap_collection_seconds", "How long the last collection of this process took.", Gauge, c.Duration.Seconds())
	g.one("everheap_failed", "1 if a sync to disk has failed: writes are refused until the space is opened anew.", Gauge, truth(st.Failed))
	g.one("everheap_background_error", "1 if background work of this process has ever failed.", Gauge, truth(st.LastError != nil))
}

// replica adds how far a replica is behind; r is nil if the space is not a replica.
func (g *gathering) replica(r *everheap.ReplicaStats) {
	g.one("everheap_replica", "1 if the space is a replica of one on another machine.", Gauge, truth(r != nil))
	if r == nil {
		return
	}
	g.one("everheap_replica_known_version", "Newest version of the leader, as the leader last reported it; 0: no report since the space was opened.", Gauge, float64(r.Known))
	g.one("everheap_replica_heard_timestamp_seconds", "When the leader last reported its newest version, by its clock; 0: not since the space was opened.", Gauge, seconds(r.Heard))
	g.one("everheap_replica_lag_versions", "Versions that the replica lacks, as far as the leader has reported.", Gauge, float64(r.LagVersions))
	g.one("everheap_replica_lag_seconds", "Upper bound of the time for which the replica has lacked a version of the leader; 0: it lacks none.", Gauge, r.Lag.Seconds())
}

// processes adds the numbers of Processes.
func (g *gathering) processes(s *everheap.Space) error {
	list, err := s.Processes()
	if err != nil {
		return err
	}
	g.one("everheap_processes", "Processes that have the space open.", Gauge, float64(len(list)))
	labels := []string{"pid", "command"}
	since := g.family("everheap_process_opened_timestamp_seconds", "When the process opened the space.", Gauge, labels...)
	commits := g.family("everheap_process_commits_total", "Versions that the process has committed.", Counter, labels...)
	reserved := g.family("everheap_process_reserved_bytes", "Bytes that the process has set aside to write to.", Gauge, labels...)
	writing := g.family("everheap_process_writing", "1 if the process is in a transaction that writes.", Gauge, labels...)
	stopped := g.family("everheap_process_stopped", "1 if the process appears to be suspended.", Gauge, labels...)
	for _, p := range list {
		pid := who(p.PID, p.Foreign)
		g.add(since, seconds(p.Since), pid, p.Command)
		g.add(commits, float64(p.Commits), pid, p.Command)
		g.add(reserved, float64(p.Reserved), pid, p.Command)
		g.add(writing, truth(p.Writing), pid, p.Command)
		g.add(stopped, truth(p.Stopped), pid, p.Command)
	}
	return nil
}

// readers adds the numbers of Readers.
func (g *gathering) readers(s *everheap.Space) error {
	list, err := s.Readers()
	if err != nil {
		return err
	}
	newest := s.Stats().Version
	g.one("everheap_readers", "Versions that are held, by a transaction or while they are written to disk.", Gauge, float64(len(list)))
	labels := []string{"pid", "command"}
	held := g.family("everheap_process_readers", "Versions that the process holds.", Gauge, labels...)
	pins := g.family("everheap_process_pinned_bytes", "Bytes that are not reused because a version that the process holds, perhaps with others, can still see them.", Gauge, labels...)
	var age time.Duration
	lag := everheap.Version(0)
	for _, r := range list {
		pid := who(r.PID, r.Foreign)
		g.add(held, 1, pid, r.Command)
		g.add(pins, float64(r.Pins), pid, r.Command)
		age = max(age, time.Since(r.Since))
		lag = max(lag, newest-min(r.Version, newest))
	}
	g.one("everheap_oldest_reader_seconds", "Age of the oldest hold on a version; 0: no version is held.", Gauge, age.Seconds())
	g.one("everheap_oldest_reader_lag_versions", "How many versions the oldest held version is behind the newest.", Gauge, float64(lag))
	return nil
}

// locks adds the numbers of Locks.
func (g *gathering) locks(s *everheap.Space) error {
	list, err := s.Locks()
	if err != nil {
		return err
	}
	labels := []string{"lock", "kind"}
	permits := g.family("everheap_lock_permits", "Permits of the semaphore in total; 1 for a mutex.", Gauge, labels...)
	taken := g.family("everheap_lock_held_permits", "Permits of the named lock that are held.", Gauge, labels...)
	dead := g.family("everheap_lock_dead_holders", "Holders of the named lock that have died.", Gauge, labels...)
	stopped := g.family("everheap_lock_stopped_holders", "Holders of the named lock that appear to be suspended.", Gauge, labels...)
	waiters := g.family("everheap_lock_waiting_processes", "Processes in which a goroutine waits for the named lock.", Gauge, labels...)
	age := g.family("everheap_lock_held_seconds", "How long the oldest holder has held the named lock.", Gauge, labels...)
	for _, l := range list {
		var units, isDead, isStopped int
		var longest time.Duration
		for _, h := range l.Holders {
			units += h.Units
			if h.Dead {
				isDead++
			}
			if h.Stopped {
				isStopped++
			}
			if !h.Since.IsZero() {
				longest = max(longest, time.Since(h.Since))
			}
		}
		g.add(permits, float64(l.Units), l.Name, l.Kind)
		g.add(taken, float64(units), l.Name, l.Kind)
		g.add(dead, float64(isDead), l.Name, l.Kind)
		g.add(stopped, float64(isStopped), l.Name, l.Kind)
		g.add(waiters, float64(l.Waiters), l.Name, l.Kind)
		g.add(age, longest.Seconds(), l.Name, l.Kind)
	}
	return nil
}

// subscriptions adds the numbers of Subscriptions. A lost subscription has no version.
func (g *gathering) subscriptions(s *everheap.Space, newest everheap.Version) error {
	list, err := s.Subscriptions()
	if err != nil {
		return err
	}
	const label = "subscription"
	at := g.family("everheap_subscription_version", "Version up to which the subscription no longer needs any changes.", Gauge, label)
	lag := g.family("everheap_subscription_lag_versions", "How many versions the subscription is behind the newest.", Gauge, label)
	kept := g.family("everheap_subscription_kept_bytes", "Bytes kept for the subscription, in whole segments of the journal.", Gauge, label)
	keep := g.family("everheap_subscription_keep_bytes", "Bytes that may be kept for the subscription: beyond that it is lost.", Gauge, label)
	lost := g.family("everheap_subscription_lost", "1 if the subscription has fallen too far behind: its owner begins again with a backup.", Gauge, label)
	for _, u := range list {
		if !u.Lost {
			g.add(at, float64(u.Version), u.Name)
			g.add(lag, float64(newest-min(u.Version, newest)), u.Name)
		}
		g.add(kept, float64(u.Kept), u.Name)
		g.add(keep, float64(u.Keep), u.Name)
		g.add(lost, truth(u.Lost), u.Name)
	}
	return nil
}

// collections adds the numbers of Collections.
func (g *gathering) collections(s *everheap.Space) error {
	list, err := s.Collections()
	if err != nil {
		return err
	}
	entries := g.family("everheap_entries", "Entries of the collection; 1 for a single value.", Gauge, "collection", "kind")
	for _, c := range list {
		g.add(entries, float64(c.Len), c.Name, c.Kind)
	}
	return nil
}

// who names a process. Several processes of other PID namespaces may have the same number.
func who(pid int, foreign bool) string {
	if foreign {
		return strconv.Itoa(pid) + " elsewhere"
	}
	return strconv.Itoa(pid)
}

// truth is 1 for true.
func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// seconds since 1970.
func seconds(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.UnixNano()) / 1e9
}
