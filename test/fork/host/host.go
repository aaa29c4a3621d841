// Command host is the library as an archive for a C program that forks; see host.c.
package main

import "C"

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"

	"github.com/everheap/everheap"
)

// Outcomes of the operations.
const (
	done   = 0
	forked = 1 // ErrForked
	failed = 2
)

// spaces has the open spaces, by their handles.
var spaces struct {
	sync.Mutex
	list []opened
}

type opened struct {
	space *everheap.Space
	m     everheap.Map[int, string]
}

func of(h C.int) opened {
	spaces.Lock()
	defer spaces.Unlock()
	return spaces.list[h]
}

// outcome returns the outcome of an operation, and prints an unexpected error.
func outcome(op string, err error) C.int {
	switch {
	case err == nil:
		return done
	case errors.Is(err, everheap.ErrForked):
		return forked
	}
	fmt.Fprintf(os.Stderr, "process %d: %s: %v\n", os.Getpid(), op, err)
	return failed
}

// hostOpen opens the space and returns a handle; -1: it failed.
//
//export hostOpen
func hostOpen(dir *C.char) C.int {
	s, err := everheap.Open(C.GoString(dir), everheap.WithMaxSize(256<<20))
	if err != nil {
		outcome("open", err)
		return -1
	}
	m, err := everheap.OpenMap[int, string](s, "m")
	if err != nil {
		outcome("open", err)
		return -1
	}
	spaces.Lock()
	defer spaces.Unlock()
	spaces.list = append(spaces.list, opened{s, m})
	return C.int(len(spaces.list) - 1)
}

// value returns the value of a key.
func value(key int) string { return strings.Repeat(fmt.Sprint(key, " "), 1+key%50) }

//export hostSet
func hostSet(h, key C.int) C.int {
	o := of(h)
	return outcome("set", o.m.Set(o.space, int(key), value(int(key))))
}

//export hostGet
func hostGet(h, key C.int) C.int {
	o := of(h)
	v, err := o.m.Get(o.space, int(key))
	if err == nil && v != value(int(key)) {
		err = fmt.Errorf("key %d has the value %q", key, v)
	}
	return outcome("get", err)
}

// hostAll runs every kind of operation, returns the worst outcome, and prints each outcome that is
// not want.
//
//export hostAll
func hostAll(h, want C.int) C.int {
	o := of(h)
	ctx := context.Background()
	nothing := func(tx *everheap.Tx) error { return nil }
	worst := C.int(done)
	check := func(op string, err error) {
		got := outcome(op, err)
		if got != want {
			fmt.Fprintf(os.Stderr, "process %d: %s: outcome %d, want %d\n", os.Getpid(), op, got, want)
		}
		worst = max(worst, got)
	}
	second := func(_ any, err error) error { return err }
	check("view", o.space.View(nothing))
	check("update", o.space.Update(ctx, nothing))
	check("durable update", o.space.Update(ctx, nothing, everheap.Durable))
	check("delete", second(o.m.Delete(o.space, -1)))
	check("len", second(o.m.Len(o.space)))
	check("sync", o.space.Sync(ctx))
	check("open a map", second(everheap.OpenMap[int, string](o.space, "m")))
	check("lock", o.space.Mutex("fork").Lock(ctx))
	if want == done {
		check("unlock", o.space.Mutex("fork").Unlock())
	}
	check("acquire", second(o.space.Semaphore("fork", 2).TryAcquire()))
	check("check", second(o.space.Check(ctx)))
	check("collect", second(o.space.Collect(ctx)))
	check("compact", second(o.space.Compact(ctx)))
	check("checkpoints", second(o.space.Checkpoints()))
	check("processes", second(o.space.Processes()))
	check("readers", second(o.space.Readers()))
	for _, err := range o.m.Watch(ctx, o.space) {
		check("watch", err)
		break
	}
	return worst
}

// hostUpdate stores n entries in one transaction, in the middle of which it calls fork.
//
//export hostUpdate
func hostUpdate(h, n C.int, pid *C.int) C.int {
	o := of(h)
	return outcome("update", o.space.Update(context.Background(), func(tx *everheap.Tx) error {
		for i := range int(n) {
			if i == int(n)/2 {
				*pid = forkNow()
			}
			if err := o.m.Set(tx, i, value(i)); err != nil {
				return err
			}
		}
		return nil
	}))
}

//export hostLock
func hostLock(h C.int) C.int {
	return outcome("lock", of(h).space.Mutex("x").Lock(context.Background()))
}

// hostHold keeps the writer lock and a version for ever.
//
//export hostHold
func hostHold(h C.int) C.int {
	held := make(chan struct{})
	o := of(h)
	go func() {
		_ = o.space.Update(context.Background(), func(tx *everheap.Tx) error {
			close(held)
			select {}
		})
	}()
	<-held
	return done
}

// hostCheck returns the number of findings.
//
//export hostCheck
func hostCheck(h C.int) C.int {
	r, err := of(h).space.Check(context.Background())
	if err != nil {
		outcome("check", err)
		return -1
	}
	for _, f := range r.Findings {
		fmt.Fprintf(os.Stderr, "process %d: %v\n", os.Getpid(), f)
	}
	return C.int(len(r.Findings))
}

//export hostClose
func hostClose(h C.int) C.int { return outcome("close", of(h).space.Close()) }

func main() {}
