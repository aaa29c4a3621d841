package spacefile_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/mapping"
	"github.com/everheap/everheap/internal/oslock"
	"github.com/everheap/everheap/internal/spacefile"
)

// lockedByOthers reports whether a description other than that of f has a lock.
func lockedByOthers(t *testing.T, f *os.File, lock int64) bool {
	t.Helper()
	held, err := oslock.HeldByOther(f, lock)
	if err != nil {
		t.Fatal(err)
	}
	return held
}

// The gate is a lock on the heap file that was opened, whatever its name names now. It has a
// description of its own: so the description with the other locks sees it as a foreign lock,
// and releasing the gate releases no other lock.
func TestGate_OfTheOpenFile(t *testing.T) { // K7
	dir := create(t, spacefile.Creation{MaxSize: 64 << 20})
	d, other := opened(t, dir, mapping.FileID{}), opened(t, dir, mapping.FileID{})
	if ok, err := d.Presence(true); !ok || err != nil {
		t.Fatalf("%v: %v", ok, err)
	}
	heap := filepath.Join(dir, spacefile.HeapName)
	for _, step := range []struct {
		name   string
		change func() error
	}{
		{"in its place", func() error { return nil }},
		{"replaced", func() error {
			return errors.Join(os.Rename(heap, heap+".away"), os.WriteFile(heap, []byte("another file"), 0o600))
		}},
		{"removed", func() error { return errors.Join(os.Remove(heap+".away"), os.Remove(heap)) }},
	} {
		if err := step.change(); err != nil {
			t.Fatal(err)
		}
		for name, take := range map[string]func() (*os.File, error){
			"TakeGate":  func() (*os.File, error) { return d.TakeGate(context.Background(), false) },
			"GateAtEnd": d.GateAtEnd,
		} {
			gate, err := take()
			if err != nil {
				t.Fatalf("%s, %s: %v", step.name, name, err)
			}
			if !lockedByOthers(t, d.Locks, format.LockGate) || !lockedByOthers(t, other.Locks, format.LockGate) {
				t.Errorf("%s, %s: the gate of the open file is free", step.name, name)
			}
			spacefile.CloseLocks(gate)
			if lockedByOthers(t, other.Locks, format.LockGate) {
				t.Errorf("%s, %s: the gate was released, and is still taken", step.name, name)
			}
			if !lockedByOthers(t, other.Locks, format.LockPresence) {
				t.Errorf("%s, %s: presence was released with the gate", step.name, name)
			}
		}
	}
}

// descriptors counts the descriptors that this process has of a file.
func descriptors(t *testing.T, path string) (n int) {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range list {
		if to, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil && strings.HasPrefix(to, path) {
			n++
		}
	}
	return n
}

// A process that gives up waiting for the gate leaves a sleeper behind. The sleeper holds
// none of the process's other locks: they are free as soon as their file is closed.
func TestGate_SleeperKeepsNoOtherLock(t *testing.T) { // OL5
	dir := create(t, spacefile.Creation{MaxSize: 64 << 20})
	holder := opened(t, dir, mapping.FileID{})
	gate, err := holder.TakeGate(context.Background(), false)
	if err != nil {
		t.Fatal(err)
	}
	d, err := spacefile.OpenDir(dir, mapping.FileID{}, spacefile.System{})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if _, err := d.OpenLocks(false); err != nil {
		t.Fatal(err)
	}
	if ok, err := d.Presence(true); !ok || err != nil {
		t.Fatalf("%v: %v", ok, err)
	}
	before := descriptors(t, holder.Locks.Name())
	for descriptors(t, holder.Locks.Name()) == before { // a context may end before the wait begins: then there is no sleeper yet
		ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
		if f, err := d.TakeGate(ctx, false); !errors.Is(err, spacefile.ErrBusy) {
			t.Fatalf("%v: %v", f, err)
		}
		cancel()
	}
	d.Locks.Close()
	if lockedByOthers(t, holder.Locks, format.LockPresence) {
		t.Error("the sleeper holds presence after the process has closed its file")
	}
	spacefile.CloseLocks(gate)
	for descriptors(t, holder.Locks.Name()) > before-2 { // if it stays, the test times out
		time.Sleep(time.Millisecond)
	}
}
