//go:build invariants

package engine

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"github.com/everheap/everheap/internal/edit"
	"github.com/everheap/everheap/internal/failure"
	"github.com/everheap/everheap/internal/invariant"
)

// movable is a space whose file has very many extents with little in each, so that blocks are
// moved.
type movable struct {
	t  *testing.T
	sp *Space
	of edit.MapOf
}

const (
	movableKeys = 8000 // with values of 1,000 bytes
	movableLeft = 40   // one of so many keys is left
)

// newMovable makes a movable space.
func newMovable(t *testing.T, keys uint64) *movable {
	t.Helper()
	m := &movable{t: t, sp: openForMoves(t, t.TempDir()+"/s")}
	id, err := m.sp.OpenMap("texts", texts(0))
	fatal(t, err)
	m.of = texts(id)
	for from := uint64(0); from < keys; from += 1000 {
		m.change(func(tx *Tx) (err error) {
			for key := from; key < from+1000 && err == nil; key++ {
				err = m.set(tx, key, 1000)
			}
			return err
		})
	}
	for from := uint64(0); from < keys; from += 1000 {
		m.change(func(tx *Tx) (err error) {
			for key := from; key < from+1000 && err == nil; key++ {
				if key%movableLeft != 0 {
					_, err = tx.Delete(m.of, pointerTo(key))
				}
			}
			return err
		})
	}
	return m
}

func openForMoves(t *testing.T, dir string) *Space {
	t.Helper()
	sp, err := Open(dir, Options{MaxSize: 64 << 20, Manual: true})
	fatal(t, err)
	return sp
}

func fatal(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (m *movable) change(fn func(tx *Tx) error) {
	m.t.Helper()
	fatal(m.t, m.sp.Change(false, fn))
}

// set stores a text of about the given size.
func (m *movable) set(tx *Tx, key uint64, bytes int) error {
	text := strings.Repeat(fmt.Sprint(key, "."), bytes/len(fmt.Sprint(key, ".")))
	return tx.Set(m.of, pointerTo(key), unsafe.Pointer(&text))
}

// whole checks that every remaining entry is there, and makes the file small.
func (m *movable) whole() {
	m.t.Helper()
	report, err := m.sp.Check(context.Background())
	fatal(m.t, err)
	for _, f := range report.Findings {
		m.t.Errorf("%s+%d: %s", f.File, f.Offset, f.What)
	}
	_, _, err = m.sp.Compact(context.Background())
	fatal(m.t, err)
}

// at calls fn the first time that a goroutine passes a point.
func at(t *testing.T, point string, fn func()) (came func() bool) {
	var n atomic.Int64
	t.Cleanup(invariant.Hook(func(name string) {
		if name == point && n.Add(1) == 1 {
			fn()
		}
	}))
	return func() bool { return n.Load() > 0 }
}

var movePoints = []string{"move.found", "move.moved", "move.committed"}

// The context of Compact ends while it moves blocks: no move is left half done, and the next
// Compact moves the rest.
func TestMove_ContextEnds(t *testing.T) { // P1, P3
	for _, point := range movePoints {
		t.Run(point, func(t *testing.T) {
			m := newMovable(t, movableKeys)
			defer func() { fatal(t, m.sp.Close()) }()
			ctx, cancel := context.WithCancel(context.Background())
			came := at(t, point, cancel)
			_, _, err := m.sp.Compact(ctx)
			if !came() {
				t.Fatal("nothing was moved")
			}
			// On a slow machine the time for moving is already over, and the Compact has nothing
			// left to wait for.
			if err = m.sp.Kind(err); err != nil && (!errors.Is(err, failure.ErrBusy) || !errors.Is(err, context.Canceled)) {
				t.Errorf("it ends with %v", err)
			}
			m.whole()
		})
	}
}

// Close is called while blocks are moved: the move ends, and Close waits for that.
func TestMove_SpaceIsClosed(t *testing.T) { // P1, P3, E8
	for _, point := range movePoints {
		t.Run(point, func(t *testing.T) {
			m := newMovable(t, movableKeys)
			closed := make(chan error, 1)
			came := at(t, point, func() {
				go func() { closed <- m.sp.Close() }()
				for !m.sp.Shut.Load() {
					time.Sleep(time.Millisecond)
				}
			})
			_, _, err := m.sp.Compact(context.Background())
			if !came() {
				t.Fatal("nothing was moved")
			}
			if err != nil && !errors.Is(err, failure.ErrClosed) { // nil: as above
				t.Errorf("it ends with %v", err)
			}
			fatal(t, <-closed)
			m.sp = openForMoves(t, m.sp.Dir())
			defer func() { fatal(t, m.sp.Close()) }()
			m.whole()
		})
	}
}

// A writer finds no space left, because the move holds the version in which it found its blocks,
// and that version keeps everything removed since. So the move gives way, and ends without an
// error.
func TestMove_GivesWayToWriterWithoutSpace(t *testing.T) { // RV7
	const keys = 3 * movableKeys
	m := newMovable(t, keys)
	defer func() { fatal(t, m.sp.Close()) }()
	m.change(func(tx *Tx) error { return m.set(tx, keys, 16<<20) }) // removed while the move holds the version
	found, relief, written := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	var once sync.Once
	t.Cleanup(invariant.Hook(func(name string) {
		switch name {
		case "move.found":
			once.Do(func() {
				close(found)
				<-relief // the writer, which has the queue, has found no space
			})
		case "lowspace.sweeper":
			select {
			case <-relief:
			default:
				close(relief)
			}
		}
	}))
	go func() {
		<-found // otherwise the test ends by its timeout
		_, err := m.sp.Alone(false).Delete(m.of, pointerTo(keys))
		if err == nil {
			err = m.sp.Change(false, func(tx *Tx) (err error) {
				for i := uint64(1); i <= 30 && err == nil; i++ {
					err = m.set(tx, keys+i, 1<<20)
				}
				return err
			})
		}
		written <- err
	}()
	_, _, err := m.sp.Compact(context.Background())
	if err != nil {
		t.Errorf("the move ends with %v", err)
	}
	if err := <-written; err != nil {
		t.Errorf("the writer: %v", m.sp.Kind(err))
	}
	m.whole()
}
