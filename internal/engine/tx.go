package engine

import (
	"context"
	"fmt"
	"runtime/debug"
	"sync/atomic"
	"unsafe"

	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/heap"
	"github.com/everheap/everheap/internal/invariant"
	"github.com/everheap/everheap/internal/live"
)

// Tx is one transaction: a view of one version, or the making of the next. A
// reading one may be shared by goroutines. There is one for every View, which is never
// used again: so it is small, and what it finds out about the version is kept by the space.
type Tx struct {
	*making
	sp     *Space
	reader *heap.Reader
	state  *format.State // the version's; a writing transaction's own copy
	hold   live.Hold
	ended  atomic.Bool

	*found             // nil: it has no handle, and is over after one operation
	within *Resumption // a reading one of its goroutine, or nil
}

// found is what a reading transaction has come to: the map that it used first, since most
// use but one, and the search for what references lead to.
type found struct {
	first atomic.Pointer[binding]
	refs  atomic.Pointer[refSearch]
}

// Viewer is a reading transaction that has a handle.
type Viewer struct {
	Tx
	found found
}

// Begin begins it, for who has a guard. If it panics DropView must follow.
func (v *Viewer) Begin(sp *Space) error {
	v.Tx.found = &v.found
	return v.view(sp)
}

// making is what a transaction has that writes, and a snapshot of one.
type making struct {
	write    *heap.Txn          // nil: reading
	replayed *format.RecordHead // of the last record, if the changes come from the journal
	own      format.State
	using    using  // by which goroutine
	failed   error  // the tree may be half changed: only an abort is possible
	next     uint64 // NextIndex of the base: objects below it are published
	recent   *Map   // bound last to an object of this transaction
	fresh    fresh
	unlinked uint64 // values with handles that were replaced or removed: see Space.collectDue

	role role // what its changes are

	of   *Tx   // the writing one that it is a snapshot of, or nil
	lost error // that of a resumption, ended: why (S4)
}

// role is what the changes of a transaction that writes are.
type role uint8

const (
	editing   role = iota // those of the program
	applying              // those of a journal or a backup: see applier
	recasting             // of types: see recast
	spoiled               // of nobody any more: a page could not be read, and what was written is not touched again
)

// reading is what all have that read a published version. Nobody writes it.
var reading making

// Enter says that an operation begins which the space may not be closed under;
// Exit must follow.
func (sp *Space) Enter() error { return sp.enter() }

// Exit ends what Enter began.
func (sp *Space) Exit() { sp.views.Add(-1) }

// enter counts an operation that holds no slot and no turn, so that Close waits
// for it.
func (sp *Space) enter() error {
	if sp.Forked() {
		return ErrForked
	}
	sp.views.Add(1)
	if sp.closed.Load() {
		sp.views.Add(-1)
		return sp.whyClosed()
	}
	return nil
}

// View begins a reading transaction on the newest version, for who has no guard; DropView
// must follow. It takes no lock.
func (sp *Space) View() (*Tx, error) {
	v := &Viewer{Tx: Tx{making: &reading}}
	if err := sp.guarded(func() error { return v.Begin(sp) }); err != nil {
		v.DropView()
		return nil, err
	}
	return &v.Tx, nil
}

// view begins a reading transaction in a given Tx. If it panics, what there is to be let
// go of stands in it.
func (tx *Tx) view(sp *Space) error {
	tx.sp, tx.making = sp, &reading
	if sp.Forked() {
		return ErrForked
	}
	if !sp.live.HoldUnless(&tx.hold, &sp.closed) {
		return sp.whyClosed()
	}
	tx.reader = &sp.reader
	if sp.reader.Verifies() {
		r := sp.reader.Of(tx.hold.State)
		tx.reader = &r
	}
	tx.state = stateAt(tx.hold.State)
	return nil
}

// stateAt returns the state in a block that is held and was published.
func stateAt(a format.Addr) *format.State {
	return (*format.State)(unsafe.Add(unsafe.Pointer(nil), uintptr(a)+format.HeaderSize))
}

// EndView ends a reading transaction, for who has a guard. What was borrowed from it is
// invalid from now on. If it panics DropView must follow.
func (tx *Tx) EndView() {
	if tx.ended.Swap(true) {
		return
	}
	if tx.of != nil {
		tx.of.write.Thaw()
	} else if !tx.sp.Forked() {
		tx.sp.live.TryRelease(&tx.hold)
	}
	if within := tx.within; within != nil {
		tx.within = nil
		within.Leave()
	}
}

// DropView is EndView for who has no guard, and for a transaction whose beginning or end
// has failed.
func (tx *Tx) DropView() {
	sp := tx.sp
	sp.anyhow(tx.EndView)
	if tx.hold.Held() && !sp.Forked() {
		sp.anyhow(func() { sp.live.Release(&tx.hold) })
	}
	if within := tx.within; within != nil {
		tx.within = nil
		within.Leave()
	}
}

// writer is a transaction that writes, with what it has for that.
type writer struct {
	tx     Tx
	making making
}

// Begin begins a writing transaction. It waits for its turn: first in this
// process, then among the processes; ctx ends the waiting with ErrBusy.
func (sp *Space) Begin(ctx context.Context) (*Tx, error) {
	w := new(writer)
	tx := &w.tx
	tx.making = &w.making
	if err := tx.begin(ctx, sp); err != nil {
		return nil, err
	}
	return tx, nil
}

// begin is Begin into a given Tx, whose fields it sets after the queue was
// passed.
func (tx *Tx) begin(ctx context.Context, sp *Space) (err error) {
	before := debug.SetPanicOnFault(true)
	in := beginning
	defer func() {
		debug.SetPanicOnFault(before)
		if in != over {
			r, handled := recover(), false
			if handled, err = tx.endWrite(sp, in, nil, r); r != nil && !handled {
				panic(r)
			}
		}
	}()
	err = tx.start(ctx, sp)
	in = over
	return err
}

// start is begin for who has a guard; endWrite is for what it leaves if it panics.
//
// The order matters: the heap is entered, which marks the process active, before
// the base is held and before anything is allocated (I7); the base is read after
// the lock was taken, so that what the former holder published is seen.
func (tx *Tx) start(ctx context.Context, sp *Space) error {
	if err := sp.awaitTurn(ctx); err != nil {
		return err
	}
	tx.sp, tx.write, tx.hold = sp, &sp.txn, live.Hold{}
	setFlag(&tx.ended, false)
	tx.failed, tx.recent, tx.replayed, tx.role = nil, nil, nil, editing
	sp.heap.Enter()
	invariant.Point("begin.active")
	tx.unlinked = 0
	tx.fresh.reset()
	sp.writer = tx
	sp.live.HoldIn(&tx.hold)
	invariant.Point("begin.slot")
	tx.own = *stateAt(tx.hold.State)
	tx.state, tx.next = &tx.own, tx.own.NextIndex
	tx.write.Begin(sp.heap, tx.hold.State, format.Version(tx.own.Version)+1, sp.reader)
	if sp.options.NoJournal {
		tx.write.NoLog()
	}
	tx.reader = &tx.write.Reader
	if sp.live.Words().Clean.Load() != 0 {
		if err := sp.makeUnclean(); err != nil {
			tx.Abort()
			return err
		}
	}
	invariant.Point("begin.ready")
	return nil
}

// published reports whether the object with the index is one of a published
// version, and not of this transaction, which may abort.
func (tx *Tx) published(index uint64) bool {
	return tx.write == nil && tx.of == nil || index < tx.next
}

// publish writes the state block, seals what the transaction wrote, and swaps
// the current state from the held base to the new one (E1, E2, I3). It ends the
// heap's transaction and releases the hold either way, unless it panics, and says in
// published whether there was a swap. An error that is nil, without a swap, says that
// others have published something since.
//
// as is the head of the last record if the changes come from the journal; else nil.
func (sp *Space) publish(t *heap.Txn, hold *live.Hold, state *format.State, as *format.RecordHead, published *bool) error {
	t.Conclude()
	a, err := t.Alloc(format.KindState, format.ByteCount(format.StateSize))
	var op format.Op
	if err == nil {
		op, err = t.SealLog()
	}
	if err != nil {
		t.Aborted()
		sp.live.Release(hold)
		return err
	}
	t.Free(hold.State)
	if ops := format.Addr(state.OpBlock); format.OpKindOf(state.OpWhat) == format.OpList && t.Plausible(ops) {
		t.Free(ops)
	}
	state.Version = uint64(t.Version())
	state.Previous = uint64(hold.State)
	state.OpWhat, state.OpBlock, state.OpArg = op.What, op.Block, op.Arg
	if as == nil {
		state.UnixNano = uint64(sp.live.Now())
		state.Chain = format.NextChain(state.Chain, sp.live.Words().Salt.Load(), state.Version)
	} else {
		state.UnixNano, state.Chain = as.UnixNano, as.Chain
	}
	state.BlockBytes += uint64(t.Bytes())
	*(*format.State)(t.Payload(a)) = *state // words only, no pointers: not a typed pointer store
	t.Seal()
	invariant.Point("commit.sealed")
	invariant.Point("commit.swap")
	*published = sp.live.Publish(hold.State, a)
	if invariant.Enabled {
		noteSwap(sp.live.Record(), *published, hold.State, a, t.Version())
	}
	invariant.Point("commit.swapped")
	if *published {
		sp.live.Announce()
	}
	sp.live.TryRelease(hold) // before Committed: else the base would keep what it alone can see
	if !*published {
		t.Aborted()
		return nil
	}
	t.Committed()
	invariant.Point("commit.freed")
	return nil
}

// noteSwap notes the outcome of a commit's swap.
func noteSwap(r invariant.Record, published bool, base, next format.Addr, version format.Version) {
	event := invariant.Lost
	if published {
		event = invariant.Swapped
	}
	r.Note(event, uint64(next), uint64(version), uint64(base))
}

// Commit publishes the transaction's version and ends the transaction; a
// transaction that changed nothing publishes nothing. After an error nothing has
// changed.
func (tx *Tx) Commit() error {
	_, err := tx.commit()
	return err
}

// CommitDurable is Commit, and returns when the version survives power loss, also
// if it is an older one because the transaction changed nothing. If that fails, the
// version is committed and not durable. The caller has entered.
func (tx *Tx) CommitDurable() error {
	sp := tx.sp
	version, err := tx.commit()
	if err != nil {
		return err
	}
	return sp.awaitDurable(version)
}

// commit is Commit; it returns the version that it published, or, if it changed
// nothing, the one that it saw: who acts on that wants it to last as well.
func (tx *Tx) commit() (version format.Version, err error) {
	sp := tx.sp
	var c commitment
	before := debug.SetPanicOnFault(true)
	in := committing
	defer func() {
		debug.SetPanicOnFault(before)
		if in != over {
			r, handled := recover(), false
			if handled, err = tx.endWrite(sp, in, &c, r); r != nil && !handled {
				panic(r)
			}
			version = c.version
		}
	}()
	err = tx.conclude(&c)
	in = over
	return c.version, err
}

// commitment is what comes of a commit.
type commitment struct {
	published bool
	entered   bool           // it has entered, to write the journal
	version   format.Version // that was published, or, if nothing was changed, that was seen
}

// conclude is commit for who has a guard; endWrite is for what it leaves if it panics. Once
// the turn is given the Tx may be in use again.
func (tx *Tx) conclude(c *commitment) error {
	if tx.hadEnded() {
		return errEnded
	}
	sp := tx.sp
	if sp.Forked() {
		return ErrForked
	}
	c.version = format.Version(tx.own.Version)
	failed := tx.seize()
	if failed == nil {
		failed = tx.failed
	}
	if failed != nil || !tx.write.Changed() && tx.replayed == nil {
		tx.end()
		return failed
	}
	spool := false
	logged, next := tx.write.Logged(), tx.write.Version()
	err := sp.publish(tx.write, &tx.hold, tx.state, tx.replayed, &c.published)
	if c.published {
		c.version = next
		sp.live.CountCommit()
		if tx.unlinked > 0 {
			sp.live.Words().Unlinked.Add(tx.unlinked)
		}
		if tx.replayed == nil && !sp.options.NoJournal {
			spool = sp.noteLogged(logged)
		}
	} else if err == nil {
		err = ErrSuspended
	}
	sp.heap.Leave()
	if spool {
		sp.views.Add(1) // before the turn is given, which holds Close off so far (E8)
		c.entered = true
	}
	sp.live.UnlockWriter()
	sp.queue.unlock()
	if spool {
		c.entered = false // from here on it sees to that itself
		sp.spoolCommitted()
	}
	invariant.Point("commit.end")
	return err
}

// hadEnded ends the transaction for who uses it, and reports whether that was so already.
// One that has no handle nobody else can end.
func (tx *Tx) hadEnded() bool {
	if tx != &tx.sp.writes.tx {
		return tx.ended.Swap(true)
	}
	was := tx.ended.Load()
	setFlag(&tx.ended, true)
	return was
}

// spoolCommitted writes the journal after a commit that has given its turn, and ends
// what the committer has entered for that.
func (sp *Space) spoolCommitted() {
	defer sp.Exit()
	invariant.Point("commit.given")
	sp.note(sp.spool())
}

// Abort ends the transaction without a trace.
func (tx *Tx) Abort() {
	if !tx.ended.Swap(true) {
		_ = tx.seize() // nothing is committed in any case
		tx.end()
	}
}

// end ends a writing transaction that publishes nothing. Once the turn is given
// the Tx may be in use again.
func (tx *Tx) end() {
	sp := tx.sp
	if sp.Forked() {
		return // all that would be given back is the parent's
	}
	if tx.role == spoiled || sp.guarded(func() error { tx.write.Aborted(); return nil }) != nil {
		tx.write.Forget()
		sp.anyhow(sp.heap.Abandon)
	}
	sp.anyhow(func() { sp.live.Release(&tx.hold) }) // if it has come so far
	sp.anyhow(sp.heap.Leave)
	sp.giveTurn()
}

// errEnded says that a transaction is used after its end.
var errEnded = fmt.Errorf("%w: the transaction has ended; a Tx is valid only inside the function that it was passed to", ErrClosed)

// Err returns an error if the transaction has ended, or can only abort.
func (tx *Tx) Err() error {
	if tx.ended.Load() {
		if tx.lost != nil {
			return tx.lost
		}
		return errEnded
	}
	if tx.write != nil {
		if err := tx.shared(); err != nil {
			return err
		}
	}
	return tx.failed
}

// Version returns the version that a reading transaction sees, or the one that
// a writing transaction starts from.
func (tx *Tx) Version() format.Version { return format.Version(tx.state.Version) }

// fail marks the transaction as one that can only abort, and returns the error.
func (tx *Tx) fail(err error) error {
	if tx.failed == nil {
		tx.failed = err
	}
	return err
}
