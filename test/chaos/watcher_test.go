package chaos

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"time"

	"github.com/everheap/everheap"
)

// watcher watches the named collections for a while, again and again. Consecutive changes of a key
// must fit: the old value of a change is the new value of the change before.
func (w *worker) watcher(r *rand.Rand) {
	for !w.ended.Load() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Duration(20+r.IntN(3000))*time.Millisecond)
		err := w.session.Load().follow(ctx, r)
		cancel()
		switch {
		case errors.Is(err, context.DeadlineExceeded):
		case errors.Is(err, everheap.ErrClosed):
			time.Sleep(10 * time.Millisecond) // the steward closes the space, and opens it again
		case !w.harmless(err):
			w.fail("watching", err)
		}
	}
}

// follow verifies changes until the context ends.
func (s *session) follow(ctx context.Context, r *rand.Rand) error {
	became := map[string]uint64{} // sums, as of the last change of each key; 0: removed
	last := everheap.Version(0)
	for c, err := range s.blobs.Watch(ctx, s.Space) {
		if err != nil {
			return err
		}
		if c.Version < last {
			return fmt.Errorf("a change of version %d comes after one of version %d", c.Version, last)
		}
		last = c.Version
		for _, it := range []*Item{c.Old, c.New} {
			if it == nil {
				continue
			}
			if err := it.verify(inBlobs, c.Key, it.Owner); err != nil {
				return err
			}
		}
		if had, known := became[c.Key]; known && had != sumOf(c.Old) {
			return fmt.Errorf("%q had become a value of the sum %#x, and version %d changes one of the sum %#x", c.Key, had, c.Version, sumOf(c.Old))
		}
		became[c.Key] = sumOf(c.New)
		if r.IntN(500) == 0 {
			time.Sleep(time.Duration(r.IntN(300)) * time.Millisecond)
		}
	}
	return nil
}

// sumOf returns the sum in a value; 0 if there is no value.
func sumOf(it *Item) uint64 {
	if it == nil {
		return 0
	}
	return it.Sum
}

// fork starts a program: for a moment, a fork of this process has copies of its files.
func (w *worker) fork(*session, *rand.Rand) error {
	if err := exec.Command("/bin/true").Run(); err != nil {
		w.log("starting a program: %v", err) // the program is killed with the worker, or out of memory
	}
	return nil
}
