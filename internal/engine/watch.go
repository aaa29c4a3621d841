package engine

import (
	"context"
	"slices"
	"sync"

	"github.com/everheap/everheap/internal/edit"
	"github.com/everheap/everheap/internal/invariant"
	"github.com/everheap/everheap/internal/locks"
	"github.com/everheap/everheap/internal/object"
)

// Watch follows one object from version to version. It holds the version that it has
// told of last, and the one that it is telling of. Versions that come meanwhile are
// taken together: what is compared next is the newest one.
//
// Who leaves a loop over it hanging, and closes the space, is not waited for: the user of the
// handle that is closed lets go of what the watch holds. While Next runs it is Next that has
// the mutex, and it looks after it has given it back whether the handle is closed; closing
// sets that first, and then tries to take the mutex. So one of the two lets go.
type Watch struct {
	user    *User
	subject edit.Subject

	mu   sync.Mutex
	over bool // nothing is held any more

	held   *heldVersion     // told of; nil: none yet
	next   *heldVersion     // being told of; nil: none
	found  *edit.Comparison // of the two
	pairs  []object.Pair    // found, in reverse
	more   bool             // there may be more than these
	ahead  object.Pair      // to be told of next
	primed bool             // there is one
	failed error            // when what comes after ahead was looked for
}

// User is one handle on the space: what it has taken and holds is let go of when it is
// closed.
type User struct {
	locks.User
	sp *Space
}

// NewUser returns a new handle.
func (sp *Space) NewUser() *User {
	u := &User{sp: sp}
	u.Init(&sp.Member, &sp.locks)
	return u
}

// Watch begins to follow an object, from the newest version on; with initial, from
// nothing on, so that what it holds now is told of first. Close must follow.
func (u *User) Watch(subject edit.Subject, initial bool) (*Watch, error) {
	if u.IsClosed() {
		return nil, ErrClosed
	}
	w := &Watch{user: u, subject: subject}
	w.mu.Lock()
	defer w.leave()
	held, err := u.sp.holdNewest()
	if err != nil {
		return nil, err
	}
	u.Keep(w)
	if initial {
		w.next = held
		err = w.begin(context.Background())
	} else {
		w.held = held
		err = u.sp.Guarded(func() error { _, err := subject.Compare(nil, &held.tx.Editor); return err })
	}
	if err != nil {
		w.letGo()
		return nil, err
	}
	return w, nil
}

// Close lets go of what the watch holds.
func (w *Watch) Close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.letGo()
}

// leave gives the mutex back.
func (w *Watch) leave() {
	w.mu.Unlock()
	if w.user.IsClosed() {
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

// letGo lets go of what the watch holds. The caller has the mutex.
func (w *Watch) letGo() {
	w.over = true
	w.user.Drop(w)
	w.user.sp.letGo(w.held)
	w.user.sp.letGo(w.next)
	w.held, w.next, w.found, w.pairs = nil, nil, nil, nil
}

// Next waits for the next difference and passes it to take. When take has returned, no
// version is held but the one that the next comparison starts from, and, if there are
// more differences of it, the one that was told of. Errors: that of the context,
// ErrClosed, ErrNotFound if the object does not exist any more, ErrTypeChanged, and
// that of take.
func (w *Watch) Next(ctx context.Context, take func(d *edit.Difference) error) error {
	w.mu.Lock()
	defer w.leave()
	if w.over {
		return ErrClosed
	}
	for !w.primed {
		if w.failed != nil {
			return w.failed
		}
		if err := w.advance(ctx); err != nil {
			return err
		}
	}
	if err := w.user.Over(ctx); err != nil {
		return err
	}
	return w.user.sp.Guarded(func() error { return w.tell(ctx, take) })
}

// advance waits for a newer version and looks for its first difference.
func (w *Watch) advance(ctx context.Context) error {
	sp := w.user.sp
	if _, err := w.user.AwaitVersion(ctx, w.held.version); err != nil {
		return err
	}
	var err error
	if w.next, err = sp.holdNewest(); err != nil {
		return err
	}
	invariant.Point("watch.held")
	return w.begin(ctx)
}

// begin compares the two versions, up to the first difference.
func (w *Watch) begin(ctx context.Context) error {
	return w.user.sp.Guarded(func() (err error) {
		var was *edit.Editor
		if w.held != nil {
			was = &w.held.tx.Editor
		}
		if w.found, err = w.subject.Compare(was, &w.next.tx.Editor); err != nil {
			return err
		}
		w.more = w.found != nil
		if err = w.seek(ctx); err == nil && !w.primed {
			w.settle()
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
			same, err := w.found.Same(p)
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
		if err := w.user.Over(ctx); err != nil {
			return err
		}
		if err := w.search(); err != nil {
			return err
		}
	}
}

// search goes on with the comparison.
func (w *Watch) search() (err error) {
	w.more, err = w.found.Step(func(p object.Pair) { w.pairs = append(w.pairs, p) })
	slices.Reverse(w.pairs) // the first one is taken first
	return err
}

// settle makes the newer version the one that was told of, and lets go of the other.
func (w *Watch) settle() {
	w.user.sp.letGo(w.held)
	w.held, w.next, w.found = w.next, nil, nil
}

// tell passes the difference that was found to take, after a look for the next one.
func (w *Watch) tell(ctx context.Context, take func(d *edit.Difference) error) error {
	d := w.found.Difference(w.ahead)
	w.failed = w.seek(ctx)
	d.More = w.primed || w.failed != nil
	if err := take(d); err != nil {
		return err
	}
	if !d.More {
		w.settle()
	}
	return nil
}
