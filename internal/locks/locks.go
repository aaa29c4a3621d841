// Package locks has the named locks of a space, mutexes and semaphores, as one process uses them. A
// goroutine first takes the queue of this process, which all handles on one name share, and then
// the lock that the processes share. L6 to L9 of package live say how that lock works, and how it
// passes on when its holder dies.
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

// Table has the named locks that this process holds, or has handles on. The zero value is empty.
type Table struct {
	sync.Mutex
	locks map[lockKey]*lock
}

// lockKey identifies a lock. Two semaphores of one name with different numbers of permits have two
// keys, and an operation on the second one fails.
type lockKey struct {
	name    string
	permits int // 0 for a mutex
}

// lock is a named lock in this process.
type lock struct {
	key   lockKey
	named *live.NamedLock
	bad   error // error of every operation, because of the name
	refs  int   // how many handles; guarded by the table's mutex

	// queue is held as long as the mutex is held; for a semaphore, while a goroutine waits for a
	// permit.
	queue queue.Queue
	// serial is the goroutine that locked the mutex; 0 if none did, or unknown.
	serial atomic.Uint64
	mutex  struct {
		by   atomic.Pointer[Session] // nil if this process does not hold it; the goroutine that swaps it to nil releases it
		held live.HeldLock           // valid while by is set
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

// Session is one handle on the space. Locks are taken by a session, and closing it releases them.
type Session struct {
	m      *member.Member
	table  *Table // of the space
	closed atomic.Bool
	open   context.Context // ends with Close
	end    context.CancelFunc
	others sync.Map // of Idler: what else Close releases
}

// Idler holds something by a session.
type Idler interface {
	// CloseIdle releases it, unless its user is busy with it: then the user finds the session
	// closed, and releases it itself.
	CloseIdle()
}

// Init prepares s for the locks of a space.
func (s *Session) Init(m *member.Member, t *Table) {
	s.m, s.table = m, t
	s.open, s.end = context.WithCancel(context.Background())
}

// Closed returns a channel that is closed together with the session.
func (s *Session) Closed() <-chan struct{} { return s.open.Done() }

// IsClosed reports whether the session was closed.
func (s *Session) IsClosed() bool { return s.closed.Load() }

// Over returns why a wait is to end: the error of the context, or ErrClosed; nil if it is to
// continue.
func (s *Session) Over(ctx context.Context) error {
	if s.closed.Load() {
		return failure.ErrClosed
	}
	return ctx.Err()
}

// Keep adds an Idler that Close is to close.
func (s *Session) Keep(i Idler) { s.others.Store(i, nil) }

// Drop removes an Idler that Keep has added.
func (s *Session) Drop(i Idler) { s.others.Delete(i) }

// lock returns the lock with a key, and counts a handle on it, which must be dropped.
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

// drop removes a handle on a lock, when the garbage collector has found it unreachable. A held lock
// stays held until it is released.
func (t *Table) drop(l *lock) {
	t.Lock()
	defer t.Unlock()
	l.refs--
	t.forget(l)
}

// forget removes a lock from the table if it is not held and has no handle.
func (t *Table) forget(l *lock) {
	l.permits.Lock()
	held := len(l.permits.held) > 0
	l.permits.Unlock()
	if l.refs == 0 && !held && l.mutex.by.Load() == nil {
		delete(t.locks, l.key)
	}
}

// dropped is what a cleanup needs to know of a handle.
type dropped struct {
	table *Table
	lock  *lock
}

func (d dropped) drop() { d.table.drop(d.lock) }

// begin begins an operation on a lock; Member.Exit must follow.
func (s *Session) begin(l *lock) error {
	if l.bad != nil {
		return l.bad
	}
	if s.m.Guest {
		return fmt.Errorf("%w: this user may not write the files of the space, so it cannot take named locks", failure.ErrReadOnly)
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

// patience returns a context that ends with ctx, or when the session is closed.
func (s *Session) patience(ctx context.Context) (context.Context, func()) {
	both, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(s.open, cancel)
	return both, func() { stop(); cancel() }
}

// lockQueue locks the queue of a lock, waiting until ctx ends or the session is closed.
func (s *Session) lockQueue(ctx context.Context, l *lock) error {
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

// acquire takes the lock among the processes, and waits for it. The caller has the queue.
func (s *Session) acquire(ctx context.Context, l *lock) (live.HeldLock, error) {
	held, ok, err := s.m.Live.TakeFree(l.named)
	if ok || err != nil {
		return held, err
	}
	both, end := s.patience(ctx)
	defer end()
	held, err = s.m.Live.Take(both, l.named)
	return held, s.gaveUp(ctx, l, err)
}

// gaveUp completes the error of a wait that has ended.
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

// notHeld is the error for the release of a lock that this session does not hold, or that Close has
// just released.
func (s *Session) notHeld(what string, l *lock) error {
	if s.closed.Load() {
		return failure.ErrClosed
	}
	return fmt.Errorf("%w: "+what, failure.ErrNotHeld, l.named)
}

// Close releases everything that was taken by this session; its waiting goroutines get ErrClosed.
func (s *Session) Close() {
	s.closed.Store(true)
	if s.m.Forked() {
		return // the waiting goroutines belong to the parent
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

// letGo ends the hold of this process on a mutex, for the caller to release it.
func (l *lock) letGo(s *Session) (held live.HeldLock, ok bool) {
	if !l.mutex.by.CompareAndSwap(s, nil) {
		return held, false
	}
	l.serial.Store(0)
	return l.mutex.held, true // no other goroutine comes here before the queue is unlocked
}

// letPermitGo is letGo for the permit of a semaphore that was taken last.
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
	Stopped []bool // for each holder, whether the system says that it is stopped
}

// ResumeMutex, followed by the name of a state, is the name of the mutex that a Resume of that
// state holds.
const ResumeMutex = "resume "

// Resumes reports whether a program runs under Resume, in any process.
func Resumes(m *member.Member) bool {
	return slices.ContainsFunc(m.Live.Locks(), func(l live.LockState) bool {
		return strings.HasPrefix(l.Name, ResumeMutex) && slices.ContainsFunc(l.Holders, func(h live.LockHolder) bool { return !h.Dead })
	})
}
