package ship_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/internal/spacetest"
	"github.com/everheap/everheap/ship"
)

// model knows the contents of a map at each version: writers note each value that they set.
type model struct {
	sync.Mutex
	sets map[everheap.Version]set
}

type set struct {
	key   int
	value string
}

// write sets a key, and notes that.
func (m *model) write(w *world, key int, value string) error {
	var v everheap.Version
	err := w.space.Update(context.Background(), func(tx *everheap.Tx) error {
		v = tx.Position().Version + 1
		return w.m.Set(tx, key, value)
	})
	if err == nil {
		m.Lock()
		m.sets[v] = set{key, value}
		m.Unlock()
	}
	return err
}

// at returns the contents of the map at a version.
func (m *model) at(v everheap.Version) map[int]string {
	m.Lock()
	defer m.Unlock()
	held := map[int]string{}
	for i := everheap.Version(0); i <= v; i++ {
		if s, ok := m.sets[i]; ok {
			held[s.key] = s.value
		}
	}
	return held
}

// writers write until stop.
func (m *model) writers(w *world, n int) (stop func()) {
	var end atomic.Bool
	var all sync.WaitGroup
	for i := range n {
		r := rand.New(rand.NewPCG(uint64(i), w.r.Uint64()))
		all.Go(func() {
			for !end.Load() {
				if err := m.write(w, r.IntN(50), fmt.Sprint(r.Uint64(), string(make([]byte, r.IntN(300))))); err != nil {
					w.t.Errorf("writing: %v", err)
					return
				}
				time.Sleep(time.Duration(r.IntN(3000)) * time.Microsecond)
			}
		})
	}
	return func() { end.Store(true); all.Wait() }
}

// contents returns the contents of the map of a space.
func contents(t *testing.T, s *everheap.Space) map[int]string {
	t.Helper()
	held := map[int]string{}
	m := spacetest.MapOf[int, string](t, s)
	spacetest.Must(t, s.View(func(tx *everheap.Tx) error {
		for k, v := range m.All(tx) {
			if k >= 0 { // the other keys are set by shipping
				held[k] = *v
			}
		}
		return nil
	}))
	return held
}

// frames returns the frames of all segments, by the position before each.
func frames(t *testing.T, dir string) map[everheap.Position]everheap.Frame {
	t.Helper()
	all := map[everheap.Position]everheap.Frame{}
	names, err := filepath.Glob(filepath.Join(dir, "changes-*.frames"))
	spacetest.Must(t, err)
	for _, name := range names {
		for _, f := range framesOf(t, name) {
			all[f.Before()] = f
		}
	}
	return all
}

// framesOf returns the complete frames of a segment.
func framesOf(t *testing.T, name string) (list []everheap.Frame) {
	t.Helper()
	b, err := os.ReadFile(name)
	spacetest.Must(t, err)
	for r := bytes.NewReader(b); ; {
		f, err := everheap.ReadFrame(r)
		if err != nil {
			return list
		}
		list = append(list, f)
	}
}

// everyVersion fails the test unless every version from the first snapshot to last has its frame and
// the contents of the model, and would be restored.
func (m *model) everyVersion(w *world, last everheap.Version) {
	w.t.Helper()
	snapshots, err := filepath.Glob(filepath.Join(w.dir, "snapshot-*.backup"))
	spacetest.Must(w.t, err)
	if len(snapshots) < 3 {
		w.t.Errorf("%d snapshots: too few to show anything", len(snapshots))
	}
	b, err := os.ReadFile(snapshots[0])
	spacetest.Must(w.t, err)
	at, _, err := everheap.BackupPosition(bytes.NewReader(b))
	spacetest.Must(w.t, err)
	dir := filepath.Join(w.t.TempDir(), "each")
	spacetest.Must(w.t, everheap.RestoreReplica(dir, bytes.NewReader(b), "the test"))
	s := spacetest.Open(w.t, dir)
	r, err := s.AsReplica("the test")
	spacetest.Must(w.t, err)
	all := frames(w.t, w.dir)
	held := m.at(at.Version)
	for at.Version < last {
		f, ok := all[at]
		if !ok {
			w.t.Fatalf("of the versions up to %d, number %d has no frame", last, at.Version+1)
		}
		spacetest.Must(w.t, r.Apply(context.Background(), f))
		at = f.Position()
		if x, ok := m.sets[at.Version]; ok {
			held[x.key] = x.value
		}
		if at.Version%16 == 0 || at.Version == last {
			if got := contents(w.t, s); !maps.Equal(got, held) {
				w.t.Fatalf("version %d holds %d entries, want %d, or others", at.Version, len(got), len(held))
			}
		}
		got, from, err := ship.Plan(w.dir, ship.At{Version: at.Version})
		if err != nil || got != at.Version || from > got {
			w.t.Fatalf("version %d would be restored as %d, from the snapshot %d: %v", at.Version, got, from, err)
		}
	}
	w.t.Logf("%d versions, %d snapshots", len(all), len(snapshots))
}

// some restores some versions.
func (m *model) some(w *world, n int, last everheap.Version) {
	w.t.Helper()
	var first everheap.Version
	for f := range frames(w.t, w.dir) {
		if first == 0 || f.Version < first {
			first = f.Version
		}
	}
	for range n {
		v := first + everheap.Version(w.r.Uint64N(uint64(last-first+1)))
		dir := filepath.Join(w.t.TempDir(), "some")
		done, err := ship.Restore(context.Background(), w.dir, dir, ship.At{Version: v}, nil)
		spacetest.Must(w.t, err)
		s := spacetest.Open(w.t, dir)
		if got := contents(w.t, s); done.Version != v || !maps.Equal(got, m.at(v)) {
			w.t.Errorf("version %d is restored as %d, and holds %d entries; want %d, or others", v, done.Version, len(got), len(m.at(v)))
		}
		spacetest.Must(w.t, s.Close())
	}
}

// Every version gets its frame while goroutines write, snapshots are due all the time, and Run ends
// and begins again (SH1, SH3, SH6).
func TestRun_EveryVersionHasItsFrame(t *testing.T) {
	w, m := newWorld(t, 11), &model{sets: map[everheap.Version]set{}}
	o := ship.Options{SegmentBytes: 5000, SnapshotEvery: time.Millisecond}
	stop := m.writers(w, 3)
	for range 3 {
		ctx, cancel := context.WithTimeout(context.Background(), time.Duration(100+w.r.IntN(400))*time.Millisecond)
		if err := ship.Run(ctx, w.space, w.dir, o); err != nil && !errors.Is(err, everheap.ErrBusy) {
			t.Fatal(err)
		}
		cancel()
	}
	stop()
	last := w.shipping(o)()
	m.everyVersion(w, last)
	m.some(w, 3, last)
}

// Every version gets its frame although the shipping process is killed at random (SH1, SH2, SH6).
func TestRun_KilledLeavesNoVersionOut(t *testing.T) {
	w, m := newWorld(t, 12), &model{sets: map[everheap.Version]set{}}
	stop := m.writers(w, 3)
	for range 4 {
		c := spacetest.StartChild(t, "ship", "SHIP_SPACE="+w.space.Name(), "SHIP_DIR="+w.dir, "SHIP_EVERY=1ms")
		c.AwaitStart()
		time.Sleep(time.Duration(50+w.r.IntN(400)) * time.Millisecond)
		c.Kill()
	}
	stop()
	last := w.shipping(ship.Options{SegmentBytes: 5000, SnapshotEvery: time.Millisecond})()
	m.everyVersion(w, last)
	m.some(w, 3, last)
}
