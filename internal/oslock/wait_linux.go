package oslock

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"

	"golang.org/x/sys/unix"
)

// A process waits for a lock in a system call, and the kernel grants the lock in the order
// of arrival. Nothing interrupts that call: a signal that the Go runtime handles restarts
// it. So a separate goroutine, the sleeper, makes the call, and a waiter that gives up
// leaves the sleeper behind.
//
//	OL4 A process has at most one sleeper for a lock, however many of its goroutines wait.
//	    They stand in a queue, and a waiter that gives up leaves the queue. A sleeper that
//	    gets the lock and finds the queue empty closes its file, which releases the lock. So
//	    a sleeper left behind costs one thread and one descriptor for each lock, and it ends
//	    when the holder unlocks.
//	OL5 A waiter locks an open file that it uses for nothing else. So a sleeper left behind
//	    holds no other lock of the process.

// lockKey names a lock on this machine, and the mode in which a process waits for it.
type lockKey struct {
	device, inode uint64
	off           int64 // of the byte; wholeFile: the lock is the flock of the file
	shared        bool
}

// wholeFile stands in place of an offset for the flock of a file.
const wholeFile = -1

// sleepers has the queue of waiters for each lock that has a sleeper in this process. An
// empty queue belongs to a sleeper that was left behind.
var sleepers struct {
	sync.Mutex
	queues map[lockKey][]*waiter
}

// waiter is one call of Wait in a queue.
type waiter struct {
	file *os.File // the file that a sleeper will lock; nil: the sleeper has taken it
	turn chan taken
}

// taken is what a sleeper hands to a waiter.
type taken struct {
	file *os.File
	err  error
}

// Wait takes a shared or exclusive lock on the byte at off, as TryLock does, but waits until
// it gets the lock or the context ends. open opens a file that is used only for this lock
// (OL5). Wait returns such a file; closing it releases the lock. Errors: those of the
// context, of open, and of TryLock.
func Wait(ctx context.Context, open func() (*os.File, error), off int64, shared bool) (*os.File, error) {
	return wait(ctx, open, lockKey{off: off, shared: shared})
}

// WaitFile takes the exclusive flock of a whole file. It waits as Wait does: in the order of
// arrival, until it gets the flock or the context ends.
func WaitFile(ctx context.Context, open func() (*os.File, error)) (*os.File, error) {
	return wait(ctx, open, lockKey{off: wholeFile})
}

// wait takes the lock that the key names, on the file that open opens.
func wait(ctx context.Context, open func() (*os.File, error), key lockKey) (*os.File, error) {
	f, err := open()
	if err != nil {
		return nil, err
	}
	ok, err := key.try(f)
	if ok {
		return f, nil
	}
	if err == nil {
		err = ctx.Err()
	}
	if err == nil {
		err = key.of(f)
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
	if !w.leave(key) { // the sleeper has just taken w out of the queue, and its result comes
		if got := <-w.turn; got.file != nil {
			got.file.Close()
		}
	}
	return nil, ctx.Err()
}

// of completes the key with the identity of the file.
func (k *lockKey) of(f *os.File) error {
	var s unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &s); err != nil {
		return k.failed("waiting for", f, err)
	}
	k.device, k.inode = uint64(s.Dev), s.Ino
	return nil
}

// try takes the lock if it is free, and reports whether it did.
func (k *lockKey) try(f *os.File) (bool, error) {
	if k.off != wholeFile {
		return TryLock(f, k.off, k.shared)
	}
	err := k.call(f, false)
	if err == unix.EWOULDBLOCK {
		return false, nil
	}
	if err != nil {
		return false, k.failed("locking", f, err)
	}
	return true, nil
}

// call asks the kernel for the lock once. If wait is set the call sleeps until it gets the lock.
func (k *lockKey) call(f *os.File, wait bool) (err error) {
	fd := f.Fd()
	for err = error(unix.EINTR); err == unix.EINTR; {
		switch {
		case k.off == wholeFile && wait:
			err = unix.Flock(int(fd), unix.LOCK_EX)
		case k.off == wholeFile:
			err = unix.Flock(int(fd), unix.LOCK_EX|unix.LOCK_NB)
		default:
			lk := unix.Flock_t{Type: unix.F_WRLCK, Whence: io.SeekStart, Start: k.off, Len: 1}
			if k.shared {
				lk.Type = unix.F_RDLCK
			}
			err = unix.FcntlFlock(fd, unix.F_OFD_SETLKW, &lk)
		}
	}
	return err
}

// failed names the lock that could not be taken.
func (k *lockKey) failed(op string, f *os.File, err error) error {
	if k.off == wholeFile {
		return fmt.Errorf("%s %s: %w", op, f.Name(), err)
	}
	return lockError(op, f, k.off, err)
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

// leave leaves the queue. It reports false if the sleeper has taken w out of the queue already.
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

// sleep waits for the lock in the kernel, on one waiter's file after the other, and passes
// each result to the first waiter of the queue, until the queue is empty.
func sleep(key lockKey, f *os.File) {
	for f != nil {
		got := taken{file: f}
		if err := key.call(f, true); err != nil {
			got = taken{err: key.failed("waiting for", f, err)}
			f.Close()
		}
		f = pass(key, got)
	}
}

// pass passes the sleeper's result to the first waiter, and returns the file on which the
// sleeper waits for the next one. If there is no next waiter it deletes the queue and
// returns nil. If there is no first waiter either it closes the file.
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
