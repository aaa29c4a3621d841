package rewrite

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/spacetest"
	"golang.org/x/sys/unix"
)

// heapOnDisk returns the bytes on disk of a space's heap file, and its length.
func heapOnDisk(t testing.TB, dir string) (disk, length int64) {
	t.Helper()
	info, err := os.Stat(filepath.Join(dir, "heap"))
	spacetest.Must(t, err)
	return info.Sys().(*syscall.Stat_t).Blocks * 512, info.Size()
}

// sparse fills a map with values of many sizes and deletes nine tenths of them, at random. It returns
// the rest.
func sparse(t testing.TB, s *everheap.Space, m everheap.Map[int, string], n int) map[int]string {
	t.Helper()
	left := map[int]string{}
	for from := 0; from < n; from += 1000 {
		spacetest.Update(t, s, func(tx *everheap.Tx) error {
			for i := from; i < from+1000; i++ {
				v := fmt.Sprint(i, strings.Repeat("-", i*7%500))
				if i%500 == 0 {
					v = strings.Repeat(v, 300)
				}
				if err := m.Set(tx, i, v); err != nil {
					return err
				}
				if i%10 == 0 {
					left[i] = v
				}
			}
			return nil
		})
	}
	for from := 0; from < n; from += 1000 {
		spacetest.Update(t, s, func(tx *everheap.Tx) error {
			for i := from; i < from+1000; i++ {
				if i%10 != 0 {
					if _, err := m.Delete(tx, i); err != nil {
						return err
					}
				}
			}
			return nil
		})
	}
	return left
}

// A space of which nine tenths were deleted shrinks to its contents: to whole extents, of which each
// class can have one that is not full.
func TestCompact_ClosedSpaceShrinksToWhatItHolds(t *testing.T) {
	s := spacetest.Scratch(t)
	dir := s.Stats().Dir
	m := spacetest.MapOf[int, string](t, s)
	left := sparse(t, s, m, 30_000)
	st := s.Stats()
	spacetest.Must(t, s.Close())
	before, _ := heapOnDisk(t, dir)

	stats, err := everheap.Compact(context.Background(), dir)
	spacetest.Must(t, err)
	disk, length := heapOnDisk(t, dir)
	most := int64(st.Live) + int64(format.NumClasses+2)*format.ExtentSize + int64(st.Live)/16
	if disk > most || length > int64(format.FirstExtent(st.Window))+most {
		t.Errorf("the heap takes %d bytes of the disk, its length is %d; it holds %d", disk, length, st.Live)
	}
	if before < 4*disk {
		t.Errorf("the heap took %d bytes of the disk before, and takes %d now", before, disk)
	}
	if info, err := everheap.Describe(dir); err != nil || info.Disk != stats.After || stats.Before <= stats.After {
		t.Errorf("the stats are %+v; there are %d bytes (%v)", stats, info.Disk, err)
	}
	t.Logf("%d bytes in %d of the disk; before: %d", st.Live, disk, before)

	s = spacetest.Open(t, dir)
	if now := s.Stats(); now.Version != st.Version || now.Base != st.Base || now.Live > st.Live {
		t.Errorf("the space was %+v and is %+v", st, now)
	}
	m = spacetest.MapOf[int, string](t, s)
	spacetest.Holds(t, s, m, left)
	spacetest.CheckSpace(t, s)
	for i := range 20_000 { // it grows again
		if i%10 != 0 {
			left[i] = fmt.Sprint("new ", i)
			spacetest.Must(t, m.Set(s, i, left[i]))
		}
	}
	spacetest.Holds(t, s, m, left)
	spacetest.Must(t, s.Close())
	_, err = everheap.Compact(context.Background(), dir)
	spacetest.Must(t, err)
	s = spacetest.Open(t, dir)
	spacetest.Holds(t, s, spacetest.MapOf[int, string](t, s), left)
}

// All kinds of values, and checkpoints, survive; checkpoints that share blocks still do.
func TestCompact_ClosedSpaceKeepsAllKindsAndCheckpoints(t *testing.T) {
	s := spacetest.Scratch(t)
	dir := s.Stats().Dir
	spacetest.WriteContents(t, s)
	spacetest.PinContents(t, s)
	before, err := s.Checkpoints()
	spacetest.Must(t, err)
	spacetest.Must(t, s.Close())
	for range 3 { // the second time gains nothing, but must not lose data either
		_, err := everheap.Compact(context.Background(), dir)
		spacetest.Must(t, err)
		s = spacetest.Open(t, dir)
		spacetest.VerifyContents(t, s)
		spacetest.VerifyPinned(t, s)
		after, err := s.Checkpoints()
		spacetest.Must(t, err)
		for i, c := range after {
			if c.Name != before[i].Name || c.Version != before[i].Version || !c.Created.Equal(before[i].Created) || !c.Committed.Equal(before[i].Committed) {
				t.Errorf("the checkpoint %+v became %+v", before[i], c)
			}
			if c.Exclusive > before[i].Exclusive || c.Exclusive+8192 < before[i].Exclusive {
				t.Errorf("the checkpoint %s pinned %d bytes alone, and now %d", c.Name, before[i].Exclusive, c.Exclusive)
			}
		}
		spacetest.CheckSpace(t, s)
		spacetest.Must(t, s.Close())
	}
	s = spacetest.Open(t, dir)
	spacetest.Must(t, s.DropCheckpoint("golden"))
	spacetest.Must(t, s.DropCheckpoint("without words"))
	spacetest.VerifyContents(t, s)
}

// Versions that a restore pins temporarily are not copied.
func TestCompact_RestoredVersionIsLetGo(t *testing.T) {
	s := spacetest.Scratch(t, spacetest.WithoutBackground())
	dir := s.Stats().Dir
	m := spacetest.MapOf[int, string](t, s)
	spacetest.Must(t, m.Set(s, 1, "one"))
	spacetest.Must(t, s.Checkpoint("pin"))
	spacetest.Must(t, m.Set(s, 2, strings.Repeat("large", 100_000)))
	spacetest.Must(t, s.Checkpoint("large"))
	spacetest.Must(t, s.Restore(context.Background(), "pin"))
	spacetest.Must(t, s.Restore(context.Background(), "large"))
	spacetest.Must(t, s.DropCheckpoint("large"))
	spacetest.Must(t, s.Restore(context.Background(), "pin"))
	copied := filepath.Join(t.TempDir(), "copy")
	spacetest.CopySpace(t, dir, copied)
	spacetest.Must(t, s.Close())
	_, err := everheap.Compact(context.Background(), copied)
	spacetest.Must(t, err)
	if disk, _ := heapOnDisk(t, copied); disk > 500_000 {
		t.Errorf("it takes %d bytes", disk)
	}
	s = spacetest.Open(t, copied)
	spacetest.Holds(t, s, spacetest.MapOf[int, string](t, s), map[int]string{1: "one"})
}

// Free extents of an open space are given back, and allocated again when they are used.
func TestCompact_OpenSpaceGivesBackAndTakesAgain(t *testing.T) {
	s := spacetest.Scratch(t)
	dir := s.Stats().Dir
	m := spacetest.MapOf[int, string](t, s)
	left := sparse(t, s, m, 20_000)
	large := map[int]string{}
	for i := range 40 { // extents that become free as a whole
		large[-i-1] = strings.Repeat(fmt.Sprint(i), 200_000)
		spacetest.Must(t, m.Set(s, -i-1, large[-i-1]))
	}
	for i := range 40 {
		_, err := m.Delete(s, -i-1)
		spacetest.Must(t, err)
	}
	before, length := heapOnDisk(t, dir)
	stats, err := s.Compact(context.Background())
	spacetest.Must(t, err)
	disk, lengthNow := heapOnDisk(t, dir)
	if before-disk < 40*200_000 || lengthNow < length || lengthNow > length+1<<20 { // by a step, if free blocks are in transit
		t.Errorf("the heap took %d bytes of %d, and takes %d of %d now", before, length, disk, lengthNow)
	}
	if stats.Before < uint64(before) || stats.After < uint64(disk) || stats.After > stats.Before+16<<20 { // this includes the journal
		t.Errorf("the stats are %+v", stats)
	}
	t.Logf("%d bytes of the disk became %d; the version holds %d", before, disk, s.Stats().Live)
	spacetest.Holds(t, s, m, left)
	spacetest.CheckSpace(t, s)
	used := s.Stats().Used
	for k, v := range large {
		spacetest.Must(t, m.Set(s, k, v))
		left[k] = v
	}
	if now := s.Stats().Used; now > used+4<<20 { // some rows of holes are too short
		t.Errorf("%d bytes were in use and %d are, although there were holes", used, now)
	}
	spacetest.Holds(t, s, m, left)
	spacetest.Must(t, s.Close())
	s = spacetest.Open(t, dir)
	spacetest.Holds(t, s, spacetest.MapOf[int, string](t, s), left)
	if _, err := s.Compact(context.Background()); err != nil {
		t.Error(err)
	}
	spacetest.Update(t, s, func(*everheap.Tx) error {
		if _, err := s.Compact(context.Background()); !errors.Is(err, everheap.ErrSelf) {
			t.Errorf("inside an Update: %v", err)
		}
		return nil
	})
	spacetest.Must(t, s.Close())
	if _, err := s.Compact(context.Background()); !errors.Is(err, everheap.ErrClosed) {
		t.Errorf("closed: %v", err)
	}
	reading := spacetest.Open(t, dir, everheap.WithReadOnly())
	if _, err := reading.Compact(context.Background()); !errors.Is(err, everheap.ErrReadOnly) {
		t.Errorf("read-only: %v", err)
	}
}

// The same on a disk that is full: a file system of a few megabytes.
func TestCompact_HolesOnSmallFileSystem(t *testing.T) {
	mount := t.TempDir()
	if err := unix.Mount("tmpfs", mount, "tmpfs", 0, "size=24m"); err != nil {
		t.Skipf("a small tmpfs cannot be mounted here: %v", err)
	}
	defer unix.Unmount(mount, unix.MNT_DETACH)
	dir := filepath.Join(mount, "s")
	s, err := everheap.Open(dir, everheap.WithMaxSize(spacetest.Small))
	spacetest.Must(t, err)
	defer s.Close()
	m := spacetest.MapOf[int, string](t, s)
	large := strings.Repeat("x", 1<<20)
	for i := range 8 {
		spacetest.Must(t, m.Set(s, i, large))
	}
	for i := range 8 {
		_, err := m.Delete(s, i)
		spacetest.Must(t, err)
	}
	stats, err := s.Compact(context.Background())
	spacetest.Must(t, err)
	if stats.Before < stats.After+8<<20 {
		t.Errorf("%+v", stats)
	}
	filler := filepath.Join(mount, "filler")
	f, err := os.Create(filler)
	spacetest.Must(t, err)
	defer f.Close()
	for err == nil { // to the last byte
		_, err = f.Write(make([]byte, 4096))
	}
	full := 0
	for i := range 8 {
		err := m.Set(s, i, large)
		if err != nil && !errors.Is(err, everheap.ErrNoSpace) {
			t.Fatal(err)
		}
		if err != nil {
			full++
		}
	}
	if full == 0 {
		t.Error("the disk was not full")
	}
	spacetest.Must(t, f.Truncate(0))
	for i := range 4 {
		spacetest.Must(t, m.Set(s, i, large))
	}
	spacetest.CheckSpace(t, s)
}

// A space that is compacted again and again does not grow, neither on disk nor in
// addresses: its holes are used, and giving them back takes none.
func TestCompact_AgainAndAgain(t *testing.T) {
	s := spacetest.Scratch(t)
	dir := s.Stats().Dir
	m := spacetest.MapOf[int, string](t, s)
	var settled uint64
	for i := range 140 {
		spacetest.Must(t, m.Set(s, i%40, strings.Repeat("x", 100_000+i%7*100_000)))
		_, err := s.Compact(context.Background())
		spacetest.Must(t, err)
		if i == 79 {
			settled = s.Stats().Used
		}
	}
	st := s.Stats()
	disk, _ := heapOnDisk(t, dir)
	if st.Used > settled+8<<20 || uint64(disk) > st.Live+4<<20 {
		t.Errorf("%d bytes are used, and were %d after 80 rounds; %d of the disk are taken for %d", st.Used, settled, disk, st.Live)
	}
}

// Processes and goroutines write while a space is compacted again and again: all make progress, and
// no entry is lost.
func TestCompact_BesideWriters(t *testing.T) {
	spacetest.Rounds(t, 1, func(t *testing.T, r *rand.Rand) {
		f := spacetest.NewFleet(t, r, 3, "")
		for id, work := range map[int]string{2: "reopen", 3: "compact reopen"} {
			f.Kill(id)
			f.Start(id, work)
			f.Arrive(id)
		}
		for i := range spacetest.Scaled(16) {
			time.Sleep(time.Duration(r.IntN(80)) * time.Millisecond)
			if _, err := f.Space.Compact(context.Background()); err != nil {
				t.Fatal(err)
			}
			f.Progress(time.Now())
			if i%4 == 3 {
				f.Verify()
				id := 1 + r.IntN(3)
				f.Kill(id)
				f.Restart(id)
			}
			if i%8 == 7 { // power is lost
				f.Everybody(true)
				spacetest.Must(t, os.Remove(filepath.Join(f.Dir, "live")))
				f.Open()
				f.Forget()
				f.Restart(spacetest.Ids(3)...)
			}
		}
		f.Everybody(false)
		f.Verify()
	})
}
