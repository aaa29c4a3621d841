package windows

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"time"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/internal/proctest"
)

// A victim repeats one kind of work, so that it passes the points of that work; EVERHEAP_POINT stops
// it at one of them.
type victim struct {
	s     *everheap.Space
	w     *world
	dir   string
	name  string
	seq   int
	r     *rand.Rand
	large int
}

// works are the kinds of work, by name.
var works = map[string]func(*victim) error{
	"commit":  func(v *victim) error { return v.commit() },
	"durable": func(v *victim) error { return v.commit(everheap.Durable) },
	"anchor":  (*victim).anchor,
	"compact": (*victim).compact,
	"lock":    (*victim).lock,
	"turn":    (*victim).turn,
	"watch":   (*victim).watch,
	"close":   (*victim).close,
	"resize":  (*victim).anchor,
	"evolve":  (*victim).evolve,
	"pin":     (*victim).pin,
}

func init() {
	for work := range works {
		proctest.Children["victim "+work] = func(dir string) error { return runVictim(dir, work) }
	}
	proctest.Children["holder"] = holder
}

// runVictim works until it is told to end.
func runVictim(dir, work string) (err error) {
	v := &victim{dir: dir, name: fmt.Sprint("p", os.Getpid()), r: rand.New(rand.NewPCG(uint64(os.Getpid()), 7))}
	if err := v.open(); err != nil {
		return err
	}
	proctest.Say("begun")
	ended := make(chan bool)
	go func() {
		proctest.Told()
		close(ended)
	}()
	for n := 0; ; n++ {
		if err := works[work](v); err != nil && !harmless(err) {
			return fmt.Errorf("%s: %w", work, err)
		}
		proctest.Say("did", n)
		select {
		case <-ended:
			return v.s.Close()
		default:
		}
	}
}

// harmless reports whether a process that was suspended must expect an error.
func harmless(err error) bool {
	for _, kind := range []error{everheap.ErrSuspended, everheap.ErrBusy, everheap.ErrOwnerDied, everheap.ErrNotHeld} {
		if errors.Is(err, kind) {
			return true
		}
	}
	return false
}

func (v *victim) open() (err error) {
	if v.s, err = everheap.Open(v.dir, everheap.WithFlushInterval(20*time.Millisecond)); err == nil {
		v.w, err = openWorld(v.s)
	}
	return err
}

// commit commits a transaction, and prints its number.
func (v *victim) commit(opts ...everheap.UpdateOption) error {
	v.seq++
	err := v.s.Update(context.Background(), func(tx *everheap.Tx) error { return v.w.change(tx, v.name, v.seq, v.r) }, opts...)
	if err == nil {
		proctest.Say("ack", v.name, v.seq)
	}
	return err
}

// anchor commits, and has an anchor written.
func (v *victim) anchor() error {
	return errors.Join(v.commit(), v.s.Resize(context.Background(), v.s.Stats().MaxSize))
}

// compact makes free extents, and gives them back.
func (v *victim) compact() error {
	key := fmt.Sprint("large ", v.large%4)
	v.large++
	it := Item{Place: key, Body: make([]byte, 1<<20)}
	it.Sum = it.sum()
	err := v.w.items.Set(v.s, key, it)
	err = errors.Join(err, v.commit())
	if v.large%3 == 0 {
		_, deleteErr := v.w.items.Delete(v.s, key)
		_, collectErr := v.s.Collect(context.Background())
		err = errors.Join(err, deleteErr, collectErr)
	}
	_, compactErr := v.s.Compact(context.Background())
	return errors.Join(err, compactErr)
}

// lock takes locks by many names: more than there are entries.
func (v *victim) lock() error {
	m := v.s.Mutex(fmt.Sprint("lock ", v.r.IntN(3000)))
	err := m.Lock(context.Background())
	if err == nil || errors.Is(err, everheap.ErrOwnerDied) {
		err = m.Unlock()
	}
	sem := v.s.Semaphore(fmt.Sprint("units ", v.r.IntN(50)), 3)
	if semErr := sem.Acquire(context.Background()); semErr == nil {
		err = errors.Join(err, sem.Release())
	} else {
		err = errors.Join(err, semErr)
	}
	return errors.Join(err, v.commit())
}

// turn takes a lock in turns with others.
func (v *victim) turn() error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	m := v.s.Mutex("turn")
	err := m.Lock(ctx)
	if err != nil && !errors.Is(err, everheap.ErrOwnerDied) {
		return err
	}
	time.Sleep(time.Duration(v.r.IntN(2000)) * time.Microsecond)
	return errors.Join(v.commit(), m.Unlock())
}

// watch commits while two goroutines watch.
func (v *victim) watch() error {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 2)
	go func() {
		n := 0
		for _, err := range v.s.Changes(ctx) {
			if n++; err != nil || n == 8 {
				break
			}
		}
		done <- nil
	}()
	go func() {
		var found error
		for c, err := range v.w.items.Watch(ctx, v.s) {
			if err != nil {
				break
			}
			if c.New != nil {
				found = errors.Join(found, c.New.verify(c.Key))
			}
		}
		done <- found
	}()
	var err error
	for range 8 {
		err = errors.Join(err, v.commit())
		time.Sleep(time.Millisecond)
	}
	cancel()
	return errors.Join(err, <-done, <-done)
}

// close closes the space, and opens it again.
func (v *victim) close() error {
	err := v.commit()
	if closeErr := v.s.Close(); closeErr != nil {
		err = errors.Join(err, closeErr)
	}
	return errors.Join(err, v.open())
}

// evolve changes the type of a map.
func (v *victim) evolve() error {
	type narrow struct{ A int }
	type wide struct {
		A int
		B string
	}
	v.large++
	name := fmt.Sprint("evolves ", v.name, " ", v.large)
	m, err := everheap.OpenMap[int, narrow](v.s, name)
	for i := 0; i < 20 && err == nil; i++ {
		err = m.Set(v.s, i, narrow{i})
	}
	if err != nil {
		return err
	}
	n, err := everheap.OpenMap[int, wide](v.s, name, everheap.Evolve())
	if err != nil {
		return err
	}
	for i := range 20 {
		got, err := n.Get(v.s, i)
		if err != nil {
			return err
		}
		if got.A != i {
			return fmt.Errorf("element %d became %+v", i, got)
		}
	}
	return v.commit()
}

// pin makes a checkpoint, reads it, and drops it.
func (v *victim) pin() error {
	name := "of " + v.name
	err := v.s.Checkpoint(name)
	if err == nil || errors.Is(err, everheap.ErrExists) {
		err = v.s.ViewAt(name, func(tx *everheap.Tx) error {
			_, err := v.w.audit(tx)
			return err
		})
	}
	if dropErr := v.s.DropCheckpoint(name); !errors.Is(dropErr, everheap.ErrNotFound) { // a restore may have dropped it
		err = errors.Join(err, dropErr)
	}
	return errors.Join(err, v.commit())
}

// holder takes a lock and its turn to write, prints a line, and keeps both.
func holder(dir string) error {
	s, err := everheap.Open(dir)
	if err != nil {
		return err
	}
	m := s.Mutex("turn")
	if err := m.Lock(context.Background()); err != nil && !errors.Is(err, everheap.ErrOwnerDied) {
		return err
	}
	return s.Update(context.Background(), func(tx *everheap.Tx) error {
		proctest.Say("holds")
		select {}
	})
}
