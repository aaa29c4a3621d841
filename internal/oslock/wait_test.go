//go:build linux

package oslock_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/everheap/everheap/internal/oslock"
)

// waitBound is how long a test waits, for something that takes a moment, before it fails.
const waitBound = time.Minute

// lockable returns a function that opens a new file of the test.
func lockable(t *testing.T) func() (*os.File, error) {
	path := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	return func() (*os.File, error) { return os.OpenFile(path, os.O_RDWR, 0) }
}

// openFiles counts the descriptors of the file of this process.
func openFiles(t *testing.T, open func() (*os.File, error)) (n int) {
	f, err := open()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range list {
		if to, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil && to == f.Name() {
			n++
		}
	}
	return n - 1
}

// eventually fails the test if a condition does not become true.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for began := time.Now(); !ok(); time.Sleep(time.Millisecond) {
		if time.Since(began) > waitBound {
			t.Fatalf("waited %v for %s in vain", waitBound, what)
		}
	}
}

// waiting is one of the functions that wait for an exclusive lock.
type waiting func(ctx context.Context, open func() (*os.File, error)) (*os.File, error)

var exclusive = map[string]waiting{
	"a byte": func(ctx context.Context, open func() (*os.File, error)) (*os.File, error) {
		return oslock.Wait(ctx, open, 7, false)
	},
	"a file": oslock.WaitFile,
}

// Waiters get the lock in the order of their arrival.
func TestWait_InOrder(t *testing.T) { // OL4
	for name, wait := range exclusive {
		t.Run(name, func(t *testing.T) { inOrder(t, wait) })
	}
}

func inOrder(t *testing.T, wait waiting) {
	open := lockable(t)
	held, err := wait(context.Background(), open)
	if err != nil {
		t.Fatal(err)
	}
	const n = 8
	got := make(chan int, n)
	for i := range n {
		go func() {
			f, err := wait(context.Background(), open)
			if err != nil {
				t.Error(err)
			}
			got <- i
			f.Close()
		}()
		eventually(t, "one more to wait", func() bool { return oslock.Waiting() == i+1 })
	}
	held.Close()
	for want := range n {
		select {
		case i := <-got:
			if i != want {
				t.Errorf("waiter %d got the lock as number %d", i, want)
			}
		case <-time.After(waitBound):
			t.Fatalf("waiter %d does not get the lock", want)
		}
	}
	eventually(t, "all files to be closed", func() bool { return openFiles(t, open) == 0 })
}

// However many waiters give up, they leave one sleeper behind. The sleeper serves the next
// waiter, and it ends when the holder unlocks.
func TestWait_GivenUp(t *testing.T) { // OL4
	for name, wait := range exclusive {
		t.Run(name, func(t *testing.T) { givenUp(t, wait) })
	}
}

func givenUp(t *testing.T, wait waiting) {
	open := lockable(t)
	held, err := wait(context.Background(), open)
	if err != nil {
		t.Fatal(err)
	}
	ended, end := context.WithCancel(context.Background())
	for range 50 {
		ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
		if _, err := wait(ctx, open); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatal(err)
		}
		cancel()
	}
	if n := openFiles(t, open); n != 2 { // the holder's, the sleeper's
		t.Errorf("%d files are open", n)
	}
	got := make(chan *os.File, 1)
	go func() {
		f, err := wait(ended, open)
		if err != nil {
			t.Error(err)
		}
		got <- f
	}()
	eventually(t, "one to wait", func() bool { return oslock.Waiting() == 1 })
	held.Close()
	f := <-got
	end()
	f.Close()
	if held, err = wait(context.Background(), open); err != nil {
		t.Fatal(err)
	}
	held.Close()
	eventually(t, "all files to be closed", func() bool { return openFiles(t, open) == 0 })
}

// A Wait whose context has ended already leaves neither a sleeper nor a file behind if the
// lock is taken.
func TestWait_EndedBefore(t *testing.T) { // OL4
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	for name, wait := range exclusive {
		t.Run(name, func(t *testing.T) {
			open := lockable(t)
			held, err := wait(ctx, open) // the lock is free
			if err != nil {
				t.Fatal(err)
			}
			defer held.Close()
			before := oslock.Sleepers()
			for range 20 {
				if _, err := wait(ctx, open); !errors.Is(err, context.Canceled) {
					t.Fatal(err)
				}
			}
			if n := openFiles(t, open); n != 1 || oslock.Sleepers() != before {
				t.Errorf("%d files are open, and there are %d sleepers, %d before", n, oslock.Sleepers(), before)
			}
		})
	}
}

// A lateContext calls end inside Done: after the waiter has joined the queue, before it
// waits.
type lateContext struct {
	context.Context
	end func()
}

func (c *lateContext) Done() <-chan struct{} { c.end(); return c.Context.Done() }

// The context ends just as the waiter gets the lock: the waiter keeps the lock or releases it.
func TestWait_EndsAsTheTurnComes(t *testing.T) { // OL4
	for name, wait := range exclusive {
		t.Run(name, func(t *testing.T) {
			open := lockable(t)
			for gaveUp := 0; gaveUp < 3; { // it gives up about every second time
				held, err := wait(context.Background(), open)
				if err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithCancel(context.Background())
				f, err := wait(&lateContext{ctx, func() {
					held.Close()
					eventually(t, "the turn", func() bool { return oslock.Waiting() == 0 })
					cancel()
				}}, open)
				if err == nil {
					f.Close()
				} else if gaveUp++; !errors.Is(err, context.Canceled) {
					t.Fatal(err)
				}
				cancel()
				if n := openFiles(t, open); n != 0 {
					t.Fatalf("%d files are open (%v)", n, err)
				}
			}
		})
	}
}

// A waiter for the lock of one file does not wait for the lock of another file.
func TestWait_TwoFiles(t *testing.T) {
	for name, wait := range exclusive {
		t.Run(name, func(t *testing.T) {
			one, other := lockable(t), lockable(t)
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			hold := func(open func() (*os.File, error)) *os.File {
				f, err := wait(ctx, open)
				if err != nil {
					t.Fatal(err)
				}
				return f
			}
			heldOne, heldOther := hold(one), hold(other)
			defer heldOne.Close()
			go func() { _, _ = wait(ctx, one) }()
			eventually(t, "one to wait", func() bool { return oslock.Waiting() == 1 })
			got := make(chan error, 1)
			go func() {
				f, err := wait(ctx, other)
				f.Close()
				got <- err
			}()
			eventually(t, "another one to wait", func() bool { return oslock.Waiting() == 2 })
			heldOther.Close()
			select {
			case err := <-got:
				if err != nil {
					t.Error(err)
				}
			case <-time.After(waitBound):
				t.Error("Wait waits for another file's lock")
			}
			cancel()
			eventually(t, "nobody to wait", func() bool { return oslock.Waiting() == 0 })
		})
	}
}

// A shared waiter waits for an exclusive holder, and it needs only a file open for reading.
func TestWait_Shared(t *testing.T) {
	open := lockable(t)
	held, err := oslock.Wait(context.Background(), open, 7, false)
	if err != nil {
		t.Fatal(err)
	}
	readable := func() (*os.File, error) { return os.Open(held.Name()) }
	got := make(chan error, 2)
	for range 2 {
		go func() {
			_, err := oslock.Wait(context.Background(), readable, 7, true) // held until the test ends
			got <- err
		}()
	}
	eventually(t, "both to wait", func() bool { return oslock.Waiting() == 2 })
	held.Close()
	for range 2 {
		if err := <-got; err != nil {
			t.Error(err)
		}
	}
}

func TestHolders_NamesTheProcess(t *testing.T) {
	open := lockable(t)
	held, err := oslock.Wait(context.Background(), open, 1<<62, false)
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	list := oslock.Holders(held, 1<<62)
	if len(list) != 1 || list[0].PID != os.Getpid() || list[0].Command == "" || list[0].Stopped {
		t.Errorf("%+v", list)
	}
	if list := oslock.Holders(held, 1<<62+1); len(list) != 0 {
		t.Errorf("holders of a byte that is not locked: %+v", list)
	}
}
