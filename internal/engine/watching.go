package engine

import (
	"context"
	"sync"
	"time"

	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/invariant"
)

// Waiting for newer versions. One goroutine of a process waits in the kernel for a
// commit, for all that watch, and only as long as one of them has nothing to do but
// wait: so a busy watcher costs nobody anything.
//
// Versions are held for watchers by one slot each, however many watch.

// watchTick bounds a sleep: then the goroutine looks by itself. Tests wait longer.
var watchTick = 100 * time.Millisecond

// watching is what the watchers of a process share.
type watching struct {
	sync.Mutex
	waiting   int            // watchers that wait for moved
	moved     chan struct{}  // closed when there is a version newer than announced; nil: nobody waits
	announced format.Version // newest one that was seen; who waits has seen it, or will find it
	ended     chan struct{}  // closed when the goroutine has ended; nil: there is none
	closed    bool
	newest    *heldVersion // held last; nil: it is not any more
}

// heldVersion is a version that watchers hold together.
type heldVersion struct {
	tx      Tx
	version format.Version
	refs    int // under watching's mutex
}

// holdNewest holds the newest version; letGo must follow.
func (sp *Space) holdNewest() (h *heldVersion, err error) {
	w := &sp.watching
	w.Lock()
	defer w.Unlock()
	h = &heldVersion{refs: 1}
	h.tx.sp = sp
	h.tx.Read(&sp.store) // for DropView, if the beginning fails before anything else
	err = sp.Guarded(func() error {
		// A version that is held keeps its address, and the words of live stay mapped.
		if w.newest != nil && w.newest.tx.hold.State == sp.Live.Current() {
			h = w.newest
			h.refs++
			return nil
		}
		if err := h.tx.view(sp); err != nil {
			return err
		}
		h.version = h.tx.Version()
		w.newest = h
		return nil
	})
	if err != nil {
		h.tx.DropView()
		return nil, err
	}
	return h, nil
}

// letGo lets go of a version; nil is none.
func (sp *Space) letGo(h *heldVersion) {
	if h == nil {
		return
	}
	w := &sp.watching
	w.Lock()
	defer w.Unlock()
	if h.refs--; h.refs > 0 {
		return
	}
	if w.newest == h {
		w.newest = nil
	}
	h.tx.DropView()
}

// NewestVersion returns the newest version. Error: ErrClosed.
func (u *User) NewestVersion() (format.Version, error) {
	if u.IsClosed() {
		return 0, ErrClosed
	}
	return u.sp.newestSeen()
}

// AwaitVersion returns the newest version, once it is newer than last. Errors: that of
// the context, ErrClosed.
func (u *User) AwaitVersion(ctx context.Context, last format.Version) (format.Version, error) {
	for {
		if err := u.Over(ctx); err != nil {
			return 0, err
		}
		newest, err := u.sp.newestSeen()
		if err != nil || newest > last {
			return newest, err
		}
		if err := u.sleep(ctx, last); err != nil {
			return 0, err
		}
	}
}

// newestSeen returns the number of the newest version.
func (sp *Space) newestSeen() (v format.Version, err error) {
	err = sp.look(func(tx *Tx) error { v = tx.Version(); return nil })
	return v, err
}

// sleep returns when there may be a version newer than last.
func (u *User) sleep(ctx context.Context, last format.Version) error {
	w := &u.sp.watching
	w.Lock()
	if w.closed {
		w.Unlock()
		return ErrClosed
	}
	if w.announced > last {
		w.Unlock()
		return nil
	}
	if w.announced < last { // seen by this watcher first: others may wait for it
		w.announced = last
		w.wake()
	}
	if w.moved == nil {
		w.moved = make(chan struct{})
	}
	moved := w.moved
	w.waiting++
	if w.ended == nil {
		w.ended = make(chan struct{})
		go u.sp.watchCommits()
	}
	w.Unlock()
	select {
	case <-moved:
		return nil
	case <-ctx.Done():
	case <-u.Closed():
	case <-u.sp.Gone:
	}
	w.Lock()
	if w.moved == moved { // else it was closed, and the waiting were counted anew
		w.waiting--
	}
	w.Unlock()
	if err := u.Over(ctx); err != nil {
		return err
	}
	return u.sp.IsLost()
}

// watchCommits is the goroutine that waits for commits while somebody waits for it.
// What it looks at after it has armed, and before it sleeps, is L10 of live.
func (sp *Space) watchCommits() {
	for sp.watching.wanted() && !sp.Forked() {
		_ = sp.Guarded(func() error { // what fails those who wait find themselves
			if seen := sp.Live.Arm(); !sp.tellWatchers() {
				sp.Live.AwaitCommit(seen, watchTick)
			}
			return nil
		})
		sp.tellWatchers() // before it arms again: it need not if nobody waits any more
	}
}

// wanted reports whether the goroutine is to go on; if not, it counts as ended.
func (w *watching) wanted() bool {
	w.Lock()
	defer w.Unlock()
	if w.waiting > 0 && !w.closed {
		return true
	}
	close(w.ended)
	w.ended = nil
	return false
}

// tellWatchers lets those who wait go on if there is a newer version, or if there is
// an error, which they will find themselves. It reports whether it did.
func (sp *Space) tellWatchers() bool {
	newest, err := sp.newestSeen()
	w := &sp.watching
	w.Lock()
	defer w.Unlock()
	if err == nil && newest <= w.announced && !w.closed {
		return false
	}
	w.announced = max(w.announced, newest)
	w.wake()
	invariant.Point("watch.told")
	return true
}

// wake lets those who wait go on.
func (w *watching) wake() {
	if w.moved != nil {
		close(w.moved)
	}
	w.moved, w.waiting = nil, 0
}

// stopWatching ends the waiting, for good.
func (sp *Space) stopWatching() {
	w := &sp.watching
	w.Lock()
	w.closed = true
	w.wake()
	ended := w.ended
	w.Unlock()
	if ended != nil {
		sp.Anyhow(sp.Live.WakeWatchers) // after closed was set: the goroutine sees that, or does not sleep
		<-ended
	}
}
