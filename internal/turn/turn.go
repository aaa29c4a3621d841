// Package turn lets one writer at a time through, by the queue of the process and the writer lock of
// the space, and makes its version the newest one, by the swap that is the commit (E1 to E3 of the
// engine).
//
// Start reading at Turn.Take and Turn.Publish.
package turn

import (
	"context"
	"runtime/debug"

	"github.com/everheap/everheap/internal/durable"
	"github.com/everheap/everheap/internal/failure"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/heap"
	"github.com/everheap/everheap/internal/live"
	"github.com/everheap/everheap/internal/member"
)

// Turn is how one process takes its turn to write in a space.
type Turn struct {
	*member.Member
	durable *durable.Writer
	Txn     heap.Txn // of the transaction that has the queue
	Change  Change

	// Aside writes the changes of a version that does not list them to a file for subscriptions,
	// before the version is published. It returns the name of the file, or 0 if it could not write
	// it. before is the chain of the base.
	Aside func(base, state *format.State, before uint64) (name uint64)
}

// Writing is a write transaction for code that changes no objects.
type Writing struct {
	Txn   *heap.Txn
	State *format.State // the state of the new version; its Version is still that of the base
	Base  format.Addr   // the state of the version that the transaction starts from, which is held
}

// Change runs fn in a transaction of its own, in a guard, and returns the version that it has
// published. If fn returns an error, nothing has changed.
type Change func(ctx context.Context, fn func(w Writing) error) (format.Version, error)

// Init prepares the turn of a member that is about to open the space. The caller sets Change and
// Aside afterwards.
func (w *Turn) Init(m *member.Member, d *durable.Writer) { w.Member, w.durable = m, d }

// Take takes the queue of the process and the writer lock of the space; Give must
// follow.
func (w *Turn) Take(ctx context.Context) (err error) {
	before := debug.SetPanicOnFault(true)
	defer func() {
		debug.SetPanicOnFault(before)
		r := recover()
		if r == nil {
			return
		}
		if err = w.Fault(r); err == nil {
			panic(r)
		}
		if !w.Forked() && w.Queue.Mine() {
			w.Give()
		}
	}()
	return w.Await(ctx)
}

// Await is Take for a caller with a guard of its own. If Await panics, the caller may have the queue.
func (w *Turn) Await(ctx context.Context) error {
	if w.Forked() {
		return failure.ErrForked
	}
	if w.ReadOnly {
		return failure.ErrReadOnly
	}
	if err := w.Queue.Lock(ctx); err != nil {
		return err
	}
	if w.Shut.Load() {
		w.Queue.Unlock()
		return w.WhyClosed()
	}
	if err := w.durable.Refused(); err != nil {
		w.Queue.Unlock()
		return err
	}
	grant, err := w.Live.LockWriter(ctx)
	if err != nil {
		w.Queue.Unlock()
		return err
	}
	if err := w.durable.Refused(); err != nil { // a sync may have failed while it waited
		w.Give()
		return err
	}
	if grant == live.FromSuspended && w.Live.Words().Replica.Load() == 0 { // else RP3
		if err := w.outrun(); err != nil {
			w.Give()
			return err
		}
	}
	return nil
}

// Give releases what Take took.
func (w *Turn) Give() {
	w.Anyhow(w.Live.UnlockWriter)
	w.Queue.Unlock()
}

// PassOn releases the writer lock if this process has it and no goroutine uses it. That happens
// because a holder hands the lock to a process that has waited for a while, and cannot know that the
// waiter gives up in the same moment. Without PassOn, other processes would wait until this one
// counts as suspended. The queue tells whether the lock is in use: a goroutine that writes, or waits
// for the lock, has the queue.
func (w *Turn) PassOn() {
	if !w.Live.OwnsWriter() || !w.Queue.TryLock() {
		return
	}
	defer w.Queue.Unlock()
	if w.Live.OwnsWriter() {
		w.Live.UnlockWriter()
	}
}

// outrun publishes a version that changes nothing. After that, the swap of the suspended process
// whose lock this process took over must fail (E3). If that process swaps first, its version is the
// base of the next try.
func (w *Turn) outrun() error {
	if w.Live.Words().Clean.Load() != 0 { // E5
		if err := w.durable.MakeUnclean(); err != nil {
			return err
		}
	}
	return w.UsingLists(func() error {
		w.Heap.Enter()
		for {
			published, err := w.publishNothing()
			if published || err != nil {
				return err
			}
		}
	})
}

// publishNothing publishes a version that changes nothing.
func (w *Turn) publishNothing() (published bool, err error) {
	hold, t := w.Live.HoldCurrent(), &w.Txn
	defer w.endPublish(debug.SetPanicOnFault(true), t, &hold, &published, &err)
	state := *member.StateAt(hold.State)
	t.Begin(w.Heap, hold.State, format.Version(state.Version)+1, w.Reader)
	err = w.Publish(t, &hold, &state, nil, &published)
	return published, err
}

// endPublish ends publishNothing, as endWrite does a commit.
func (w *Turn) endPublish(before bool, t *heap.Txn, hold *live.Hold, published *bool, err *error) {
	debug.SetPanicOnFault(before)
	if r := recover(); r != nil {
		fault := w.Fault(r)
		if fault == nil {
			panic(r)
		}
		if w.Forked() { // Abandon and Release would act for the parent
			*err = fault
			return
		}
		t.Forget()
		w.Anyhow(w.Heap.Abandon)
		if *published {
			w.Note(fault)
		} else {
			*err = fault
		}
	}
	if hold.Held() {
		w.Anyhow(func() { w.Live.Release(hold) })
	}
}
