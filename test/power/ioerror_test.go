package power

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/internal/faultdisk"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/spacetest"
)

func init() {
	spacetest.Children["broken"] = brokenChild
	spacetest.Children["healer"] = healerChild
}

// brokenChild makes durable commits until a line names a file whose next sync will fail. Then commits
// must be refused, and reads must work.
func brokenChild() int {
	c := spacetest.NewInChild()
	disk := faultdisk.New()
	s, err := c.Open(spacetest.WithFiles(disk.OpenFile), everheap.WithDurability(everheap.Durable), spacetest.WithAnchorInterval(50*time.Millisecond))
	if err != nil {
		return spacetest.Failed("open", err)
	}
	m, err := everheap.OpenMap[string, uint64](s, "m")
	if err != nil {
		return spacetest.Failed("open", err)
	}
	spacetest.Say("ready")
	n := uint64(0)
	for err == nil {
		select {
		case file := <-c.Asked:
			disk.Fail(faultdisk.Rule{Ops: []faultdisk.Op{faultdisk.Sync}, Files: []string{file}, Once: true, Err: syscall.EIO})
		default:
		}
		if err = m.Set(s, "child", n+1); err == nil {
			n++
			spacetest.Ack(n)
		}
	}
	if !errors.Is(err, everheap.ErrIO) {
		return spacetest.Failed("a commit", err)
	}
	if v, err := m.Get(s, "child"); err != nil || v < n || v > n+1 {
		return spacetest.Failed("reading after the failure", fmt.Errorf("%d (%v), want %d", v, err, n))
	}
	spacetest.Say("refused")
	<-c.Asked
	_ = s.Close() // an error if it committed something that is not durable
	return 0
}

// The sync of one process fails: all processes are refused to write, and can read, until a process
// opens the space alone.
func TestErrIO_AllProcesses(t *testing.T) {
	for _, file := range []string{"journal", "heap"} {
		t.Run(file, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "s")
			s, err := everheap.Open(dir, everheap.WithMaxSize(spacetest.TestWindow), everheap.WithDurability(everheap.Durable))
			spacetest.Must(t, err)
			m, err := everheap.OpenMap[string, uint64](s, "m")
			spacetest.Must(t, err)
			child := spacetest.StartChild(t, "broken", spacetest.Env(dir, 1, "", 1)...)
			child.AwaitLine("ready")
			child.Await("commits", func() bool { return child.Acked.Load() > 3 })
			n := uint64(1)
			spacetest.Must(t, m.Set(s, "parent", n))
			child.Tell(file)
			for began := time.Now(); err == nil && time.Since(began) < spacetest.Patience; {
				if err = m.Set(s, "parent", n+1); err == nil {
					n++
				}
			}
			spacetest.ExpectError(t, err, everheap.ErrIO, "opened again")
			child.AwaitLine("refused")
			reads := func(s *everheap.Space, m everheap.Map[string, uint64]) {
				t.Helper()
				if v, err := m.Get(s, "parent"); err != nil || v < n || v > n+1 {
					t.Errorf("read %d (%v), want %d", v, err, n)
				}
				if v, err := m.Get(s, "child"); err != nil || v < child.Acked.Load() {
					t.Errorf("read %d (%v), the child was told of %d", v, err, child.Acked.Load())
				}
			}
			reads(s, m)
			if !s.Stats().Failed {
				t.Error("the statistics do not show the failure")
			}
			spacetest.ExpectError(t, s.Sync(context.Background()), everheap.ErrIO)
			_ = s.Close()

			s, err = everheap.Open(dir) // the child still has it open
			spacetest.Must(t, err)
			reads(s, m)
			spacetest.ExpectError(t, m.Set(s, "parent", 0), everheap.ErrIO)
			_ = s.Close()
			reader, err := everheap.Open(dir, everheap.WithReadOnly())
			spacetest.Must(t, err)
			reads(reader, m)
			spacetest.CheckSpace(t, reader)
			spacetest.Must(t, reader.Close())
			child.Tell("quit")
			child.Await("its end", child.Gone)

			s, err = everheap.Open(dir)
			spacetest.Must(t, err)
			reads(s, m)
			if s.Stats().Failed {
				t.Error("opened alone, it is not healed")
			}
			spacetest.Must(t, m.Set(s, "parent", n+10))
			spacetest.Must(t, s.Sync(context.Background()))
			spacetest.CheckSpace(t, s)
			spacetest.Must(t, s.Close())
			spacetest.Must(t, os.Remove(filepath.Join(dir, "live")))
			s = spacetest.Open(t, dir)
			if v, err := m.Get(s, "parent"); err != nil || v != n+10 {
				t.Errorf("read %d (%v), want %d", v, err, n+10)
			}
		})
	}
}

// healerChild opens a failed space, and dies in the sync that the task names.
func healerChild() int {
	c := spacetest.NewInChild()
	var after int
	if _, err := fmt.Sscan(c.Work, &after); err != nil {
		return spacetest.Failed("the task", err)
	}
	disk := faultdisk.New()
	disk.Fail(faultdisk.Rule{Ops: []faultdisk.Op{faultdisk.Sync}, After: after, Err: syscall.EIO, Failing: func(faultdisk.Call) {
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		time.Sleep(spacetest.Patience)
	}})
	s, err := c.Open(spacetest.WithFiles(disk.OpenFile), spacetest.WithoutBackground())
	if err != nil {
		return spacetest.Failed("open", err)
	}
	spacetest.Say("opened", after)
	if err := s.Close(); err != nil {
		return spacetest.Failed("close", err)
	}
	return 0
}

// The mark of failure stays until all data are on disk, whenever the healing process dies.
func TestErrIO_HealerDies(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "s")
	disk := faultdisk.New()
	fail := func() {
		s, err := everheap.Open(dir, everheap.WithMaxSize(spacetest.TestWindow), spacetest.WithFiles(disk.OpenFile), spacetest.WithoutBackground())
		spacetest.Must(t, err)
		m, err := everheap.OpenMap[string, uint64](s, "m")
		spacetest.Must(t, err)
		spacetest.Must(t, m.Set(s, "x", 1))
		spacetest.Must(t, s.Sync(context.Background()))
		spacetest.Must(t, m.Set(s, "x", 2))
		disk.Fail(faultdisk.Rule{Ops: []faultdisk.Op{faultdisk.Sync}, Once: true, Err: syscall.EIO})
		spacetest.ExpectError(t, s.Sync(context.Background()), everheap.ErrIO)
		spacetest.ExpectError(t, s.Close(), everheap.ErrIO)
		disk.Repair()
	}
	fail()
	for after := 0; ; after++ {
		child := spacetest.StartChild(t, "healer", spacetest.Env(dir, 1, fmt.Sprint(after), 1)...)
		child.Await("its end", child.Gone)
		if child.Heard("opened") > 0 {
			if after < 3 {
				t.Errorf("healing has %d syncs only", after)
			}
			break
		}
		if !failedMark(t, dir) {
			t.Errorf("the healer has died in sync %d, and the mark is gone", after)
			fail()
		}
	}
	if failedMark(t, dir) {
		t.Error("it is healed, and the mark is still there")
	}
	s := spacetest.Open(t, dir)
	m := spacetest.MapOf[string, uint64](t, s)
	if v, err := m.Get(s, "x"); err != nil || v != 2 {
		t.Errorf("%d (%v)", v, err)
	}
}

// failedMark reads the mark of failure from the live file.
func failedMark(t *testing.T, dir string) bool {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, "live"))
	spacetest.Must(t, err)
	return binary.LittleEndian.Uint64(b[unsafe.Offsetof(format.Live{}.Failed):]) != 0
}
