// Package watch tells a program what changes: a Watch compares each newer version of an object
// with the one before, and the watchers of a process wait for newer versions together.
//
// A commit of any process wakes the watchers: what a waiting process and a committing one do,
// and in which order, is L10 of package live.
//
// Start reading at Session.Watch and Watch.Next, then Session.AwaitVersion.
package watch

import (
	"context"
	"slices"
	"sync"

	"github.com/everheap/everheap/internal/edit"
	"github.com/everheap/everheap/internal/failure"
	"github.com/everheap/everheap/internal/invariant"
	"github.com/everheap/everheap/internal/object"
)

// Watch follows one object from version to version. It holds the version that it reported
// last, and the one that it reports now. It skips versions that are published meanwhile: it
// compares the newest one next.
//
// Closing the session does not wait for a loop that is suspended. Next holds the mutex while it
// runs, and checks after unlocking whether the session is closed. Closing marks the session first,
// and then tries to lock the mutex. So one of the two releases what the watch holds.
type Watch struct {
	session *Session
	subject edit.Subject

	mu   sync.Mutex
	over bool // the watch holds nothing any more

	held   *version         // the reported version; nil: none yet
	next   *version         // the version being reported; nil: none
	at     edit.Instants    // the instants at which the two are looked at (EX5)
	found  *edit.Comparison // the comparison of the two
	pairs  []object.Pair    // the pairs that were found, in reverse
	more   bool             // the comparison may find more
	ahead  object.Pair      // the pair to report next
	primed bool             // ahead is set
	failed error            // error of the search for the pair after ahead
}

// Watch begins to follow an object from the newest version on. With initial the watch begins with
// nothing, and so first reports the object's present contents. Close must follow.
func (s *Session) Watch(subject edit.Subject, initial bool) (*Watch, error) {
	if s.IsClosed() {
		return nil, failure.ErrClosed
	}
	w := &Watch{session: s, subject: subject}
	w.mu.Lock()
	defer w.leave()
	held, err := s.watchers.hold()
	if err != nil {
		return nil, err
	}
	s.Keep(w)
	if initial {
		w.next = held
		err = w.begin(context.Background())
	} else {
		w.held = held
		err = s.watchers.Guarded(func() error {
			w.at.Was = s.watchers.store.Clock().Now()
			_, err := subject.Compare(nil, &held.Editor, edit.Instants{Now: w.at.Was})
			return err
		})
	}
	if err != nil {
		w.letGo()
		return nil, err
	}
	return w, nil
}

// Close releases what the watch holds.
func (w *Watch) Close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.letGo()
}

// leave unlocks the mutex.
func (w *Watch) leave() {
	w.mu.Unlock()
	if w.session.IsClosed() {
		w.CloseIdle()
	}
}

// CloseIdle is Close, unless Next runs.
func (w *Watch) CloseIdle() {
	if w.mu.TryLock() {
		defer w.mu.Unlock()
		w.letGo()
	}
}

// letGo releases what the watch holds. The caller has the mutex.
func (w *Watch) letGo() {
	w.over = true
	w.session.Drop(w)
	w.session.watchers.letGo(w.held)
	w.session.watchers.letGo(w.next)
	w.held, w.next, w.found, w.pairs = nil, nil, nil, nil
}

// Next waits for the next difference and passes it to fn. When fn has returned, the watch
// holds the version that the next comparison starts from, and, if that version has more
// differences to report, the newer one as well. Errors: that of the context, ErrClosed,
// ErrNotFound if the object does not exist any more, ErrTypeChanged, and that of fn.
func (w *Watch) Next(ctx context.Context, fn func(d *Difference) error) error {
	w.mu.Lock()
	defer w.leave()
	if w.over {
		return failure.ErrClosed
	}
	for !w.primed {
		if w.failed != nil {
			return w.failed
		}
		if err := w.advance(ctx); err != nil {
			return err
		}
	}
	if err := w.session.Over(ctx); err != nil {
		return err
	}
	return w.session.watchers.Guarded(func() error { return w.report(ctx, fn) })
}

// advance waits for a newer version and looks for its first difference.
func (w *Watch) advance(ctx context.Context) error {
	if err := w.await(ctx); err != nil {
		return err
	}
	if err := w.holdNext(); err != nil {
		return err
	}
	invariant.Point("watch.held")
	return w.begin(ctx)
}

// await waits for a newer version, or for the instant at which something in the held version
// expires.
func (w *Watch) await(ctx context.Context) error {
	var next int64
	err := w.session.watchers.Guarded(func() (err error) {
		next, err = w.subject.NextInstant(&w.held.Editor, w.at.Was)
		return err
	})
	if err != nil {
		return err
	}
	return w.session.awaitEither(ctx, w.held.number, next)
}

// holdNext holds the newest version, to compare it.
func (w *Watch) holdNext() (err error) {
	w.next, err = w.session.watchers.hold()
	return err
}

// begin compares the two versions, up to the first difference.
func (w *Watch) begin(ctx context.Context) error {
	return w.session.watchers.Guarded(func() (err error) {
		var was *edit.Editor
		if w.held != nil {
			was = &w.held.Editor
		}
		w.at.Now = max(w.at.Was, w.session.watchers.store.Clock().Now()) // after the version was held (EX3)
		if w.found, err = w.subject.Compare(was, &w.next.Editor, w.at); err != nil {
			return err
		}
		w.more = w.found != nil
		if err = w.seek(ctx); err == nil && !w.primed {
			w.finish()
		}
		return err
	})
}

// seek looks for the next difference.
func (w *Watch) seek(ctx context.Context) error {
	w.primed = false
	for {
		for len(w.pairs) > 0 {
			last := len(w.pairs) - 1
			p := w.pairs[last]
			w.pairs = w.pairs[:last]
			same, err := same(w.found, p)
			if err != nil {
				return err
			}
			if !same {
				w.ahead, w.primed = p, true
				return nil
			}
		}
		if !w.more {
			return nil
		}
		if err := w.session.Over(ctx); err != nil {
			return err
		}
		if err := w.search(); err != nil {
			return err
		}
	}
}

// search continues the comparison.
func (w *Watch) search() (err error) {
	w.more, err = w.found.Step(func(p object.Pair) { w.pairs = append(w.pairs, p) })
	slices.Reverse(w.pairs) // the first one is taken first
	return err
}

// finish makes the newer version the reported one, and releases the other.
func (w *Watch) finish() {
	w.session.watchers.letGo(w.held)
	w.held, w.next, w.found = w.next, nil, nil
	w.at.Was = w.at.Now
}

// report passes the difference that was found to fn, after a look for the next one.
func (w *Watch) report(ctx context.Context, fn func(d *Difference) error) error {
	d := difference(w.found, w.ahead)
	w.failed = w.seek(ctx)
	d.More = w.primed || w.failed != nil
	if err := fn(d); err != nil {
		return err
	}
	if !d.More {
		w.finish()
	}
	return nil
}
