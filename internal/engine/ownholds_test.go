package engine

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/everheap/everheap/internal/edit"
	"github.com/everheap/everheap/internal/failure"
	"github.com/everheap/everheap/internal/live"
	"github.com/everheap/everheap/internal/mapping"
)

// fullOfRemoved returns a space without free space, because a checkpoint keeps everything that was
// removed; and the map.
func fullOfRemoved(t *testing.T) (*Space, edit.MapOf) {
	t.Helper()
	sp, err := Open(t.TempDir()+"/s", Options{MaxSize: 64 << 20, Manual: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := sp.Close(); err != nil {
			t.Error(err)
		}
	})
	id, err := sp.OpenMap("texts", texts(0))
	if err != nil {
		t.Fatal(err)
	}
	of := texts(id)
	const most = 1000
	change := func(fn func(tx *Tx) error) error {
		return sp.Change(false, fn)
	}
	value := strings.Repeat("k", 20_000)
	for i := range uint64(most) {
		if err := change(func(tx *Tx) error { return tx.Set(of, pointerTo(i), unsafe.Pointer(&value)) }); err != nil {
			t.Fatal(err)
		}
	}
	if err := sp.Checkpoints.Add("keeps", false); err != nil {
		t.Fatal(err)
	}
	for i := range uint64(most) {
		if err := change(func(tx *Tx) error { _, err := tx.Delete(of, pointerTo(i)); return err }); err != nil {
			t.Fatal(err)
		}
	}
	for i := uint64(most); ; i++ {
		err := change(func(tx *Tx) error { return tx.Set(of, pointerTo(i), unsafe.Pointer(&value)) })
		if errors.Is(sp.Kind(err), failure.ErrNoSpace) {
			return sp, of
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// secondMember joins the space a second time, as another process would.
func secondMember(t *testing.T, sp *Space) *live.Live {
	t.Helper()
	info, err := os.Stat(filepath.Join(sp.Dir(), HeapName))
	if err != nil {
		t.Fatal(err)
	}
	dir, err := mapping.OpenDir(sp.Dir())
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	other, err := live.Open(dir, sp.Header().SpaceID, info)
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Join(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { other.Leave(true) })
	return other
}

// awaitWriter waits until a transaction has the writer lock.
func awaitWriter(sp *Space) {
	for sp.Queue.TryLock() {
		sp.Queue.Unlock()
		time.Sleep(time.Millisecond)
	}
}

// A writer without space waits for the holds on older versions that the space's own work has: those
// of work that waits for the queue, and those of work that ends soon.
func TestLowSpace_WaitsForTheSpacesOwnHolds(t *testing.T) { // RV7
	over := func(sp *Space, hold *live.Hold, end func()) {
		sp.Live.Release(hold)
		end()
	}
	for name, begin := range map[string]func(t *testing.T, sp *Space) func(){
		"a wait for the queue": func(t *testing.T, sp *Space) func() {
			ctx, end := sp.Own.Begin(context.Background())
			hold := sp.Live.HoldCurrent()
			return func() {
				defer over(sp, &hold, end)
				awaitWriter(sp)
				if sp.Queue.Lock(ctx) == nil {
					t.Error("the writer ended before the hold")
					sp.Queue.Unlock()
				}
			}
		},
		"another process's anchor": func(t *testing.T, sp *Space) func() {
			other := secondMember(t, sp)
			hold := other.HoldCurrent()
			claim, ok := other.ClaimAnchor()
			if !ok {
				t.Fatal("no slot of an anchor is free")
			}
			return func() {
				awaitWriter(sp)
				time.Sleep(50 * time.Millisecond) // long enough for the writer to begin its sweep
				other.Release(&hold)
				other.WipedAnchor(claim)
				other.AbandonAnchor(claim)
			}
		},
		"another process's sweep, which finds nothing": func(t *testing.T, sp *Space) func() {
			other, sweeper := secondMember(t, sp), &sp.Live.Words().Sweeper
			sweeper.Store(uint64(other.Incarnation()))
			return func() {
				awaitWriter(sp)
				time.Sleep(50 * time.Millisecond) // long enough for the writer to wait for the sweep
				sweeper.CompareAndSwap(uint64(other.Incarnation()), 0)
			}
		},
		"a short look": func(t *testing.T, sp *Space) func() {
			sp.Own.Add()
			hold := sp.Live.HoldCurrent()
			return func() {
				defer over(sp, &hold, sp.Own.Done)
				awaitWriter(sp)
				time.Sleep(50 * time.Millisecond) // long enough for the writer to begin its sweep
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			sp, of := fullOfRemoved(t)
			begun, dropped, done := make(chan struct{}), make(chan struct{}), make(chan struct{})
			go func() {
				defer close(done)
				goOn := begin(t, sp)
				close(begun)
				<-dropped
				goOn()
			}()
			<-begun
			if err := sp.Checkpoints.Drop("keeps"); err != nil {
				t.Fatal(err)
			}
			close(dropped)
			value := strings.Repeat("y", 300_000)
			if err := sp.Change(false, func(tx *Tx) error { return tx.Set(of, pointerTo(0), unsafe.Pointer(&value)) }); err != nil {
				t.Errorf("after the checkpoint was dropped: %v", err)
			}
			<-done
		})
	}
}

// A transaction that moves blocks, and finds no space, does not wait for its own hold.
func TestLowSpace_MovingDoesNotWaitForItself(t *testing.T) { // RV7
	sp, _ := fullOfRemoved(t)
	ctx, end := sp.Own.Begin(context.Background())
	defer end()
	if n := sp.Own.CancelLong(); n != 0 || ctx.Err() != nil {
		t.Errorf("the move waits for %d holds: %v", n, ctx.Err())
	}
}
