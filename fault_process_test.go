package everheap_test

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
)

func init() {
	children["broken"] = brokenChild
	children["healer"] = healerChild
}

// brokenChild makes durable commits until a line names a file whose next sync is to
// fail. Then it must be refused, and reads go on.
func brokenChild() int {
	c := newInChild()
	disk := faultdisk.New()
	s, err := c.open(everheap.WithFiles(disk.OpenFile), everheap.WithDurability(everheap.Durable), everheap.WithAnchorInterval(50*time.Millisecond))
	if err != nil {
		return failed("open", err)
	}
	m, err := everheap.OpenMap[string, uint64](s, "m")
	if err != nil {
		return failed("open", err)
	}
	say("ready")
	n := uint64(0)
	for err == nil {
		select {
		case file := <-c.asked:
			disk.Fail(faultdisk.Rule{Ops: []faultdisk.Op{faultdisk.Sync}, Files: []string{file}, Once: true, Err: syscall.EIO})
		default:
		}
		if err = m.Set(s, "child", n+1); err == nil {
			n++
			ack(n)
		}
	}
	if !errors.Is(err, everheap.ErrIO) {
		return failed("a commit", err)
	}
	if v, err := m.Get(s, "child"); err != nil || v < n || v > n+1 {
		return failed("reading after the failure", fmt.Errorf("%d (%v), want %d", v, err, n))
	}
	say("refused")
	<-c.asked
	_ = s.Close() // an error if it committed something that is not durable
	return 0
}

// One process is told that its sync has failed: all are refused, and read, until the
// space is opened by one that has it for itself.
func TestErrIO_AllProcesses(t *testing.T) {
	for _, file := range []string{"journal", "heap"} {
		t.Run(file, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "s")
			s, err := everheap.Open(dir, everheap.WithMaxSize(testWindow), everheap.WithDurability(everheap.Durable))
			must(t, err)
			m, err := everheap.OpenMap[string, uint64](s, "m")
			must(t, err)
			child := startChild(t, "broken", env(dir, 1, "", 1)...)
			child.awaitLine("ready")
			child.await("commits", func() bool { return child.acked.Load() > 3 })
			n := uint64(1)
			must(t, m.Set(s, "parent", n))
			child.tell(file)
			for began := time.Now(); err == nil && time.Since(began) < patience; {
				if err = m.Set(s, "parent", n+1); err == nil {
					n++
				}
			}
			expectError(t, err, everheap.ErrIO, "opened again")
			child.awaitLine("refused")
			reads := func(s *everheap.Space, m everheap.Map[string, uint64]) {
				t.Helper()
				if v, err := m.Get(s, "parent"); err != nil || v < n || v > n+1 {
					t.Errorf("read %d (%v), want %d", v, err, n)
				}
				if v, err := m.Get(s, "child"); err != nil || v < child.acked.Load() {
					t.Errorf("read %d (%v), the child was told of %d", v, err, child.acked.Load())
				}
			}
			reads(s, m)
			if !s.Stats().Failed {
				t.Error("the statistics do not show the failure")
			}
			expectError(t, s.Sync(context.Background()), everheap.ErrIO)
			_ = s.Close()

			s, err = everheap.Open(dir) // the child has it still
			must(t, err)
			reads(s, m)
			expectError(t, m.Set(s, "parent", 0), everheap.ErrIO)
			_ = s.Close()
			reader, err := everheap.Open(dir, everheap.WithReadOnly())
			must(t, err)
			reads(reader, m)
			checkSpace(t, reader)
			must(t, reader.Close())
			child.tell("quit")
			child.await("its end", child.gone)

			s, err = everheap.Open(dir)
			must(t, err)
			reads(s, m)
			if s.Stats().Failed {
				t.Error("opened alone, it is not healed")
			}
			must(t, m.Set(s, "parent", n+10))
			must(t, s.Sync(context.Background()))
			checkSpace(t, s)
			must(t, s.Close())
			must(t, os.Remove(filepath.Join(dir, "live")))
			s = open(t, dir)
			if v, err := m.Get(s, "parent"); err != nil || v != n+10 {
				t.Errorf("read %d (%v), want %d", v, err, n+10)
			}
		})
	}
}

// healerChild opens a space that has failed, and dies in the sync that the task says.
func healerChild() int {
	c := newInChild()
	var after int
	if _, err := fmt.Sscan(c.work, &after); err != nil {
		return failed("the task", err)
	}
	disk := faultdisk.New()
	disk.Fail(faultdisk.Rule{Ops: []faultdisk.Op{faultdisk.Sync}, After: after, Err: syscall.EIO, Failing: func(faultdisk.Call) {
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		time.Sleep(patience)
	}})
	s, err := c.open(everheap.WithFiles(disk.OpenFile), everheap.WithoutBackground())
	if err != nil {
		return failed("open", err)
	}
	say("opened", after)
	if err := s.Close(); err != nil {
		return failed("close", err)
	}
	return 0
}

// The mark of failure stays until all is on disk, whenever the healer dies.
func TestErrIO_HealerDies(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "s")
	disk := faultdisk.New()
	fail := func() {
		s, err := everheap.Open(dir, everheap.WithMaxSize(testWindow), everheap.WithFiles(disk.OpenFile), everheap.WithoutBackground())
		must(t, err)
		m, err := everheap.OpenMap[string, uint64](s, "m")
		must(t, err)
		must(t, m.Set(s, "x", 1))
		must(t, s.Sync(context.Background()))
		must(t, m.Set(s, "x", 2))
		disk.Fail(faultdisk.Rule{Ops: []faultdisk.Op{faultdisk.Sync}, Once: true, Err: syscall.EIO})
		expectError(t, s.Sync(context.Background()), everheap.ErrIO)
		expectError(t, s.Close(), everheap.ErrIO)
		disk.Repair()
	}
	fail()
	for after := 0; ; after++ {
		child := startChild(t, "healer", env(dir, 1, fmt.Sprint(after), 1)...)
		child.await("its end", child.gone)
		if child.heard("opened") > 0 {
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
	s := open(t, dir)
	m := mapOf[string, uint64](t, s)
	if v, err := m.Get(s, "x"); err != nil || v != 2 {
		t.Errorf("%d (%v)", v, err)
	}
}

// failedMark reads the mark of failure from the live file.
func failedMark(t *testing.T, dir string) bool {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, "live"))
	must(t, err)
	return binary.LittleEndian.Uint64(b[unsafe.Offsetof(format.Live{}.Failed):]) != 0
}
