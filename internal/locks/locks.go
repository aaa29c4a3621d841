// Package locks has the named locks of a space, mutexes and semaphores, as one process sees
// them: first the queue of this process, which is the same for all handles on one name,
// then the lock that the processes share. What that is, and how it passes on when its
// holder dies, L6 to L9 of package live say.
//
// Start reading at User.Mutex and Mutex.Lock.
package locks

import (
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

// lockKey identifies a lock; two semaphores of one name with different units are
// two here, and find out when they are used.
type lockKey struct {
	name  string
	units int // 0: a mutex
}

// lock is a named lock, as this process sees it.
type lock struct {
	key   lockKey
	named *live.NamedLock
	bad   error // what is wrong with the name
	refs  int   // handles; under the table's mutex

	// queue is held as long as the mutex is; of a semaphore, while a unit is waited
	// for.
	queue queue.Queue
	// serial is the goroutine that locked the mutex; 0: none, or not known.
	serial atomic.Uint64
	mutex  struct {
		by   atomic.Pointer[User] // nil: not held by this process. Who swaps it to nil releases.
		held live.HeldLock        // while it is
	}
	units struct {
		sync.Mutex
		held []heldUnit
	}
}

// heldUnit is a unit of a semaphore that this process holds.
type heldUnit struct {
	by   *User
	held live.HeldLock
}

// User is one handle on the space, by which locks are taken: they are released
// when it is closed.
type User struct {
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
func (u *User) Init(m *member.Member, t *Table) {
	u.m, u.table = m, t
	u.open, u.end = context.WithCancel(context.Background())
}

// Closed returns a channel that is closed with the handle.
func (u *User) Closed() <-chan struct{} { return u.open.Done() }

// IsClosed reports whether the handle was closed.
func (u *User) IsClosed() bool { return u.closed.Load() }

// Over returns why waiting is to end: the error of the context, or ErrClosed.
func (u *User) Over(ctx context.Context) error {
	if u.closed.Load() {
		return failure.ErrClosed
	}
	return ctx.Err()
}

// Keep notes what is to be let go of when the handle is closed.
func (u *User) Keep(i Idler) { u.others.Store(i, nil) }

// Drop forgets what Keep has noted.
func (u *User) Drop(i Idler) { u.others.Delete(i) }

// lock returns the lock of a key, which is to be dropped.
func (u *User) lock(key lockKey) *lock {
	t := u.table
	t.Lock()
	defer t.Unlock()
	l := t.locks[key]
	if l == nil {
		l = &lock{key: key}
		l.queue.Over = u.m.Gone
		l.named, l.bad = live.NewNamedLock(key.name, key.units)
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
	l.units.Lock()
	held := len(l.units.held) > 0
	l.units.Unlock()
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
func (u *User) enter(l *lock) error {
	if l.bad != nil {
		return l.bad
	}
	if u.m.Guest {
		return fmt.Errorf("%w, by a user who may not write its files: named locks cannot be taken", failure.ErrReadOnly)
	}
	if err := u.m.Enter(); err != nil {
		return err
	}
	if u.closed.Load() {
		u.m.Exit()
		return failure.ErrClosed
	}
	return nil
}

// patience returns a context that ends with ctx, or when the handle is closed.
func (u *User) patience(ctx context.Context) (context.Context, func()) {
	both, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(u.open, cancel)
	return both, func() { stop(); cancel() }
}

// queueFor takes the queue of a lock, waiting until ctx or the handle ends.
func (u *User) queueFor(ctx context.Context, l *lock) error {
	if l.queue.TryLock() {
		return nil
	}
	if n := goroutine.GoID(); n != 0 && l.serial.Load() == n {
		return &selfLockError{l.named.String()}
	}
	both, end := u.patience(ctx)
	defer end()
	if err := l.queue.LockSlow(both); err == queue.ErrGone {
		return err
	} else if err != nil {
		return u.gaveUp(ctx, l, u.m.Live.LockBusy(l.named, ctx.Err()))
	}
	return nil
}

// take waits for the lock of the space. The caller has the queue.
func (u *User) take(ctx context.Context, l *lock) (live.HeldLock, error) {
	held, ok, err := u.m.Live.TakeFree(l.named)
	if ok || err != nil {
		return held, err
	}
	both, end := u.patience(ctx)
	defer end()
	held, err = u.m.Live.Take(both, l.named)
	return held, u.gaveUp(ctx, l, err)
}

// gaveUp completes the error of one who waited.
func (u *User) gaveUp(ctx context.Context, l *lock, err error) error {
	busy, ok := err.(*live.BusyError)
	if !ok {
		return err
	}
	if u.closed.Load() && ctx.Err() == nil {
		return failure.ErrClosed
	}
	busy.Cause = ctx.Err()
	busy.Stopped = busy.PID != 0 && member.Stopped(live.Process{PID: busy.PID, Foreign: busy.Foreign, Command: busy.Command})
	return busy
}

// notHeld is the error of one who releases what is not held by this handle, or what
// Close has released a moment ago.
func (u *User) notHeld(what string, l *lock) error {
	if u.closed.Load() {
		return failure.ErrClosed
	}
	return fmt.Errorf("%w: "+what, failure.ErrNotHeld, l.named)
}

// Close releases what was taken by this handle; who waits gets ErrClosed.
func (u *User) Close() {
	u.closed.Store(true)
	if u.m.Forked() {
		return // who waits is the parent's
	}
	u.end()
	if u.m.Enter() != nil {
		return
	}
	defer u.m.Exit()
	u.others.Range(func(i, _ any) bool { i.(Idler).CloseIdle(); return true })
	u.table.Lock()
	defer u.table.Unlock()
	for _, l := range u.table.locks {
		if held, ok := l.letGo(u); ok {
			u.m.Anyhow(func() { u.m.Live.GiveBack(held) })
			l.queue.Unlock()
		}
		for {
			held, ok := l.letUnitGo(u)
			if !ok {
				break
			}
			u.m.Anyhow(func() { u.m.Live.GiveBack(held) })
		}
		u.table.forget(l)
	}
}

// letGo ends the holding of a mutex by this process, for one who releases it.
func (l *lock) letGo(u *User) (held live.HeldLock, ok bool) {
	if !l.mutex.by.CompareAndSwap(u, nil) {
		return held, false
	}
	l.serial.Store(0)
	return l.mutex.held, true // nobody else comes here before the queue is unlocked
}

// letUnitGo is letGo for one unit of a semaphore, the one that was taken last.
func (l *lock) letUnitGo(u *User) (held live.HeldLock, ok bool) {
	l.units.Lock()
	defer l.units.Unlock()
	for i := len(l.units.held) - 1; i >= 0; i-- {
		if l.units.held[i].by == u {
			held = l.units.held[i].held
			l.units.held = slices.Delete(l.units.held, i, i+1)
			return held, true
		}
	}
	return held, false
}

// Len returns how many they are.
func (t *Table) Len() int {
	t.Lock()
	defer t.Unlock()
	return len(t.locks)
}

// List lists the named locks of a space that are in use.
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
