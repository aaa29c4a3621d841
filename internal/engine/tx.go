package engine

import (
	"context"
	"runtime/debug"

	"github.com/everheap/everheap/internal/checkpoint"
	"github.com/everheap/everheap/internal/edit"
	"github.com/everheap/everheap/internal/failure"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/invariant"
	"github.com/everheap/everheap/internal/layout"
	"github.com/everheap/everheap/internal/live"
	"github.com/everheap/everheap/internal/member"
)

// Tx is one transaction: a view of one version, or the making of the next. The Editor reads and
// changes objects; this file begins and ends the transaction. Goroutines may share a reading
// transaction.
type Tx struct {
	edit.Editor
	sp     *Space
	hold   live.Hold
	within *Resumption // the resumption whose goroutine this one reads for, or nil
}

// Viewer is a reading transaction that has a handle.
type Viewer struct {
	Tx
	found edit.Found
}

// Begin begins the view. The caller has a guard. If Begin panics, DropView must follow.
func (v *Viewer) Begin(sp *Space) error {
	v.Keep(&v.found)
	return v.view(sp)
}

// View begins a reading transaction on the newest version. The caller needs no guard; DropView must
// follow. View takes no lock.
func (sp *Space) View() (*Tx, error) {
	v := new(Viewer)
	if err := sp.Guarded(func() error { return v.Begin(sp) }); err != nil {
		v.DropView()
		return nil, err
	}
	return &v.Tx, nil
}

// ViewAt is View of a checkpoint. The slot holds the version that lists the checkpoint; as long as
// that version is held, it protects the checkpoint, whatever later versions do with the list.
func (sp *Space) ViewAt(name string) (*Tx, error) {
	tx, err := sp.View()
	if err != nil {
		return nil, err
	}
	err = sp.Guarded(func() error {
		list, err := sp.Checkpoints.Pins(tx.State)
		if err != nil {
			return err
		}
		i := checkpoint.Find(list, name)
		if i < 0 {
			return checkpoint.None(list, name)
		}
		tx.State, err = sp.Checkpoints.State(list[i])
		return err
	})
	if err != nil {
		tx.DropView()
		return nil, err
	}
	return tx, nil
}

// view begins a reading transaction in tx. If it panics, tx has everything that must be released.
func (tx *Tx) view(sp *Space) error {
	tx.sp = sp
	tx.Read(&sp.store)
	if sp.Forked() {
		return failure.ErrForked
	}
	if !sp.Live.HoldUnless(&tx.hold, &sp.Shut) {
		return sp.WhyClosed()
	}
	tx.Reader = &sp.Reader
	if sp.Reader.Verifies() {
		r := sp.Reader.Of(tx.hold.State)
		tx.Reader = &r
	}
	tx.State = member.StateAt(tx.hold.State)
	return nil
}

// EndView ends a reading transaction. The caller has a guard. Values that were borrowed from it are
// invalid from now on. If EndView panics, DropView must follow.
func (tx *Tx) EndView() {
	if !tx.End() {
		return
	}
	if !tx.Thaw() && !tx.sp.Forked() {
		tx.sp.Live.TryRelease(&tx.hold)
	}
	if within := tx.within; within != nil {
		tx.within = nil
		within.Leave()
	}
}

// DropView is EndView for a caller without a guard, and for a transaction whose beginning or end
// has failed.
func (tx *Tx) DropView() {
	sp := tx.sp
	sp.Anyhow(tx.EndView)
	if tx.hold.Held() && !sp.Forked() {
		sp.Anyhow(func() { sp.Live.Release(&tx.hold) })
	}
	if within := tx.within; within != nil {
		tx.within = nil
		within.Leave()
	}
}

// writer is a writing transaction together with what its editor needs.
type writer struct {
	tx     Tx
	making edit.Making
}

// Begin begins a writing transaction. It waits for its turn, first in this process, then among the
// processes; when ctx ends, it returns ErrBusy.
func (sp *Space) Begin(ctx context.Context) (*Tx, error) {
	s := sp.beginSpan(ctx, false)
	tx, err := sp.beginNow(ctx)
	if err != nil {
		s.tell(TraceFail, err)
		return nil, err
	}
	sp.span = s
	s.turn(tx)
	return tx, nil
}

// beginNow is Begin without a trace.
func (sp *Space) beginNow(ctx context.Context) (*Tx, error) {
	w := new(writer)
	tx := &w.tx
	tx.Prepare(&w.making, false)
	if err := tx.begin(ctx, sp); err != nil {
		return nil, err
	}
	return tx, nil
}

// begin is Begin into tx, whose fields it sets once it has the queue.
func (tx *Tx) begin(ctx context.Context, sp *Space) (err error) {
	before := debug.SetPanicOnFault(true)
	in := beginning
	defer func() {
		debug.SetPanicOnFault(before)
		if in != over {
			err = tx.endWrite(sp, in, nil, recover())
		}
	}()
	err = tx.start(ctx, sp)
	in = over
	return err
}

// start is begin under a guard. If it panics, endWrite releases what it has taken.
//
// The order matters. The transaction enters the heap, which marks the process active, before it
// holds the base and before it allocates (I7). It reads the base after it has the lock, so that it
// sees what the former holder published.
func (tx *Tx) start(ctx context.Context, sp *Space) error {
	if err := sp.turn.Await(ctx); err != nil {
		return err
	}
	if err := sp.mayWrite(ctx); err != nil {
		sp.turn.Give()
		return err
	}
	tx.sp, tx.hold = sp, live.Hold{}
	tx.Start(&sp.store, &sp.turn.Txn)
	sp.writer = tx
	sp.Heap.Enter()
	invariant.Point("begin.active")
	sp.Live.HoldIn(&tx.hold)
	invariant.Point("begin.slot")
	tx.From(member.StateAt(tx.hold.State))
	tx.Write.Begin(sp.Heap, tx.hold.State, tx.Version()+1, sp.Reader)
	if sp.options.NoJournal {
		tx.Write.NoLog()
	}
	if sp.Live.Words().Clean.Load() != 0 {
		if err := sp.durable.MakeUnclean(); err != nil {
			tx.Abort()
			return err
		}
	}
	invariant.Point("begin.ready")
	return nil
}

// Commit publishes the transaction's version and ends the transaction; a
// transaction that changed nothing publishes nothing. After an error nothing has
// changed.
func (tx *Tx) Commit() error {
	_, _, err := tx.commitTraced()
	return err
}

// CommitDurable is Commit, and returns when the version survives power loss; if the transaction
// changed nothing, this is the version that it saw. If the wait fails, the version is committed and
// not durable. The caller has entered.
func (tx *Tx) CommitDurable() error {
	_, err := tx.CommitVersion()
	return err
}

// CommitVersion is CommitDurable, and returns the version.
func (tx *Tx) CommitVersion() (format.Version, error) {
	sp := tx.sp
	version, s, err := tx.commitTraced()
	if err != nil {
		return 0, err
	}
	err = sp.durable.Await(version)
	s.durable(err)
	return version, err
}

// commitTraced is commit, and reports it to the span.
func (tx *Tx) commitTraced() (version format.Version, s *span, err error) {
	s = tx.takeSpan()
	s.tell(TraceWritten, nil)
	version, err = tx.commit(nil, true)
	s.commit(version, err)
	return version, s, err
}

// commit is Commit, but returns a version: the one that it published, or the one that it saw if the
// transaction changed nothing, since a caller that acts on what it saw wants that version to be
// durable as well. as is the head that the version had when it was first committed, if the changes
// come from a journal or a frame; otherwise nil. journal says whether to write the changes to the
// journal, which may have them already.
func (tx *Tx) commit(as *format.RecordHead, journal bool) (version format.Version, err error) {
	sp := tx.sp
	c := commitment{as: as, journaled: !journal}
	before := debug.SetPanicOnFault(true)
	in := committing
	defer func() {
		debug.SetPanicOnFault(before)
		if in != over {
			err = tx.endWrite(sp, in, &c, recover())
			version = c.version
		}
	}()
	err = tx.conclude(&c)
	in = over
	return c.version, err
}

// commitment is how far a commit has got.
type commitment struct {
	as        *format.RecordHead // the head that the version had before; nil if it is new
	journaled bool               // the changes are not to be written to the journal
	published bool
	entered   bool           // the process has entered, to write the journal
	version   format.Version // published, or seen if nothing was changed
}

// conclude is commit under a guard. If it panics, endWrite releases what it has. Once the turn is
// given, the next transaction may use the Tx.
func (tx *Tx) conclude(c *commitment) error {
	if !tx.End() {
		return edit.ErrEnded
	}
	sp := tx.sp
	if sp.Forked() {
		return failure.ErrForked
	}
	c.version = tx.Version()
	failed := tx.Seize()
	if failed == nil {
		failed = tx.Failure()
	}
	if failed != nil || !tx.Write.Changed() && c.as == nil {
		tx.end()
		return failed
	}
	spool := false
	logged, next := tx.Write.Logged(), tx.Write.Version()
	err := sp.turn.Publish(tx.Write, &tx.hold, tx.State, c.as, &c.published)
	if c.published {
		c.version = next
		sp.Live.CountCommit()
		if n := tx.Unlinked(); n > 0 {
			sp.Live.Words().Unlinked.Add(n)
		}
		if !c.journaled && !sp.options.NoJournal {
			spool = sp.durable.NoteLogged(logged)
		}
	} else if err == nil {
		err = failure.ErrSuspended
	}
	sp.Heap.Leave()
	if spool {
		sp.Stay() // before the turn is given, for which Close waits until then (E8)
		c.entered = true
	}
	sp.Live.UnlockWriter()
	sp.Queue.Unlock()
	if spool {
		c.entered = false // spoolCommitted exits
		sp.spoolCommitted()
	}
	invariant.Point("commit.end")
	return err
}

// spoolCommitted writes the journal after a commit that has given its turn, and then exits what the
// commit has entered.
func (sp *Space) spoolCommitted() {
	defer sp.Exit()
	invariant.Point("commit.given")
	sp.Note(sp.durable.Spool())
}

// Abort ends the transaction and undoes its changes.
func (tx *Tx) Abort() {
	s := tx.takeSpan()
	if tx.End() {
		_ = tx.Seize() // an error does not matter: nothing is committed
		tx.end()
		s.tell(TraceFail, errGivenUp)
	}
}

// end ends a writing transaction that publishes nothing. Once the turn is given, the next
// transaction may use the Tx.
func (tx *Tx) end() {
	sp := tx.sp
	if sp.Forked() {
		return // everything that it would release belongs to the parent
	}
	if tx.Spoiled() || sp.Guarded(func() error { tx.Write.Aborted(); return nil }) != nil {
		tx.Write.Forget()
		sp.Anyhow(sp.Heap.Abandon)
	}
	sp.Anyhow(func() { sp.Live.Release(&tx.hold) }) // if the transaction has a hold
	sp.Anyhow(sp.Heap.Leave)
	sp.turn.Give()
}

// checkHandle returns an error unless a handle may be stored: see Editor.CheckHandle.
func (sp *Space) checkHandle(handle *layout.Type, id uint64) error {
	return sp.writer.CheckHandle(handle, id)
}

// takeIndex returns an index for a new object, at least least. No transaction of any process ever
// gets the same index again, even if this one aborts, since the program may keep the ID.
func (sp *Space) takeIndex(least uint64) uint64 {
	next := &sp.Live.Words().NextIndex
	for given := next.Load(); ; given = next.Load() {
		index := max(least, given)
		if next.CompareAndSwap(given, index+1) {
			return index
		}
	}
}
