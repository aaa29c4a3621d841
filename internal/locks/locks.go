// Package locks has the named locks of a space, mutexes and semaphores, as one process sees
// them: first the queue of this process, which is the same for all handles on one name,
// then the lock that the processes share. What that is, and how it passes on when its
// holder dies, L6 to L9 of package live say.
//
// Start reading at Session.Mutex and Mutex.Lock.
package locks

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/everheap/everheap/internal/failure"
	"github.com/everheap/everheap/internal/goroutine"
	"github.com/everheap/everheap/internal/live"
	"github.com/everheap/everheap/internal/member"
	"github.com/everheap/everheap/internal/queue"
)

// Table holds the named locks that this process has handles on, or holds. The zero value
// has none.
type Table struct {
	sync.Mutex
	locks map[lockKey]*lock
}

// lockKey identifies a lock; two semaphores of one name with different numbers of permits are
// two here, and find out when they are used.
type lockKey struct {
	name    string
	permits int // 0: a mutex
}

// lock is a named lock, as this process sees it.
type lock struct {
	key   lockKey
	named *live.NamedLock
	bad   error // what is wrong with the name
	refs  int   // handles; under the table's mutex

	// queue is held as long as the mutex is; of a semaphore, while a permit is waited
	// for.
	queue queue.Queue
	// serial is the goroutine that locked the mutex; 0: none, or not known.
	serial atomic.Uint64
	mutex  struct {
		by   atomic.Pointer[Session] // nil: not held by this process. Who swaps it to nil releases.
		held live.HeldLock           // while it is
	}
	permits struct {
		sync.Mutex
		held []heldPermit
	}
}

// heldPermit is a permit of a semaphore that this process holds.
type heldPermit struct {
	by   *Session
	held live.HeldLock
}

// Session is one handle on the space, by which locks are taken: they are released
// when it is closed.
type Session struct {
	m      *member.Member
	table  *Table // of the space
	closed atomic.Bool
	open   context.Context // ends with Close
	end    context.CancelFunc
	others sync.Map // Idler: what else is let go of with the handle
}

// Idler is what holds something by a handle.
type Idler interface {
	// CloseIdle lets go of that, unless the one who uses it is at it: then it finds the
	// handle closed, and does so itself.
	CloseIdle()
}

// Init makes it a new user of the locks of a space.
func (s *Session) Init(m *member.Member, t *Table) {
	s.m, s.table = m, t
	s.open, s.end = context.WithCancel(context.Background())
}

// Closed returns a channel that is closed with the handle.
func (s *Session) Closed() <-chan struct{} { return s.open.Done() }

// IsClosed reports whether the handle was closed.
func (s *Session) IsClosed() bool { return s.closed.Load() }

// Over returns why waiting is to end: the error of the context, or ErrClosed.
func (s *Session) Over(ctx context.Context) error {
	if s.closed.Load() {
		return failure.ErrClosed
	}
	return ctx.Err()
}

// Keep notes what is to be let go of when the handle is closed.
func (s *Session) Keep(i Idler) { s.others.Store(i, nil) }

// Drop forgets what Keep has noted.
func (s *Session) Drop(i Idler) { s.others.Delete(i) }

// lock returns the lock of a key, which is to be dropped.
func (s *Session) lock(key lockKey) *lock {
	t := s.table
	t.Lock()
	defer t.Unlock()
	l := t.locks[key]
	if l == nil {
		l = &lock{key: key}
		l.queue.Over = s.m.Gone
		l.named, l.bad = live.NewNamedLock(key.name, key.permits)
		if t.locks == nil {
			t.locks = map[lockKey]*lock{}
		}
		t.locks[key] = l
	}
	l.refs++
	return l
}

// drop gives up a handle on a lock, when the garbage collector has found that
// nobody has it any more. What is held stays until it is released.
func (t *Table) drop(l *lock) {
	t.Lock()
	defer t.Unlock()
	l.refs--
	t.forget(l)
}

// forget takes a lock out of the table that nobody has a handle on or holds.
func (t *Table) forget(l *lock) {
	l.permits.Lock()
	held := len(l.permits.held) > 0
	l.permits.Unlock()
	if l.refs == 0 && !held && l.mutex.by.Load() == nil {
		delete(t.locks, l.key)
	}
}

// dropped is what the garbage collector needs to know of a handle.
type dropped struct {
	table *Table
	lock  *lock
}

func (d dropped) drop() { d.table.drop(d.lock) }

// enter begins an operation on a lock; Member.Exit must follow.
func (s *Session) enter(l *lock) error {
	if l.bad != nil {
		return l.bad
	}
	if s.m.Guest {
		return fmt.Errorf("%w, by a user who may not write its files: named locks cannot be taken", failure.ErrReadOnly)
	}
	if err := s.m.Enter(); err != nil {
		return err
	}
	if s.closed.Load() {
		s.m.Exit()
		return failure.ErrClosed
	}
	return nil
}

// patience returns a context that ends with ctx, or when the handle is closed.
func (s *Session) patience(ctx context.Context) (context.Context, func()) {
	both, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(s.open, cancel)
	return both, func() { stop(); cancel() }
}

// queueFor takes the queue of a lock, waiting until ctx or the handle ends.
func (s *Session) queueFor(ctx context.Context, l *lock) error {
	if l.queue.TryLock() {
		return nil
	}
	if n := goroutine.GoID(); n != 0 && l.serial.Load() == n {
		return &selfLockError{l.named.String()}
	}
	both, end := s.patience(ctx)
	defer end()
	if err := l.queue.LockSlow(both); err == queue.ErrGone {
		return err
	} else if err != nil {
		return s.gaveUp(ctx, l, s.m.Live.LockBusy(l.named, ctx.Err()))
	}
	return nil
}

// take waits for the lock of the space. The caller has the queue.
func (s *Session) take(ctx context.Context, l *lock) (live.HeldLock, error) {
	held, ok, err := s.m.Live.TakeFree(l.named)
	if ok || err != nil {
		return held, err
	}
	both, end := s.patience(ctx)
	defer end()
	held, err = s.m.Live.Take(both, l.named)
	return held, s.gaveUp(ctx, l, err)
}

// gaveUp completes the error of one who waited.
func (s *Session) gaveUp(ctx context.Context, l *lock, err error) error {
	busy, ok := err.(*live.BusyError)
	if !ok {
		return err
	}
	if s.closed.Load() && ctx.Err() == nil {
		return failure.ErrClosed
	}
	busy.Cause = ctx.Err()
	busy.Stopped = busy.PID != 0 && member.Stopped(live.Process{PID: busy.PID, Foreign: busy.Foreign, Command: busy.Command})
	return busy
}

// notHeld is the error of one who releases what is not held by this handle, or what
// Close has released a moment ago.
func (s *Session) notHeld(what string, l *lock) error {
	if s.closed.Load() {
		return failure.ErrClosed
	}
	return fmt.Errorf("%w: "+what, failure.ErrNotHeld, l.named)
}

// Close releases what was taken by this handle; who waits gets ErrClosed.
func (s *Session) Close() {
	s.closed.Store(true)
	if s.m.Forked() {
		return // who waits is the parent's
	}
	s.end()
	if s.m.Enter() != nil {
		return
	}
	defer s.m.Exit()
	s.others.Range(func(i, _ any) bool { i.(Idler).CloseIdle(); return true })
	s.table.Lock()
	defer s.table.Unlock()
	for _, l := range s.table.locks {
		if held, ok := l.letGo(s); ok {
			s.m.Anyhow(func() { s.m.Live.GiveBack(held) })
			l.queue.Unlock()
		}
		for {
			held, ok := l.letPermitGo(s)
			if !ok {
				break
			}
			s.m.Anyhow(func() { s.m.Live.GiveBack(held) })
		}
		s.table.forget(l)
	}
}

// letGo ends the holding of a mutex by this process, for one who releases it.
func (l *lock) letGo(s *Session) (held live.HeldLock, ok bool) {
	if !l.mutex.by.CompareAndSwap(s, nil) {
		return held, false
	}
	l.serial.Store(0)
	return l.mutex.held, true // nobody else comes here before the queue is unlocked
}

// letPermitGo is letGo for one permit of a semaphore, the one that was taken last.
func (l *lock) letPermitGo(s *Session) (held live.HeldLock, ok bool) {
	l.permits.Lock()
	defer l.permits.Unlock()
	for i := len(l.permits.held) - 1; i >= 0; i-- {
		if l.permits.held[i].by == s {
			held = l.permits.held[i].held
			l.permits.held = slices.Delete(l.permits.held, i, i+1)
			return held, true
		}
	}
	return held, false
}

// List lists the named locks of a space that are in use, by name, a mutex before a semaphore.
func List(m *member.Member) (list []NamedLock, err error) {
	err = m.Within(func() error {
		for _, l := range m.Live.Locks() {
			n := NamedLock{LockState: l}
			for _, h := range l.Holders {
				n.Stopped = append(n.Stopped, !h.Dead && h.PID != 0 && member.Stopped(h.Process))
			}
			list = append(list, n)
		}
		return nil
	})
	slices.SortFunc(list, func(a, b NamedLock) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(min(a.Units, 1), min(b.Units, 1)))
	})
	return list, err
}

// NamedLock is a named lock in use.
type NamedLock struct {
	live.LockState
	Stopped []bool // of the holders: the system says that it is stopped
}

// ResumeMutex comes before the name of a state in that of the mutex that its run holds.
const ResumeMutex = "resume "

// Resumes reports whether a program runs under Resume, in whatever process.
func Resumes(m *member.Member) bool {
	return slices.ContainsFunc(m.Live.Locks(), func(l live.LockState) bool {
		return strings.HasPrefix(l.Name, ResumeMutex) && slices.ContainsFunc(l.Holders, func(h live.LockHolder) bool { return !h.Dead })
	})
}
