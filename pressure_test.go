package everheap_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/everheap/everheap"
)

// A churning child overwrites records, a number of them per transaction. Its task
// is "updates-per-transaction keys": it overwrites random ones of so many keys
// until the number that a line names is reached, and says "done".
func init() { children["churn"] = churnChild }

func churnChild() int {
	c := newInChild()
	s, err := c.open()
	if err != nil {
		return failed("open", err)
	}
	m, err := everheap.OpenMap[uint64, record](s, "m")
	if err != nil {
		return failed("open", err)
	}
	var batch int
	var keys, total uint64
	if _, err := fmt.Sscan(c.work, &batch, &keys); err != nil {
		return failed("the task", err)
	}
	for line := range c.asked {
		if total, err = strconv.ParseUint(line, 10, 64); err != nil {
			return failed("the task", err)
		}
		for n := uint64(0); n < total; n += uint64(batch) {
			err := again(func() error {
				return s.Update(context.Background(), func(tx *everheap.Tx) error {
					for range batch {
						if err := m.Set(tx, c.rng.Uint64N(keys), newRecord(n, 20)); err != nil {
							return err
						}
					}
					return nil
				})
			})
			if err != nil {
				return failed("update", err)
			}
		}
		say("done", s.Stats().Version)
		if c.ended.Load() {
			break
		}
	}
	if err := s.Close(); err != nil {
		return failed("close", err)
	}
	return 0
}

// fillRecords sets the records below n.
func fillRecords(t *testing.T, s *everheap.Space, m everheap.Map[uint64, record], n, seq uint64) {
	t.Helper()
	for k := uint64(0); k < n; {
		update(t, s, func(tx *everheap.Tx) error {
			for range min(1000, n-k) {
				if err := m.Set(tx, k, newRecord(seq, 20)); err != nil {
					return err
				}
				k++
			}
			return nil
		})
	}
}

// awaitReclaim gives the background some time to tidy and to write anchors.
func awaitReclaim() { time.Sleep(1500 * time.Millisecond) }

// An old reader pins what it can see, and nothing that came after: writers that
// overwrite a small part of a map again and again, while another process has a
// View open, or stands still in it, do not make the space grow.
func TestPressure_HeldView(t *testing.T) {
	for _, stopped := range []bool{false, true} {
		t.Run(map[bool]string{false: "reading", true: "suspended"}[stopped], func(t *testing.T) {
			entries, updates := uint64(scaled(100_000)), uint64(scaled(5_000_000))
			if stopped {
				updates /= 5
			}
			s := scratch(t)
			m := mapOf[uint64, record](t, s)
			fillRecords(t, s, m, entries, 1)
			awaitReclaim()
			dir, before := s.Stats().Dir, s.Stats().Used
			reader := startChild(t, "holder", env(dir, 1, "", 1)...)
			if n := reader.awaitLine("holding"); n != fmt.Sprint(entries) {
				t.Fatalf("the reader sees %s entries", n)
			}
			if stopped {
				reader.stop()
			}
			began := time.Now()
			var writers []*child
			for id := 2; id <= 3; id++ {
				w := startChild(t, "churn", env(dir, id, fmt.Sprint(1+(id-2)*99, " ", entries/100), uint64(id))...)
				w.tell(fmt.Sprint([]uint64{updates / 20, updates / 20 * 19}[id-2]))
				writers = append(writers, w)
			}
			for _, w := range writers {
				if !wait(long, func() bool { return len(w.words()) > 0 || w.gone() }) {
					t.Fatal("the writers do not come to an end")
				}
				w.awaitLine("done")
			}
			after := s.Stats().Used
			t.Logf("%d entries, %d updates of %d of them in %v: %.1f MB in use before, %.1f after",
				entries, updates, entries/100, time.Since(began).Round(time.Millisecond), float64(before)/1e6, float64(after)/1e6)
			// Each process has some extents of each class for itself; and while a leader
			// of the journal is not scheduled for a moment, what is freed waits for it.
			const slack = 64 << 20
			if after > 3*before+slack {
				t.Errorf("an old reader made the space grow from %d to %d bytes", before, after)
			}
			if stopped {
				reader.resume()
			}
			reader.tell("look")
			reader.awaitLine("same")
		})
	}
}

// A visitor opens the space, writes a little, and closes it, many times.
func init() { children["visitor"] = visitorChild }

func visitorChild() int {
	c := newInChild()
	visits, _ := strconv.Atoi(c.work)
	for i := range visits {
		s, err := c.open()
		if err != nil {
			return failed("open", err)
		}
		m, err := everheap.OpenMap[uint64, record](s, "m")
		if err != nil {
			return failed("open", err)
		}
		for range 10 {
			err := again(func() error { return m.Set(s, c.rng.Uint64N(1000), newRecord(uint64(i), c.rng.IntN(2000))) })
			if err != nil {
				return failed("set", err)
			}
		}
		if err := s.Close(); err != nil {
			return failed("close", err)
		}
	}
	return 0
}

// sprawl is how many bytes a small space may take before lone blocks are used.
const sprawl = 10.5e6

// Many processes that come, write a little and go leave nothing behind: neither
// one after the other while somebody stays, nor when each is the last one to leave.
// Several at once may each find that another one has taken what is free.
func TestPressure_Visitors(t *testing.T) {
	for _, v := range []struct {
		name             string
		stays            bool
		processes, opens int
		growth           float64
	}{
		{"one after the other", true, 1, scaled(200), 1.25},
		{"each the last one to leave", false, 1, scaled(100), 1.25},
		{"four at a time", true, 4, scaled(50), 1.5},
	} {
		t.Run(v.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "s")
			s := open(t, dir)
			m := mapOf[uint64, record](t, s)
			fillRecords(t, s, m, 1000, 1)
			if !v.stays {
				must(t, s.Close())
			}
			var used [3]uint64
			for round := range used {
				var all sync.WaitGroup
				for id := range v.processes {
					c := startChild(t, "visitor", env(dir, id, fmt.Sprint(v.opens), uint64(round*100+id))...)
					all.Go(func() { wait(long, c.gone) })
				}
				all.Wait()
				s, err := everheap.Open(dir)
				must(t, err)
				used[round] = s.Stats().Used
				must(t, s.Close())
			}
			t.Logf("bytes in use after every %d visits: %d", v.processes*v.opens, used)
			if float64(used[2]) > v.growth*max(float64(used[0]), sprawl)+2e6 {
				t.Errorf("visits made the space grow: %d bytes in use after every %d of them", used, v.processes*v.opens)
			}
		})
	}
}

// What was deleted is used again.
func TestPressure_Refill(t *testing.T) {
	s := scratch(t)
	m := mapOf[uint64, record](t, s)
	entries := uint64(scaled(20_000))
	var first uint64
	for round := range uint64(6) {
		fillRecords(t, s, m, entries, round)
		if round == 1 {
			first = s.Stats().Used
		}
		for k := uint64(0); k < entries; {
			update(t, s, func(tx *everheap.Tx) error {
				for range min(1000, entries-k) {
					if ok, err := m.Delete(tx, k); err != nil || !ok {
						return fmt.Errorf("deleting %d: %v, %w", k, ok, err)
					}
					k++
				}
				return nil
			})
		}
		must(t, s.Sync(context.Background())) // the two newest anchors keep what they can see
		must(t, s.Sync(context.Background()))
	}
	if used := s.Stats().Used; used > first*3/2 {
		t.Errorf("filled and emptied twice: %d bytes are in use; four times more: %d", first, used)
	}
}

// Two processes write by turns: what the one frees the other can use.
func TestPressure_Alternating(t *testing.T) {
	rounds(t, 1, func(t *testing.T, r *rand.Rand) {
		s := scratch(t)
		m := mapOf[uint64, record](t, s)
		entries := uint64(scaled(20_000))
		fillRecords(t, s, m, entries, 1)
		dir := s.Stats().Dir
		var cs []*child
		for id := 1; id <= 2; id++ {
			cs = append(cs, startChild(t, "churn", env(dir, id, fmt.Sprint(100, " ", entries), r.Uint64())...))
		}
		var sizes []uint64
		turns := scaled(12)
		for turn := range turns {
			c := cs[turn%2]
			c.tell(fmt.Sprint(entries))
			n := turn/2 + 1
			c.await("its turn's end", func() bool { return len(c.words()) >= n })
			sizes = append(sizes, s.Stats().Used)
		}
		t.Logf("bytes in use after each turn: %d", sizes)
		if first, last := sizes[turns/2], sizes[turns-1]; last > first*3/2 {
			t.Errorf("two writers by turns made the space grow from %d to %d bytes", first, last)
		}
	})
}

// An opening child says how long it took to open the space and to read one entry.
func init() { children["first read"] = firstReadChild }

func firstReadChild() int {
	c := newInChild()
	began := time.Now()
	s, err := c.open()
	if err != nil {
		return failed("open", err)
	}
	m, err := everheap.OpenMap[uint64, record](s, "m")
	if err != nil {
		return failed("open", err)
	}
	if _, err := m.Get(s, 7); err != nil {
		return failed("get", err)
	}
	say("read", time.Since(began).Nanoseconds())
	if err := m.Set(s, 7, newRecord(8, 20)); err != nil { // so that there is something to lose
		return failed("set", err)
	}
	say("written")
	<-c.asked
	return 0
}

// The time from opening a space to the first read, after the last user of the
// space was killed: it does not depend on how much is in the space.
func BenchmarkOpen_FirstRead(b *testing.B) {
	var perOpen [2]float64
	for i, entries := range []uint64{1_000, 1_000_000} {
		b.Run(fmt.Sprint("entries=", entries), func(b *testing.B) {
			dir := filepath.Join(b.TempDir(), "s")
			loader := startChild(b, "loader", env(dir, 0, fmt.Sprint(entries), 1)...)
			loader.awaitLong("loaded")
			loader.kill()
			var total int64
			for b.Loop() {
				c := startChild(b, "first read", env(dir, 1, "", 1)...)
				ns, err := strconv.ParseInt(c.awaitLine("read"), 10, 64)
				if err != nil {
					b.Fatal(err)
				}
				c.awaitLine("written")
				c.kill()
				total += ns
			}
			perOpen[i] = float64(total) / float64(b.N)
			b.ReportMetric(perOpen[i], "ns/open")
			if i == 1 && perOpen[0] > 0 {
				b.ReportMetric(perOpen[1]/perOpen[0], "×small")
			}
		})
	}
}

// A loader fills a map, and waits to be killed.
func init() { children["loader"] = loaderChild }

func loaderChild() int {
	c := newInChild()
	s, err := c.open()
	if err != nil {
		return failed("open", err)
	}
	m, err := everheap.OpenMap[uint64, record](s, "m")
	if err != nil {
		return failed("open", err)
	}
	n, _ := strconv.ParseUint(c.work, 10, 64)
	for k := uint64(0); k < n; {
		err := s.Update(context.Background(), func(tx *everheap.Tx) error {
			for range min(1000, n-k) {
				if err := m.Set(tx, k, newRecord(k, 20)); err != nil {
					return err
				}
				k++
			}
			return nil
		})
		if err != nil {
			return failed("update", err)
		}
	}
	say("loaded")
	<-c.asked
	return 0
}

// awaitLong is awaitLine for work that takes long.
func (c *child) awaitLong(word string) {
	c.t.Helper()
	wait(long, func() bool { return len(c.words()) > 0 || c.gone() })
	c.awaitLine(word)
}
