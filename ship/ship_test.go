package ship_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/internal/spacetest"
	"github.com/everheap/everheap/ship"
)

func TestMain(m *testing.M) { os.Exit(spacetest.Main(m)) }

// world is a space that changes, and the directory that it is shipped to.
type world struct {
	t     *testing.T
	r     *rand.Rand
	dir   string
	space *everheap.Space
	m     everheap.Map[int, string]
	held  map[everheap.Version]spacetest.Dump // contents of the space, by version
	times map[everheap.Version]time.Time
}

func newWorld(t *testing.T, seed uint64, opts ...everheap.Option) *world {
	w := &world{t: t, r: rand.New(rand.NewPCG(seed, 2)), dir: filepath.Join(t.TempDir(), "shipped"), held: map[everheap.Version]spacetest.Dump{}, times: map[everheap.Version]time.Time{}}
	w.space = spacetest.Open(t, filepath.Join(t.TempDir(), "space"), opts...)
	w.m = spacetest.MapOf[int, string](t, w.space)
	w.note()
	return w
}

// note remembers the contents of the space.
func (w *world) note() everheap.Version {
	w.t.Helper()
	v := w.space.Stats().Version
	w.held[v], w.times[v] = spacetest.ReadDump(w.t, spacetest.BackupOf(w.t, w.space)), time.Now()
	return v
}

// change makes some versions.
func (w *world) change(n int) everheap.Version {
	w.t.Helper()
	for range n {
		switch w.r.IntN(12) {
		case 0:
			spacetest.Must(w.t, w.space.Checkpoint("now"))
			spacetest.Must(w.t, w.m.Set(w.space, w.r.IntN(100), "between"))
			spacetest.Must(w.t, w.space.Restore(context.Background(), "now"))
			spacetest.Must(w.t, w.space.DropCheckpoint("now"))
		default:
			spacetest.Must(w.t, w.m.Set(w.space, w.r.IntN(100), strings.Repeat("x", w.r.IntN(3000))))
		}
	}
	return w.note()
}

// shipping calls Run until stop; stop waits until the newest version is in the directory, and returns
// it.
func (w *world) shipping(o ship.Options) (stop func() everheap.Version) {
	w.t.Helper()
	reached := make(chan everheap.Version, 100_000)
	o.Report = func(p ship.Progress) { reached <- p.Version }
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	began := make(chan struct{})
	var once sync.Once
	report := o.Report
	o.Report = func(p ship.Progress) { once.Do(func() { close(began) }); report(p) }
	go func() { done <- ship.Run(ctx, w.space, w.dir, o) }()
	spacetest.Must(w.t, w.m.Set(w.space, -1, time.Now().String()))
	spacetest.Must(w.t, w.space.Sync(ctx))
	select {
	case <-began:
	case err := <-done:
		w.t.Fatalf("Run ended: %v", err)
	case <-time.After(time.Minute):
		w.t.Fatal("Run reports nothing")
	}
	return func() everheap.Version {
		w.t.Helper()
		spacetest.Must(w.t, w.space.Sync(ctx))
		want := w.note()
		for timeout := time.After(time.Minute); ; {
			select {
			case v := <-reached:
				if v < want {
					continue
				}
			case err := <-done:
				w.t.Fatalf("Run ended: %v", err)
			case <-timeout:
				w.t.Fatalf("version %d did not come", want)
			}
			break
		}
		cancel()
		spacetest.Must(w.t, <-done)
		return want
	}
}

// restored restores a space, and returns its contents.
func (w *world) restored(at ship.At) (spacetest.Dump, ship.Restored, error) {
	w.t.Helper()
	dir := filepath.Join(w.t.TempDir(), "restored")
	done, err := ship.Restore(context.Background(), w.dir, dir, at, nil)
	if err != nil {
		return nil, done, err
	}
	s := spacetest.Open(w.t, dir)
	defer s.Close()
	if _, is, err := s.Leader(); is || err != nil {
		w.t.Errorf("the restored space is a replica still: %v, %v", is, err)
	}
	return spacetest.ReadDump(w.t, spacetest.BackupOf(w.t, s)), done, nil
}

// Any version that was ever shipped can be restored, by number and by time, and so can the newest
// one: after several Runs, with small segments and several snapshots.
func TestRun_RestoresAnyVersion(t *testing.T) {
	w := newWorld(t, 1)
	var points []everheap.Version
	for range 6 {
		stop := w.shipping(ship.Options{SegmentBytes: 20_000})
		for range 4 {
			points = append(points, w.change(10))
		}
		stop()
		points = append(points, w.change(5)) // while no Run is shipping
	}
	last := w.shipping(ship.Options{SegmentBytes: 1 << 20})()
	for i, v := range points {
		if i%4 != 0 && (testing.Short() || i%3 != 0) {
			continue
		}
		got, done, err := w.restored(ship.At{Version: v})
		spacetest.Must(t, err)
		if done.Version != v {
			t.Errorf("version %d was asked for, and %d restored", v, done.Version)
		}
		spacetest.Same(t, got, w.held[v])
	}
	got, _, err := w.restored(ship.At{})
	spacetest.Must(t, err)
	spacetest.Same(t, got, w.held[last])
	if _, _, err := w.restored(ship.At{Version: last + 1000}); !errors.Is(err, everheap.ErrNotFound) || !strings.Contains(err.Error(), "ends with version") {
		t.Errorf("a version newer than all: %v", err)
	}
	if _, _, err := w.restored(ship.At{Version: 1}); !errors.Is(err, everheap.ErrNotFound) || !strings.Contains(err.Error(), "begins with version") {
		t.Errorf("a version before the first snapshot: %v", err)
	}
	if _, _, err := w.restored(ship.At{Time: time.Now().Add(-time.Hour)}); !errors.Is(err, everheap.ErrNotFound) {
		t.Errorf("a time before the first snapshot: %v", err)
	}
	at := w.times[points[7]].Add(time.Second / 5) // the times of commits are precise to a tenth of a second
	_, done, err := w.restored(ship.At{Time: at})
	spacetest.Must(t, err)
	if done.Time.After(at) {
		t.Errorf("%v was asked for, and version %d of %v restored", at, done.Version, done.Time)
	}
}

// If the space has not kept the missing versions, or has another history, Run begins with a snapshot,
// and the older versions can still be restored.
func TestRun_BeginsAnew(t *testing.T) {
	w := newWorld(t, 3)
	stop := w.shipping(ship.Options{Retain: 4 << 20})
	before := w.change(20)
	stop()
	for range 12 { // more than the space keeps
		spacetest.Must(t, w.space.Update(context.Background(), func(tx *everheap.Tx) error {
			for i := range 100 {
				if err := w.m.Set(tx, i, strings.Repeat(fmt.Sprint(w.r.IntN(10)), 20_000)); err != nil {
					return err
				}
			}
			return nil
		}))
		spacetest.Must(t, w.space.Checkpoint("now"))
		spacetest.Must(t, w.space.DropCheckpoint("now"))
	}
	stop = w.shipping(ship.Options{Retain: 4 << 20})
	after := w.change(20)
	stop()
	snapshots, _ := filepath.Glob(filepath.Join(w.dir, "snapshot-*.backup"))
	if len(snapshots) < 2 {
		t.Errorf("%d snapshots", len(snapshots))
	}
	for _, v := range []everheap.Version{before, after} {
		got, _, err := w.restored(ship.At{Version: v})
		spacetest.Must(t, err)
		spacetest.Same(t, got, w.held[v])
	}
}

// Run removes old snapshots and segments when a newer snapshot is old enough; all versions within the
// age can be restored (SH5).
func TestRun_Prunes(t *testing.T) {
	const keep = 2 * time.Second
	w, m := newWorld(t, 4), &model{sets: map[everheap.Version]set{}}
	o := ship.Options{SegmentBytes: 2000, SnapshotEvery: 50 * time.Millisecond, Keep: keep}
	stop, end := w.shipping(o), m.writers(w, 1)
	for deadline := time.Now().Add(3 * keep); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		w.note()
	}
	end()
	last := stop()
	limit := time.Now().Add(-keep)
	oldest := last
	for v, at := range w.times {
		if at.After(limit) {
			oldest = min(oldest, v)
		}
	}
	if oldest >= last {
		t.Fatalf("no versions within the age")
	}
	for v := oldest; v <= last; v++ {
		if got, _, err := ship.Plan(w.dir, ship.At{Version: v}); err != nil || got != v {
			t.Fatalf("version %d, within the age, would be restored as %d: %v", v, got, err)
		}
	}
	if _, _, err := ship.Plan(w.dir, ship.At{Version: 3}); !errors.Is(err, everheap.ErrNotFound) {
		t.Errorf("version 3 is too old: %v", err)
	}
	for p := range frames(t, w.dir) {
		if p.Version < 5 {
			t.Errorf("the frame after version %d is there still", p.Version)
		}
	}
	m.some(w, 1, last)
}

func init() { spacetest.Children["ship"] = shipChild }

// shipChild ships until it is killed.
func shipChild() int {
	s, err := everheap.Open(os.Getenv("SHIP_SPACE"))
	if err != nil {
		return spacetest.Failed("opening", err)
	}
	every, _ := time.ParseDuration(os.Getenv("SHIP_EVERY")) // 0: as usual
	spacetest.Say("start", 0)
	err = ship.Run(context.Background(), s, os.Getenv("SHIP_DIR"), ship.Options{SegmentBytes: 20_000, SnapshotEvery: every, Report: func(p ship.Progress) { spacetest.Say("shipped", uint64(p.Version)) }})
	return spacetest.Failed("shipping", err)
}

// Run continues where it was, whenever it is killed.
func TestRun_Killed(t *testing.T) {
	w := newWorld(t, 5)
	rounds := 12
	if testing.Short() {
		rounds = 8
	}
	for range rounds {
		c := spacetest.StartChild(t, "ship", "SHIP_SPACE="+w.space.Name(), "SHIP_DIR="+w.dir)
		c.AwaitStart()
		for range w.r.IntN(30) {
			w.change(1)
		}
		time.Sleep(time.Duration(w.r.IntN(120)) * time.Millisecond)
		c.Kill()
	}
	last := w.shipping(ship.Options{})()
	got, done, err := w.restored(ship.At{})
	spacetest.Must(t, err)
	if done.Version < last { // the background may have made a version without changes
		t.Errorf("version %d is restored, want %d", done.Version, last)
	}
	spacetest.Same(t, got, w.held[last])
	for v, want := range w.held {
		if w.r.IntN(len(w.held)/8+1) == 0 && v > 2 {
			got, _, err := w.restored(ship.At{Version: v})
			if errors.Is(err, everheap.ErrNotFound) { // before the first snapshot
				continue
			}
			spacetest.Must(t, err)
			spacetest.Same(t, got, want)
		}
	}
}

// Only one Run at a time can have a directory.
func TestRun_Twice(t *testing.T) {
	w := newWorld(t, 6)
	stop := w.shipping(ship.Options{})
	if err := ship.Run(context.Background(), w.space, w.dir, ship.Options{}); !errors.Is(err, everheap.ErrBusy) && !errors.Is(err, everheap.ErrSelf) {
		t.Errorf("a second Run: %v, want ErrBusy", err)
	}
	stop()
}
