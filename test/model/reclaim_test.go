package model

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
	"github.com/everheap/everheap/internal/spacetest"
)

// A churning child overwrites records, a number of them per transaction. Its task
// is "updates-per-transaction keys": it overwrites random ones of so many keys
// until the number that a line names is reached, and says "done".
func init() { spacetest.Children["churn"] = churnChild }

func churnChild() int {
	c := spacetest.NewInChild()
	s, err := c.Open()
	if err != nil {
		return spacetest.Failed("open", err)
	}
	m, err := everheap.OpenMap[uint64, spacetest.Record](s, "m")
	if err != nil {
		return spacetest.Failed("open", err)
	}
	var batch int
	var keys, total uint64
	if _, err := fmt.Sscan(c.Work, &batch, &keys); err != nil {
		return spacetest.Failed("the task", err)
	}
	for line := range c.Asked {
		if total, err = strconv.ParseUint(line, 10, 64); err != nil {
			return spacetest.Failed("the task", err)
		}
		for n := uint64(0); n < total; n += uint64(batch) {
			err := spacetest.Again(func() error {
				return s.Update(context.Background(), func(tx *everheap.Tx) error {
					for range batch {
						if err := m.Set(tx, c.Rng.Uint64N(keys), spacetest.NewRecord(n, 20)); err != nil {
							return err
						}
					}
					return nil
				})
			})
			if err != nil {
				return spacetest.Failed("update", err)
			}
		}
		spacetest.Say("done", s.Stats().Version)
		if c.Ended.Load() {
			break
		}
	}
	if err := s.Close(); err != nil {
		return spacetest.Failed("close", err)
	}
	return 0
}

// fillRecords sets the records below n.
func fillRecords(t *testing.T, s *everheap.Space, m everheap.Map[uint64, spacetest.Record], n, seq uint64) {
	t.Helper()
	for k := uint64(0); k < n; {
		spacetest.Update(t, s, func(tx *everheap.Tx) error {
			for range min(1000, n-k) {
				if err := m.Set(tx, k, spacetest.NewRecord(seq, 20)); err != nil {
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

// An old reader pins the blocks of its version, and no later ones: writers that overwrite a small
// part of a map again and again, while another process has a View open, or is suspended in it, do not
// make the space grow.
func TestPressure_HeldView(t *testing.T) {
	for _, stopped := range []bool{false, true} {
		t.Run(map[bool]string{false: "reading", true: "suspended"}[stopped], func(t *testing.T) {
			entries, updates := uint64(spacetest.Scaled(100_000)), uint64(spacetest.Scaled(5_000_000))
			if stopped {
				updates /= 5
			}
			s := spacetest.Scratch(t)
			m := spacetest.MapOf[uint64, spacetest.Record](t, s)
			fillRecords(t, s, m, entries, 1)
			awaitReclaim()
			dir, before := s.Stats().Dir, s.Stats().Used
			reader := spacetest.StartChild(t, "holder", spacetest.Env(dir, 1, "", 1)...)
			if n := reader.AwaitLine("holding"); n != fmt.Sprint(entries) {
				t.Fatalf("the reader sees %s entries", n)
			}
			if stopped {
				reader.Stop()
			}
			began := time.Now()
			var writers []*spacetest.Child
			for id := 2; id <= 3; id++ {
				w := spacetest.StartChild(t, "churn", spacetest.Env(dir, id, fmt.Sprint(1+(id-2)*99, " ", entries/100), uint64(id))...)
				w.Tell(fmt.Sprint([]uint64{updates / 20, updates / 20 * 19}[id-2]))
				writers = append(writers, w)
			}
			for _, w := range writers {
				if !spacetest.Wait(spacetest.Long, func() bool { return len(w.Words()) > 0 || w.Gone() }) {
					t.Fatal("the writers do not end")
				}
				w.AwaitLine("done")
			}
			after := s.Stats().Used
			t.Logf("%d entries, %d updates of %d of them in %v: %.1f MB in use before, %.1f after",
				entries, updates, entries/100, time.Since(began).Round(time.Millisecond), float64(before)/1e6, float64(after)/1e6)
			// Each process has some extents of each class for itself; and while a leader of the
			// journal is not scheduled for a moment, freed blocks wait for it.
			const slack = 64 << 20
			if after > 3*before+slack {
				t.Errorf("an old reader made the space grow from %d to %d bytes", before, after)
			}
			if stopped {
				reader.Resume()
			}
			reader.Tell("look")
			reader.AwaitLine("same")
		})
	}
}

// A visitor opens the space, writes a little, and closes it, many times.
func init() { spacetest.Children["visitor"] = visitorChild }

func visitorChild() int {
	c := spacetest.NewInChild()
	visits, _ := strconv.Atoi(c.Work)
	for i := range visits {
		s, err := c.Open()
		if err != nil {
			return spacetest.Failed("open", err)
		}
		m, err := everheap.OpenMap[uint64, spacetest.Record](s, "m")
		if err != nil {
			return spacetest.Failed("open", err)
		}
		for range 10 {
			err := spacetest.Again(func() error { return m.Set(s, c.Rng.Uint64N(1000), spacetest.NewRecord(uint64(i), c.Rng.IntN(2000))) })
			if err != nil {
				return spacetest.Failed("set", err)
			}
		}
		if err := s.Close(); err != nil {
			return spacetest.Failed("close", err)
		}
	}
	return 0
}

// sprawl is the size that a small space may reach before single free blocks are reused.
const sprawl = 10.5e6

// Many processes that open the space, write a little and close it leave no space behind: neither one
// after the other while another process stays, nor when each is the last user. If several run at
// once, each may find that another has taken the free blocks.
func TestPressure_Visitors(t *testing.T) {
	for _, v := range []struct {
		name             string
		stays            bool
		processes, opens int
		growth           float64
	}{
		{"one after the other", true, 1, spacetest.Scaled(200), 1.25},
		{"each the last one to leave", false, 1, spacetest.Scaled(100), 1.25},
		{"four at a time", true, 4, spacetest.Scaled(50), 1.5},
	} {
		t.Run(v.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "s")
			s := spacetest.Open(t, dir)
			m := spacetest.MapOf[uint64, spacetest.Record](t, s)
			fillRecords(t, s, m, 1000, 1)
			if !v.stays {
				spacetest.Must(t, s.Close())
			}
			var used [3]uint64
			for round := range used {
				var all sync.WaitGroup
				for id := range v.processes {
					c := spacetest.StartChild(t, "visitor", spacetest.Env(dir, id, fmt.Sprint(v.opens), uint64(round*100+id))...)
					all.Go(func() { spacetest.Wait(spacetest.Long, c.Gone) })
				}
				all.Wait()
				s, err := everheap.Open(dir)
				spacetest.Must(t, err)
				used[round] = s.Stats().Used
				spacetest.Must(t, s.Close())
			}
			t.Logf("bytes in use after every %d visits: %d", v.processes*v.opens, used)
			if float64(used[2]) > v.growth*max(float64(used[0]), sprawl)+2e6 {
				t.Errorf("visits made the space grow: %d bytes in use after every %d of them", used, v.processes*v.opens)
			}
		})
	}
}

// The blocks of deleted entries are reused.
func TestPressure_Refill(t *testing.T) {
	s := spacetest.Scratch(t)
	m := spacetest.MapOf[uint64, spacetest.Record](t, s)
	entries := uint64(spacetest.Scaled(20_000))
	var first uint64
	for round := range uint64(6) {
		fillRecords(t, s, m, entries, round)
		if round == 1 {
			first = s.Stats().Used
		}
		for k := uint64(0); k < entries; {
			spacetest.Update(t, s, func(tx *everheap.Tx) error {
				for range min(1000, entries-k) {
					if ok, err := m.Delete(tx, k); err != nil || !ok {
						return fmt.Errorf("deleting %d: %v, %w", k, ok, err)
					}
					k++
				}
				return nil
			})
		}
		spacetest.Must(t, s.Sync(context.Background())) // the two newest anchors keep the blocks of their versions
		spacetest.Must(t, s.Sync(context.Background()))
	}
	if used := s.Stats().Used; used > first*3/2 {
		t.Errorf("filled and emptied twice: %d bytes are in use; four times more: %d", first, used)
	}
}

// Two processes write by turns: each can use the blocks that the other frees.
func TestPressure_Alternating(t *testing.T) {
	spacetest.Rounds(t, 1, func(t *testing.T, r *rand.Rand) {
		s := spacetest.Scratch(t)
		m := spacetest.MapOf[uint64, spacetest.Record](t, s)
		entries := uint64(spacetest.Scaled(20_000))
		fillRecords(t, s, m, entries, 1)
		dir := s.Stats().Dir
		var cs []*spacetest.Child
		for id := 1; id <= 2; id++ {
			cs = append(cs, spacetest.StartChild(t, "churn", spacetest.Env(dir, id, fmt.Sprint(100, " ", entries), r.Uint64())...))
		}
		var sizes []uint64
		turns := spacetest.Scaled(12)
		for turn := range turns {
			c := cs[turn%2]
			c.Tell(fmt.Sprint(entries))
			n := turn/2 + 1
			c.Await("its turn's end", func() bool { return len(c.Words()) >= n })
			sizes = append(sizes, s.Stats().Used)
		}
		t.Logf("bytes in use after each turn: %d", sizes)
		if first, last := sizes[turns/2], sizes[turns-1]; last > first*3/2 {
			t.Errorf("two writers by turns made the space grow from %d to %d bytes", first, last)
		}
	})
}
