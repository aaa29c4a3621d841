package power

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/internal/spacetest"
)

// A fullPlace is a place that becomes full: a window of the smallest size, or a disk.
type fullPlace struct {
	name string
	dir  func(t *testing.T) string
	opts []everheap.Option
}

var fullPlaces = []fullPlace{
	{"window", func(t *testing.T) string { return filepath.Join(spacetest.MemoryDir(t), "s") }, // syncs do not matter here
		[]everheap.Option{everheap.WithMaxSize(64 << 20)}},
	{"disk", func(t *testing.T) string { return filepath.Join(smallDisk(t, 20<<20), "s") }, nil},
}

// smallDisk mounts a file system of a size until the end of the test.
func smallDisk(t *testing.T, bytes int) string {
	t.Helper()
	dir := t.TempDir()
	if os.Geteuid() != 0 {
		t.Skip("only root can mount a small file system")
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprint("size=", bytes)); err != nil {
		t.Skipf("no small file system can be mounted here: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Errorf("unmounting: %v", err)
		}
	})
	return dir
}

// full runs a test in every place.
func full(t *testing.T, test func(t *testing.T, dir string, opts ...everheap.Option)) {
	for _, p := range fullPlaces {
		t.Run(p.name, func(t *testing.T) { test(t, p.dir(t), p.opts...) })
	}
}

// fillUp stores values, of fewer and fewer bytes, until no more can be stored, and returns their
// number.
func fillUp(t *testing.T, s *everheap.Space, m everheap.Map[int, string]) (n int) {
	t.Helper()
	for _, size := range []int{5000, 1000, 200, 0} {
		var err error
		for ; err == nil; n++ {
			if err = s.Update(context.Background(), func(tx *everheap.Tx) error {
				return m.Set(tx, n, strings.Repeat("x", size))
			}); err != nil {
				break
			}
		}
		if !errors.Is(err, everheap.ErrNoSpace) {
			t.Fatalf("after %d entries: %v", n, err)
		}
	}
	return n
}

// remove removes entries in one Update, which must succeed.
func remove(t *testing.T, s *everheap.Space, m everheap.Map[int, string], from, to int) {
	t.Helper()
	spacetest.Update(t, s, func(tx *everheap.Tx) error {
		for i := from; i < to; i++ {
			if ok, err := m.Delete(tx, i); err != nil || !ok {
				return fmt.Errorf("deleting %d: %v, %w", i, ok, err)
			}
		}
		return nil
	})
}

// When no more can be stored, all entries can be removed, at the first try, one by one and many at
// once; and then there is space again.
func TestFull_RemovingWorks(t *testing.T) { // RV2
	full(t, func(t *testing.T, dir string, opts ...everheap.Option) {
		s := spacetest.Open(t, dir, opts...)
		m := spacetest.MapOf[int, string](t, s)
		n := fillUp(t, s, m)
		if ok, err := m.Delete(s, 0); err != nil || !ok {
			t.Fatalf("the first delete: %v, %v", ok, err)
		}
		remove(t, s, m, 1, 1001)
		for i := 1001; i < n; i++ {
			if ok, err := m.Delete(s, i); err != nil || !ok {
				t.Fatalf("deleting %d of %d: %v, %v", i, n, ok, err)
			}
		}
		if again := fillUp(t, s, m); again < n*3/4 {
			t.Errorf("%d entries, then %d", n, again)
		}
	})
}

// Everything is removed in one Update.
func TestFull_RemovingAllAtOnce(t *testing.T) { // RV4
	full(t, func(t *testing.T, dir string, opts ...everheap.Option) {
		s := spacetest.Open(t, dir, opts...)
		m := spacetest.MapOf[int, string](t, s)
		n := fillUp(t, s, m)
		remove(t, s, m, 0, n)
		spacetest.Must(t, m.Set(s, 0, strings.Repeat("y", 100_000)))
	})
}

// A program can remove the oldest entries whenever there is no space, for ever: the freed blocks
// refill the reserve that removing used.
func TestFull_Eviction(t *testing.T) { // RV3
	full(t, func(t *testing.T, dir string, opts ...everheap.Option) {
		s := spacetest.Open(t, dir, opts...)
		m := spacetest.MapOf[int, string](t, s)
		first, next := 0, fillUp(t, s, m)
		size := []int{10, 30, 90, 250, 300, 1000}
		for range spacetest.Scaled(4_000) {
			err := m.Set(s, next, strings.Repeat("z", size[next%len(size)]))
			if err == nil {
				next++
				continue
			}
			if !errors.Is(err, everheap.ErrNoSpace) {
				t.Fatal(err)
			}
			for range 2 {
				if ok, err := m.Delete(s, first); err != nil || !ok {
					t.Fatalf("deleting %d, of %d to %d: %v, %v", first, first, next, ok, err)
				}
				first++
			}
		}
		t.Logf("entries %d to %d", first, next)
	})
}

// A transaction that both removes and stores succeeds as long as it leaves less than before.
func TestFull_RemovingMoreThanStoring(t *testing.T) { // RV4
	full(t, func(t *testing.T, dir string, opts ...everheap.Option) {
		s := spacetest.Open(t, dir, opts...)
		m := spacetest.MapOf[int, string](t, s)
		n := fillUp(t, s, m)
		spacetest.Update(t, s, func(tx *everheap.Tx) error {
			for i := range 1000 {
				if _, err := m.Delete(tx, i); err != nil {
					return err
				}
			}
			return m.Set(tx, n, "the one that came last")
		})
	})
}

// Lists and sorted maps can be cut down as well.
func TestFull_ListsAndSorted(t *testing.T) {
	full(t, func(t *testing.T, dir string, opts ...everheap.Option) {
		s := spacetest.Open(t, dir, opts...)
		m := spacetest.MapOf[int, string](t, s)
		list, err := everheap.OpenList[string](s, "list")
		spacetest.Must(t, err)
		sorted, err := everheap.OpenSorted[string, int](s, "sorted")
		spacetest.Must(t, err)
		spacetest.Update(t, s, func(tx *everheap.Tx) error {
			for i := range 3000 {
				if err := list.Append(tx, fmt.Sprint(i)); err != nil {
					return err
				}
				if err := sorted.Set(tx, fmt.Sprint(i), i); err != nil {
					return err
				}
			}
			return nil
		})
		fillUp(t, s, m)
		for i := range 300 {
			if _, err := list.Pop(s); err != nil {
				t.Fatalf("pop %d: %v", i, err)
			}
			if _, err := sorted.Delete(s, fmt.Sprint(i)); err != nil {
				t.Fatalf("delete %d: %v", i, err)
			}
		}
		spacetest.Must(t, list.Truncate(s, 0))
		spacetest.Update(t, s, func(tx *everheap.Tx) error {
			for i := 300; i < 3000; i++ {
				if _, err := sorted.Delete(tx, fmt.Sprint(i)); err != nil {
					return err
				}
			}
			return nil
		})
	})
}

// A checkpoint keeps all blocks, so that removing frees none: the error says so. The checkpoint can
// be dropped even if all else fails, and then there is space at once.
func TestFull_CheckpointKeepsEverything(t *testing.T) { // RV5
	full(t, func(t *testing.T, dir string, opts ...everheap.Option) {
		s := spacetest.Open(t, dir, opts...)
		m := spacetest.MapOf[int, string](t, s)
		kept := 0
		for size := 5000; s.Stats().Live < 6<<20; kept++ {
			spacetest.Must(t, m.Set(s, -kept-1, strings.Repeat("k", size)))
		}
		spacetest.Must(t, s.Checkpoint("keeps"))
		n := fillUp(t, s, m)
		var err error
		removed := 0
		for ; removed < kept && err == nil; removed++ {
			_, err = m.Delete(s, -removed-1)
		}
		if err != nil && (removed < 500 || !errors.Is(err, everheap.ErrNoSpace)) {
			t.Errorf("%d could be removed: %v", removed, err)
		}
		err = m.Set(s, n, strings.Repeat("y", 300_000))
		if !errors.Is(err, everheap.ErrNoSpace) || !strings.Contains(err.Error(), `dropping the checkpoint "keeps", which alone keeps `) {
			t.Errorf("with a checkpoint: %v", err)
		}
		spacetest.Must(t, s.DropCheckpoint("keeps"))
		spacetest.Must(t, m.Set(s, n, strings.Repeat("y", 300_000)))
		remove(t, s, m, 0, n-1)
	})
}

// The same while sweeps run: a sweep that began before the drop holds a version that lists the
// checkpoint.
func TestFull_DropBesideSweeps(t *testing.T) { // RV7
	full(t, func(t *testing.T, dir string, opts ...everheap.Option) {
		s := spacetest.Open(t, dir, opts...)
		m := spacetest.MapOf[int, string](t, s)
		for range 2 {
			kept := 0
			for was := s.Stats().Live; s.Stats().Live < was+6<<20; kept++ {
				spacetest.Must(t, m.Set(s, -kept-1, strings.Repeat("k", 5000)))
			}
			spacetest.Must(t, s.Checkpoint("keeps"))
			n := fillUp(t, s, m)
			var over atomic.Bool
			var sweeps sync.WaitGroup
			sweeps.Go(func() {
				for !over.Load() {
					if err := spacetest.Sweep(s); err != nil {
						t.Errorf("sweeping: %v", err)
					}
				}
			})
			var err error
			for i := 0; i < kept && err == nil; i++ {
				_, err = m.Delete(s, -i-1)
			}
			if err == nil {
				err = s.DropCheckpoint("keeps")
			}
			if err == nil {
				err = m.Set(s, n, strings.Repeat("y", 300_000))
			}
			over.Store(true)
			sweeps.Wait()
			spacetest.Must(t, err)
			remove(t, s, m, 0, n+1)
		}
	})
}

// A full space is closed, and opened again, with and without its live file; it works as before.
func TestFull_CloseAndOpen(t *testing.T) { // RV6
	full(t, func(t *testing.T, dir string, opts ...everheap.Option) {
		opts = append([]everheap.Option{everheap.WithDurability(everheap.Durable)}, opts...)
		s := spacetest.Open(t, dir, opts...)
		m := spacetest.MapOf[int, string](t, s)
		fillUp(t, s, m)
		next := 0
		for _, lost := range []bool{false, true, false, true} {
			spacetest.Must(t, s.Close())
			if lost {
				spacetest.Must(t, os.Remove(filepath.Join(dir, "live")))
			}
			var err error
			s, err = everheap.Open(dir, opts...)
			spacetest.Must(t, err)
			m = spacetest.MapOf[int, string](t, s)
			if ok, err := m.Delete(s, next); err != nil || !ok {
				t.Fatalf("deleting: %v, %v", ok, err)
			}
			remove(t, s, m, next+1, next+200)
			next += 200
			spacetest.Must(t, s.Sync(context.Background()))
			_, err = s.Collect(context.Background())
			spacetest.Must(t, err)
			spacetest.CheckSpace(t, s)
		}
		spacetest.Must(t, s.Close())
	})
}

// Other processes fill the space, and are killed: the first call that needs space finds their blocks.
func TestFull_AfterOthersWereKilled(t *testing.T) {
	full(t, func(t *testing.T, dir string, opts ...everheap.Option) {
		s := spacetest.Open(t, dir, opts...)
		m := spacetest.MapOf[int, string](t, s)
		for round := range 3 {
			c := spacetest.StartChild(t, "filler", spacetest.Env(dir, round, "", uint64(round))...)
			c.AwaitLong("full")
			c.Kill()
			n, err := m.Len(s)
			spacetest.Must(t, err)
			spacetest.Update(t, s, func(tx *everheap.Tx) error {
				var keys []int
				for k := range m.All(tx) {
					if keys = append(keys, k); len(keys) == n/2 {
						break
					}
				}
				for _, k := range keys {
					if _, err := m.Delete(tx, k); err != nil {
						return err
					}
				}
				return nil
			})
			spacetest.Must(t, m.Set(s, -1, strings.Repeat("y", 1000)))
		}
	})
}

func init() { spacetest.Children["filler"] = fillerChild }

// fillerChild stores until no more can be stored, says so, and waits.
func fillerChild() int {
	c := spacetest.NewInChild()
	s, err := c.Open()
	if err != nil {
		return spacetest.Failed("open", err)
	}
	m, err := everheap.OpenMap[int, string](s, "m")
	if err != nil {
		return spacetest.Failed("open", err)
	}
	for i, size := 0, 1000; size > 0; i++ {
		switch err := m.Set(s, c.Rng.Int(), strings.Repeat("f", size)); {
		case errors.Is(err, everheap.ErrNoSpace):
			size /= 4
		case err != nil:
			return spacetest.Failed("set", err)
		}
	}
	spacetest.Say("full")
	<-c.Asked
	return 0
}

// A collection works in a full space.
func TestFull_Collection(t *testing.T) {
	full(t, func(t *testing.T, dir string, opts ...everheap.Option) {
		s := spacetest.Open(t, dir, append([]everheap.Option{everheap.WithoutCollect()}, opts...)...)
		m := spacetest.MapOf[int, string](t, s)
		spacetest.Update(t, s, func(tx *everheap.Tx) error {
			for i := range 500 {
				if _, err := everheap.New(tx, strings.Repeat("g", i)); err != nil {
					return err
				}
			}
			return nil
		})
		fillUp(t, s, m)
		stats, err := s.Collect(context.Background())
		spacetest.Must(t, err)
		if stats.Dropped < 500 {
			t.Errorf("%d objects were collected", stats.Dropped)
		}
	})
}
