package oslock

import (
	"context"
	"io"
	"os"
	"slices"
	"sync"

	"golang.org/x/sys/unix"
)

// Waiting for a lock is a sleep in the kernel, which gives it to those who wait in the
// order in which they came. That sleep cannot be interrupted: a signal that the Go
// runtime handles restarts the call. So it is slept by a goroutine of its own, and who
// gives up leaves that one behind.
//
//	OL4 A process has one sleeper for a lock at the most, whatever waits there for how
//	    many contexts: those of a process stand in a queue, and who gives up leaves
//	    it. A sleeper that gets the lock when nobody is in the queue any more closes
//	    its file, and has the lock no more. So what was left behind costs one thread
//	    and one descriptor for each lock, and ends with whoever has the lock.
//	OL5 Who waits has the lock of an open file that is used for nothing else, so that
//	    one left behind keeps no other lock of his.

// lockKey is a lock of the machine, and how it is to be taken.
type lockKey struct {
	device, inode uint64
	off           int64
	shared        bool
}

// sleepers are the locks that this process waits for, each with the queue of those who
// do; an empty one is of a sleeper that was left behind.
var sleepers struct {
	sync.Mutex
	queues map[lockKey][]*waiter
}

// waiter is one who waits.
type waiter struct {
	file *os.File // to sleep with; nil: somebody does
	turn chan taken
}

// taken is what a sleeper hands on.
type taken struct {
	file *os.File
	err  error
}

// Wait takes the lock of the byte at off, shared or exclusive, as TryLock does, but
// waits until it gets it or the context ends. open opens a file for that lock alone;
// what Wait returns is such a file, and closing it gives the lock back. Errors: that of
// the context, of open, or of TryLock.
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

// keyOf returns the key of a lock.
func keyOf(f *os.File, off int64, shared bool) (lockKey, error) {
	var s unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &s); err != nil {
		return lockKey{}, lockError("waiting for the lock of", f, off, err)
	}
	return lockKey{uint64(s.Dev), s.Ino, off, shared}, nil
}

// join enters the queue, and sees to it that somebody sleeps.
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
// to the first in the queue, until there is nobody.
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

// pass hands what a sleeper got to the first in the queue, and returns the file to sleep
// with for the next one; nil if there is none: then what nobody wants is closed, and
// the queue ends.
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
