package watch

import (
	"context"
	"sync"
	"time"

	"github.com/everheap/everheap/internal/edit"
	"github.com/everheap/everheap/internal/failure"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/invariant"
	"github.com/everheap/everheap/internal/locks"
	"github.com/everheap/everheap/internal/member"
	"github.com/everheap/everheap/internal/view"
)

// How watchers wait for newer versions. One goroutine of a process waits in the kernel for a
// commit, for all watchers, and only while one of them has nothing to do but wait: so a busy
// watcher costs writers nothing.
//
// Each version that watchers hold takes one slot, however many watchers hold it.

// tick bounds a sleep: then the goroutine looks by itself. Tests wait longer.
var tick = 100 * time.Millisecond

// Watchers is what the watchers of a process share.
type Watchers struct {
	*member.Member
	store *edit.Store

	mu struct {
		sync.Mutex
		waiting   int            // watchers that wait for moved
		moved     chan struct{}  // closed when there is a version newer than announced; nil if no watcher waits
		announced format.Version // newest version seen: a watcher that waits has seen it, or will find it
		ended     chan struct{}  // closed when the goroutine has ended; nil if there is none
		closed    bool
		newest    *version // the version held last; nil if it is not held any more
	}
}

// Init makes w the watchers of a space.
func (w *Watchers) Init(m *member.Member, s *edit.Store) { w.Member, w.store = m, s }

// Session is one handle on the space: closing it releases its locks, and ends its watches.
type Session struct {
	locks.Session
	watchers *Watchers
}

// NewSession returns a new handle.
func NewSession(t *locks.Table, w *Watchers) *Session {
	s := &Session{watchers: w}
	s.Init(w.Member, t)
	return s
}

// version is a version that watchers hold together.
type version struct {
	view.View
	number format.Version
	refs   int // guarded by the mutex
}

// hold holds the newest version; letGo must follow.
func (w *Watchers) hold() (v *version, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	v = &version{refs: 1}
	err = w.Guarded(func() error {
		// A held version keeps its address, and the words of live stay mapped.
		if w.mu.newest != nil && w.mu.newest.Held() == w.Live.Current() {
			v = w.mu.newest
			v.refs++
			return nil
		}
		if err := v.Begin(w.Member, w.store); err != nil {
			return err
		}
		v.number = v.Version()
		w.mu.newest = v
		return nil
	})
	if err != nil {
		v.Drop()
		return nil, err
	}
	return v, nil
}

// letGo releases a version, unless it is nil.
func (w *Watchers) letGo(v *version) {
	if v == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if v.refs--; v.refs > 0 {
		return
	}
	if w.mu.newest == v {
		w.mu.newest = nil
	}
	v.Drop()
}

// NewestVersion returns the newest version. Error: ErrClosed.
func (s *Session) NewestVersion() (format.Version, error) {
	if s.IsClosed() {
		return 0, failure.ErrClosed
	}
	return s.watchers.look()
}

// AwaitVersion returns the newest version, once it is newer than last. Errors: that of
// the context, ErrClosed.
func (s *Session) AwaitVersion(ctx context.Context, last format.Version) (format.Version, error) {
	return s.await(ctx, last, 0)
}

// clockTick bounds a sleep until an instant: someone may set the wall clock forward.
const clockTick = 250 * time.Millisecond

// awaitEither is AwaitVersion, but returns at the instant at the latest, unless that is 0.
func (s *Session) awaitEither(ctx context.Context, last format.Version, instant int64) error {
	_, err := s.await(ctx, last, instant)
	return err
}

// await is AwaitVersion; once the instant has come it returns the present version.
func (s *Session) await(ctx context.Context, last format.Version, instant int64) (format.Version, error) {
	for {
		if err := s.Over(ctx); err != nil {
			return 0, err
		}
		newest, err := s.watchers.look()
		if err != nil || newest > last {
			return newest, err
		}
		var bound <-chan time.Time
		if instant != 0 {
			now := s.watchers.store.Clock().Now()
			if now >= instant {
				return newest, nil
			}
			timer := time.NewTimer(min(time.Duration(instant-now), clockTick))
			defer timer.Stop()
			bound = timer.C
		}
		if err := s.sleep(ctx, last, bound); err != nil {
			return 0, err
		}
	}
}

// look returns the number of the newest version.
func (w *Watchers) look() (v format.Version, err error) {
	err = w.Look(func(state format.Addr) error {
		v = format.Version(member.StateAt(state).Version)
		return nil
	})
	return v, err
}

// sleep returns when there may be a version newer than last, or when bound fires.
func (s *Session) sleep(ctx context.Context, last format.Version, bound <-chan time.Time) error {
	w := s.watchers
	w.mu.Lock()
	if w.mu.closed {
		w.mu.Unlock()
		return failure.ErrClosed
	}
	if w.mu.announced > last {
		w.mu.Unlock()
		return nil
	}
	if w.mu.announced < last { // this watcher saw last first: others may wait for it
		w.mu.announced = last
		w.wake()
	}
	if w.mu.moved == nil {
		w.mu.moved = make(chan struct{})
	}
	moved := w.mu.moved
	w.mu.waiting++
	if w.mu.ended == nil {
		w.mu.ended = make(chan struct{})
		go w.awaitCommits()
	}
	w.mu.Unlock()
	select {
	case <-moved:
		return nil
	case <-bound:
	case <-ctx.Done():
	case <-s.Closed():
	case <-w.Gone:
	}
	w.mu.Lock()
	if w.mu.moved == moved { // if not, wake has closed it, and has reset the number of waiting ones
		w.mu.waiting--
	}
	w.mu.Unlock()
	if err := s.Over(ctx); err != nil {
		return err
	}
	return w.IsLost()
}

// awaitCommits is the goroutine that waits for commits while a watcher waits for it. It looks
// for a newer version after Arm and before it sleeps (L10 of package live).
func (w *Watchers) awaitCommits() {
	for w.wanted() && !w.Forked() {
		_ = w.Guarded(func() error { // the watchers find the error themselves
			if seen := w.Live.Arm(); !w.announce() {
				w.Live.AwaitCommit(seen, tick)
			}
			return nil
		})
		w.announce() // before it arms again, which it need not do if no watcher waits any more
	}
}

// wanted reports whether the goroutine is to continue; if not, it counts as ended.
func (w *Watchers) wanted() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.mu.waiting > 0 && !w.mu.closed {
		return true
	}
	close(w.mu.ended)
	w.mu.ended = nil
	return false
}

// announce wakes the watchers that wait if there is a newer version, or an error, which they
// will find themselves. It reports whether it did.
func (w *Watchers) announce() bool {
	newest, err := w.look()
	w.mu.Lock()
	defer w.mu.Unlock()
	if err == nil && newest <= w.mu.announced && !w.mu.closed {
		return false
	}
	w.mu.announced = max(w.mu.announced, newest)
	w.wake()
	invariant.Point("watch.told")
	return true
}

// wake wakes the watchers that wait. The caller has the mutex.
func (w *Watchers) wake() {
	if w.mu.moved != nil {
		close(w.mu.moved)
	}
	w.mu.moved, w.mu.waiting = nil, 0
}

// Stop ends the waiting, for good.
func (w *Watchers) Stop() {
	w.mu.Lock()
	w.mu.closed = true
	w.wake()
	ended := w.mu.ended
	w.mu.Unlock()
	if ended != nil {
		w.Anyhow(w.Live.WakeWatchers) // after closed was set: the goroutine sees that, or does not sleep
		<-ended
	}
}
