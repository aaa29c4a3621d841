package oslock

import (
	"context"
	"io"
	"os"
	"slices"
	"sync"

	"golang.org/x/sys/unix"
)

// A process waits for a lock by a sleep in the kernel, which grants the lock in the order of
// arrival. Nothing interrupts that sleep: a signal that the Go runtime handles restarts the
// call. So a goroutine of its own, the sleeper, sleeps; a waiter that gives up leaves the
// sleeper behind.
//
//	OL4 A process has at most one sleeper for a lock, however many of its goroutines
//	    wait: they stand in a queue, and a waiter that gives up leaves the queue. A
//	    sleeper that gets the lock and finds the queue empty closes its file, which
//	    gives the lock back. So a sleeper left behind costs one thread and one
//	    descriptor for each lock, and ends when the holder unlocks.
//	OL5 A waiter locks an open file that is used for nothing else, so a sleeper left
//	    behind keeps no other lock of the process.

// lockKey names a lock of the machine, and the mode in which a process waits for it.
type lockKey struct {
	device, inode uint64
	off           int64
	shared        bool
}

// sleepers are the locks that this process waits for, each with its queue of waiters. An
// empty queue belongs to a sleeper that was left behind.
var sleepers struct {
	sync.Mutex
	queues map[lockKey][]*waiter
}

// waiter is one call of Wait in a queue.
type waiter struct {
	file *os.File // for the sleeper to sleep with; nil: the sleeper has it
	turn chan taken
}

// taken is what a sleeper hands to a waiter.
type taken struct {
	file *os.File
	err  error
}

// Wait takes the lock of the byte at off, shared or exclusive, as TryLock does, but
// waits until it gets the lock or the context ends. open opens a file for that lock alone
// (OL5). Wait returns such a file; closing it gives the lock back. Errors: that of the
// context, of open, or of TryLock.
func Wait(ctx context.Context, open func() (*os.File, error), off int64, shared bool) (*os.File, error) {
	f, err := open()
	if err != nil {
		return nil, err
	}
	ok, err := TryLock(f, off, shared)
	if ok {
		return f, nil
	}
	var key lockKey
	if err == nil {
		err = ctx.Err()
	}
	if err == nil {
		key, err = keyOf(f, off, shared)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	w := join(key, f)
	select {
	case got := <-w.turn:
		return got.file, got.err
	case <-ctx.Done():
	}
	if !w.leave(key) { // the turn came at the same time
		if got := <-w.turn; got.file != nil {
			got.file.Close()
		}
	}
	return nil, ctx.Err()
}

func keyOf(f *os.File, off int64, shared bool) (lockKey, error) {
	var s unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &s); err != nil {
		return lockKey{}, lockError("waiting for the lock of", f, off, err)
	}
	return lockKey{uint64(s.Dev), s.Ino, off, shared}, nil
}

// join enters the queue, and starts a sleeper if there is none (OL4).
func join(key lockKey, f *os.File) *waiter {
	sleepers.Lock()
	defer sleepers.Unlock()
	if sleepers.queues == nil {
		sleepers.queues = map[lockKey][]*waiter{}
	}
	w := &waiter{turn: make(chan taken, 1)}
	if q, asleep := sleepers.queues[key]; asleep {
		w.file = f
		sleepers.queues[key] = append(q, w)
		return w
	}
	sleepers.queues[key] = []*waiter{w}
	go sleep(key, f)
	return w
}

// leave leaves the queue, and reports false if the turn has come.
func (w *waiter) leave(key lockKey) bool {
	sleepers.Lock()
	defer sleepers.Unlock()
	q := sleepers.queues[key]
	i := slices.Index(q, w)
	if i < 0 {
		return false
	}
	sleepers.queues[key] = slices.Delete(q, i, i+1)
	if w.file != nil {
		w.file.Close()
	}
	return true
}

// sleep waits for the lock in the kernel, with one file after the other, and hands each
// to the first waiter of the queue, until the queue is empty.
func sleep(key lockKey, f *os.File) {
	lk := unix.Flock_t{Type: unix.F_WRLCK, Whence: io.SeekStart, Start: key.off, Len: 1}
	if key.shared {
		lk.Type = unix.F_RDLCK
	}
	for f != nil {
		failed := error(unix.EINTR)
		for failed == unix.EINTR {
			failed = unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLKW, &lk)
		}
		got := taken{file: f}
		if failed != nil {
			got = taken{err: lockError("waiting for the lock of", f, key.off, failed)}
			f.Close()
		}
		f = pass(key, got)
	}
}

// pass hands what a sleeper got to the first waiter, and returns the file to sleep with for
// the next one. Without a further waiter it returns nil and deletes the queue; a file that
// no waiter wants it closes.
func pass(key lockKey, got taken) (next *os.File) {
	sleepers.Lock()
	defer sleepers.Unlock()
	q := sleepers.queues[key]
	if len(q) == 0 {
		if got.file != nil {
			got.file.Close()
		}
		delete(sleepers.queues, key)
		return nil
	}
	first := q[0]
	if len(q) == 1 {
		if first.file != nil {
			first.file.Close()
		}
		delete(sleepers.queues, key)
	} else {
		if next = first.file; next == nil {
			next, q[1].file = q[1].file, nil
		}
		sleepers.queues[key] = q[1:]
	}
	first.turn <- got
	return next
}
