package engine

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/everheap/everheap/internal/goroutine"
	"github.com/everheap/everheap/internal/live"
	"github.com/everheap/everheap/internal/member"
	"github.com/everheap/everheap/internal/queue"
)

// Named locks: first the queue of this process, which is the same for all handles
// on one name, then the lock that the processes share.

// lockTable holds the named locks that this process has handles on, or holds.
type lockTable struct {
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
		by   atomic.Pointer[LockUser] // nil: not held by this process. Who swaps it to nil releases.
		held live.HeldLock            // while it is
	}
	units struct {
		sync.Mutex
		held []heldUnit
	}
}

// heldUnit is a unit of a semaphore that this process holds.
type heldUnit struct {
	by   *LockUser
	held live.HeldLock
}

// LockUser is one handle on the space, by which locks are taken: they are released
// when it is closed.
type LockUser struct {
	sp     *Space
	closed atomic.Bool
	open   context.Context // ends with Close
	end    context.CancelFunc

	watches sync.Map // *Watch: that hold something
}

// NewLockUser returns a new user of locks.
func (sp *Space) NewLockUser() *LockUser {
	u := &LockUser{sp: sp}
	u.open, u.end = context.WithCancel(context.Background())
	return u
}

// lock returns the lock of a key, which is to be dropped.
func (u *LockUser) lock(key lockKey) *lock {
	t := &u.sp.locks
	t.Lock()
	defer t.Unlock()
	l := t.locks[key]
	if l == nil {
		l = &lock{key: key}
		l.queue.Over = u.sp.Gone
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
func (t *lockTable) drop(l *lock) {
	t.Lock()
	defer t.Unlock()
	l.refs--
	t.forget(l)
}

// forget takes a lock out of the table that nobody has a handle on or holds.
func (t *lockTable) forget(l *lock) {
	l.units.Lock()
	held := len(l.units.held) > 0
	l.units.Unlock()
	if l.refs == 0 && !held && l.mutex.by.Load() == nil {
		delete(t.locks, l.key)
	}
}

// dropped is what the garbage collector needs to know of a handle.
type dropped struct {
	table *lockTable
	lock  *lock
}

func (d dropped) drop() { d.table.drop(d.lock) }

// enter begins an operation on a lock; Space.Exit must follow.
func (u *LockUser) enter(l *lock) error {
	if l.bad != nil {
		return l.bad
	}
	if u.sp.Guest {
		return fmt.Errorf("%w, by a user who may not write its files: named locks cannot be taken", ErrReadOnly)
	}
	if err := u.sp.Enter(); err != nil {
		return err
	}
	if u.closed.Load() {
		u.sp.Exit()
		return ErrClosed
	}
	return nil
}

// patience returns a context that ends with ctx, or when the handle is closed.
func (u *LockUser) patience(ctx context.Context) (context.Context, func()) {
	both, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(u.open, cancel)
	return both, func() { stop(); cancel() }
}

// queueFor takes the queue of a lock, waiting until ctx or the handle ends.
func (u *LockUser) queueFor(ctx context.Context, l *lock) error {
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
		return u.gaveUp(ctx, l, u.sp.Live.LockBusy(l.named, ctx.Err()))
	}
	return nil
}

// take waits for the lock of the space. The caller has the queue.
func (u *LockUser) take(ctx context.Context, l *lock) (live.HeldLock, error) {
	held, ok, err := u.sp.Live.TakeFree(l.named)
	if ok || err != nil {
		return held, err
	}
	both, end := u.patience(ctx)
	defer end()
	held, err = u.sp.Live.Take(both, l.named)
	return held, u.gaveUp(ctx, l, err)
}

// gaveUp completes the error of one who waited.
func (u *LockUser) gaveUp(ctx context.Context, l *lock, err error) error {
	busy, ok := err.(*live.BusyError)
	if !ok {
		return err
	}
	if u.closed.Load() && ctx.Err() == nil {
		return ErrClosed
	}
	busy.Cause = ctx.Err()
	busy.Stopped = busy.PID != 0 && member.Stopped(live.Process{PID: busy.PID, Foreign: busy.Foreign, Command: busy.Command})
	return busy
}

// notHeld is the error of one who releases what is not held by this handle, or what
// Close has released a moment ago.
func (u *LockUser) notHeld(what string, l *lock) error {
	if u.closed.Load() {
		return ErrClosed
	}
	return fmt.Errorf("%w: "+what, ErrNotHeld, l.named)
}

// Close releases what was taken by this handle; who waits gets ErrClosed.
func (u *LockUser) Close() {
	u.closed.Store(true)
	if u.sp.Forked() {
		return // who waits is the parent's
	}
	u.end()
	if u.sp.Enter() != nil {
		return
	}
	defer u.sp.Exit()
	u.watches.Range(func(w, _ any) bool { w.(*Watch).closeIdle(); return true })
	u.sp.locks.Lock()
	defer u.sp.locks.Unlock()
	for _, l := range u.sp.locks.locks {
		if held, ok := l.letGo(u); ok {
			u.sp.Anyhow(func() { u.sp.Live.GiveBack(held) })
			l.queue.Unlock()
		}
		for {
			held, ok := l.letUnitGo(u)
			if !ok {
				break
			}
			u.sp.Anyhow(func() { u.sp.Live.GiveBack(held) })
		}
		u.sp.locks.forget(l)
	}
}

// letGo ends the holding of a mutex by this process, for one who releases it.
func (l *lock) letGo(u *LockUser) (held live.HeldLock, ok bool) {
	if !l.mutex.by.CompareAndSwap(u, nil) {
		return held, false
	}
	l.serial.Store(0)
	return l.mutex.held, true // nobody else comes here before the queue is unlocked
}

// letUnitGo is letGo for one unit of a semaphore, the one that was taken last.
func (l *lock) letUnitGo(u *LockUser) (held live.HeldLock, ok bool) {
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

// Locks lists the named locks in use.
func (sp *Space) Locks() (list []NamedLock, err error) {
	err = sp.Inspect(func() error {
		for _, l := range sp.Live.Locks() {
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
