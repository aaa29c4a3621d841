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
	off           int64 // wholeFile: the lock is the flock of the file
	shared        bool
}

// wholeFile stands for the offset of a flock.
const wholeFile = -1

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
	return wait(ctx, open, lockKey{off: off, shared: shared})
}

// WaitFile takes the exclusive flock of a whole file, as Wait takes the lock of a byte:
// with a sleep in the kernel, in order, until the context ends.
func WaitFile(ctx context.Context, open func() (*os.File, error)) (*os.File, error) {
	return wait(ctx, open, lockKey{off: wholeFile})
}

// wait takes the lock that the key names, of the file that open opens.
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
	if !w.leave(key) { // the turn came at the same time
		if got := <-w.turn; got.file != nil {
			got.file.Close()
		}
	}
	return nil, ctx.Err()
}

// of makes the key that of a lock of the file.
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

// call asks the kernel for the lock, once; wait says that the call may sleep.
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

// failed says which lock could not be taken, and why.
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
	for f != nil {
		got := taken{file: f}
		if err := key.call(f, true); err != nil {
			got = taken{err: key.failed("waiting for", f, err)}
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
