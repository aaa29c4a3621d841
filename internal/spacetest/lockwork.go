//go:build unix

package spacetest

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/internal/format"
)

// lockWork takes locks, and verifies by marks in a file that no other child has them. The
// holder of a mutex writes its ID as the mark, and zero before it unlocks. So the next
// holder finds zero, unless it is told that the previous holder died; and at the end it
// finds its own mark.
type lockWork struct {
	s     *everheap.Space
	id    uint64
	marks *os.File
	count bool // no child is killed, so permits can be counted
	Steps atomic.Uint64
}

const (
	workNames = 1500 // more than the space has entries for named locks
	WorkUnits = 3
	marksSize = (workNames + 64 + 64) * 8 // marks of mutexes, and of the holders of permits
)

// NewLockWork opens the marks of the space. A new live file has new marks, since all its
// locks are free.
func NewLockWork(s *everheap.Space, id int, count bool) (*lockWork, error) {
	dir := s.Stats().Dir
	live, err := os.Open(filepath.Join(dir, "live"))
	if err != nil {
		return nil, err
	}
	defer live.Close()
	var salt [8]byte
	if _, err := live.ReadAt(salt[:], int64(unsafe.Offsetof(format.Live{}.Salt))); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(fmt.Sprintf("%s.%x.marks", dir, salt), os.O_RDWR|os.O_CREATE, 0o600)
	if err == nil {
		err = f.Truncate(marksSize)
	}
	return &lockWork{s: s, id: uint64(id), marks: f, count: count}, err
}

// mark reads a mark.
func (w *lockWork) mark(at int64) (uint64, error) {
	var b [8]byte
	_, err := w.marks.ReadAt(b[:], at)
	return binary.LittleEndian.Uint64(b[:]), err
}

// setMark writes a mark.
func (w *lockWork) setMark(at int64, v uint64) error {
	_, err := w.marks.WriteAt(binary.LittleEndian.AppendUint64(nil, v), at)
	return err
}

// lockPatience is how long the work waits for a holder, which may stand still.
const lockPatience = 200 * time.Millisecond

// mutex locks a mutex for a moment.
func (w *lockWork) mutex(i int, hold time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), lockPatience)
	defer cancel()
	m, at := w.s.Mutex(fmt.Sprint("lock ", i)), int64(i)*8
	err := m.Lock(ctx)
	if errors.Is(err, everheap.ErrBusy) {
		return nil
	}
	died := errors.Is(err, everheap.ErrOwnerDied)
	if err != nil && !died {
		return err
	}
	found, err := w.mark(at)
	if err != nil {
		return err
	}
	if found != 0 && !died {
		return fmt.Errorf("child %d locked the mutex %d and found the mark of child %d, but was not told that it died", w.id, i, found)
	}
	if err := w.setMark(at, w.id); err != nil {
		return err
	}
	if hold > 0 {
		time.Sleep(hold)
	}
	if found, err = w.mark(at); err != nil || found != w.id {
		return fmt.Errorf("child %d has locked the mutex %d and finds the mark of child %d (%v)", w.id, i, found, err)
	}
	if err := w.setMark(at, 0); err != nil {
		return err
	}
	w.Steps.Add(1)
	return m.Unlock()
}

// unit holds a permit for a moment, with the mark at the given place of this child.
func (w *lockWork) unit(name string, n int, place int, hold time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), lockPatience)
	defer cancel()
	sem := w.s.Semaphore(name, n)
	err := sem.Acquire(ctx)
	if errors.Is(err, everheap.ErrBusy) {
		return nil
	}
	if err != nil && !errors.Is(err, everheap.ErrOwnerDied) {
		return err
	}
	from := int64(workNames+64*min(n-1, 1)) * 8
	at := from + int64(w.id)*16 + int64(place)*8
	if w.count {
		if err := w.setMark(at, w.id); err != nil {
			return err
		}
		have := 0
		for i := range int64(64) {
			found, err := w.mark(from + i*8)
			if err != nil {
				return err
			}
			if found != 0 {
				have++
			}
		}
		if have > n {
			return fmt.Errorf("%d children hold a permit of %d", have, n)
		}
	}
	time.Sleep(hold)
	if w.count {
		if err := w.setMark(at, 0); err != nil {
			return err
		}
	}
	w.Steps.Add(1)
	return sem.Release()
}

// Run works until over is set, in goroutines of the group.
func (w *lockWork) Run(group *sync.WaitGroup, over *atomic.Bool, seed uint64) {
	loop := func(g uint64, step func(r *rand.Rand) error) {
		group.Go(func() {
			for r := rand.New(rand.NewPCG(seed, g)); !over.Load(); {
				if err := step(r); err != nil {
					Failed("locks", err)
					return
				}
			}
		})
	}
	hold := func(r *rand.Rand) time.Duration { return time.Duration(r.IntN(3000)) * time.Microsecond }
	loop(0, func(r *rand.Rand) error {
		for range 20 {
			if err := w.mutex(r.IntN(workNames), 0); err != nil {
				return err
			}
		}
		time.Sleep(time.Millisecond)
		return nil
	})
	loop(1, func(r *rand.Rand) error { return w.mutex(r.IntN(2), hold(r)) })
	for g := range 2 { // two, so that one waits even in the only process
		loop(2+uint64(g), func(r *rand.Rand) error {
			if r.IntN(2) == 0 {
				return w.unit("one", 1, g, hold(r))
			}
			return w.unit("some", WorkUnits, g, hold(r))
		})
	}
}
