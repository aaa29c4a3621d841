package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/heap"
	"github.com/everheap/everheap/internal/invariant"
	"github.com/everheap/everheap/internal/journal"
	"github.com/everheap/everheap/internal/live"
	"github.com/everheap/everheap/internal/mapping"
	"github.com/everheap/everheap/internal/oslock"
)

const (
	spoolBytes = 128 << 10 // logged by this process: then they are written, without a sync
	pieceBytes = 1 << 20   // copied before they are written
)

// journaling is this process's part in writing the journal.
//
// Commits only name their changes (heap.Txn.Log). Whoever leads the journal, in
// whatever process, copies the changes of all versions that are not written yet,
// and writes them to the file: soon, so that the blocks which they name can be
// reused while they are in the caches; and makes them durable when somebody waits
// for that, or after the flush interval. One sync serves all that wait.
type journaling struct {
	sync.Mutex // writing: one goroutine of the process at a time
	file       mapping.File
	id         mapping.FileID
	losses     atomic.Uint64 // of the journal, that this process was told of
	writer     *journal.Writer
	states     []format.Addr // of the versions to be written, newest first
	ops        []byte        // of one record

	wish    chan struct{} // spooling is due
	pending uint64        // bytes logged since the last wish; of whoever has the queue

	syncTime time.Duration // of the last sync, by whoever leads

	round struct {
		sync.Mutex
		done chan struct{} // of the round that a goroutine of this process leads; nil: none
	}
}

var (
	errMoved    = errors.New("another process has written the records meanwhile")
	errUnlisted = errors.New("a version does not list its changes")
)

// errNoJournal says that there is no journal where there must be one.
var errNoJournal = &format.DamageError{File: journal.FileName, What: "the file is missing: what was committed since the newest anchor cannot be recovered. To go on without it, create an empty file of that name"}

// openJournal opens the journal file.
func (sp *Space) openJournal() (err error) {
	if sp.guest {
		return sp.openGuestJournal()
	}
	mode, created := os.O_RDWR, false
	if sp.readOnly {
		mode = os.O_RDONLY
	}
	sp.journal.file, err = sp.options.open(sp.dir, journal.FileName, mode, 0)
	if errors.Is(err, os.ErrNotExist) {
		if alone, aloneErr := sp.alone(); !sp.readOnly && (aloneErr != nil || !alone) { // F4
			return errors.Join(fmt.Errorf("%w: %s is not there, and other processes have the space open; close it there first", ErrReplaced, sp.dir.Join(journal.FileName)), aloneErr)
		}
		if w := sp.live.Words(); w.Recovering.Load() != 0 && w.Clean.Load() == 0 {
			return errNoJournal
		}
		if sp.journal.file, err = sp.options.open(sp.dir, journal.FileName, os.O_RDWR|os.O_CREATE, sp.perm()); err == nil {
			err = sp.options.syncNames(sp.dir)
		}
		created = err == nil && !sp.readOnly
	}
	if err != nil {
		return err
	}
	sp.journal.writer = journal.NewWriter(sp.journal.file, sp.live, sp.header.SpaceID)
	sp.lookForDoubt()
	return sp.settleJournal(created)
}

// release gives up the segment that this process writes.
func (j *journaling) release() {
	j.Lock()
	defer j.Unlock()
	j.writer.Release()
}

// noteLogged counts what a commit has logged, and reports whether it is so much
// that it should be written. The caller has the queue.
func (sp *Space) noteLogged(bytes uint64) bool {
	j := &sp.journal
	if j.pending += bytes + uint64(format.RecordHeadSize); j.pending < spoolBytes {
		return false
	}
	j.pending = 0
	return true
}

// runJournal writes and syncs what was committed, in the background: twice in the
// flush interval, so that nothing gets older than that before it is on disk.
func (sp *Space) runJournal() {
	defer sp.done.Done()
	interval := sp.options.FlushInterval
	if interval == 0 {
		interval = DefaultFlushInterval
	}
	ticker := time.NewTicker(max(interval/2, time.Millisecond))
	defer ticker.Stop()
	var retry time.Time
	for {
		var err error
		select {
		case <-sp.quit:
			return
		case <-sp.journal.wish:
			if sp.Forked() {
				return
			}
			if time.Now().Before(retry) {
				continue
			}
			err = sp.spool()
		case <-ticker.C:
			if sp.Forked() {
				return
			}
			if time.Now().Before(retry) {
				continue
			}
			err = sp.flushSoon()
		}
		if err != nil {
			sp.note(err)
			retry = time.Now().Add(time.Second)
		}
	}
}

// flushSoon makes the newest version durable, unless the space is closed
// meanwhile: then closing does it.
func (sp *Space) flushSoon() error {
	w := sp.live.Words()
	version, err := sp.newestVersion()
	if err != nil {
		return err
	}
	return sp.lead(false, func() bool {
		return w.Durable.Load() >= uint64(version) || w.Failed.Load() != 0 || sp.quitting()
	})
}

// quitting reports whether the background work is to end.
func (sp *Space) quitting() bool {
	select {
	case <-sp.quit:
		return true
	default:
		return false
	}
}

// spool writes what was committed to the file, without a sync, unless somebody is
// at it.
func (sp *Space) spool() error {
	if sp.live.Words().Failed.Load() != 0 || !sp.live.TryLeadJournal() {
		return nil
	}
	defer sp.live.UnleadJournal()
	return sp.write()
}

// spoolTo writes at least the versions up to the state's, which is held. It does
// not wait for whoever leads, and may be syncing: writing twice does no harm.
func (sp *Space) spoolTo(h live.Hold) error {
	state, err := sp.stateOf(h)
	if err != nil {
		return err
	}
	w, version := sp.live.Words(), state.Version
	for w.Written.Load() < version {
		if err := sp.refused(); err != nil {
			return err
		}
		if err := sp.write(); err != nil {
			return err
		}
	}
	return nil
}

// awaitDurable returns when the version survives power loss.
func (sp *Space) awaitDurable(version format.Version) error {
	w := sp.live.Words()
	w.Wishes.Add(1)
	err := sp.lead(true, func() bool { return w.Durable.Load() >= uint64(version) || w.Failed.Load() != 0 })
	if err == nil && w.Durable.Load() < uint64(version) {
		return sp.whyFailed()
	}
	if lost := sp.told(); err == nil {
		err = lost
	}
	return err
}

// lead makes versions durable until done: by leading a round, or by waiting for
// the one that another goroutine or another process leads. gather says that a
// commit waits for it.
func (sp *Space) lead(gather bool, done func() bool) error {
	r := &sp.journal.round
	for !done() {
		r.Lock()
		if running := r.done; running != nil {
			r.Unlock()
			<-running
			continue
		}
		mine := make(chan struct{})
		r.done = mine
		r.Unlock()
		err := sp.leadRound(gather, done)
		r.Lock()
		r.done = nil
		r.Unlock()
		close(mine)
		if err != nil {
			return err
		}
	}
	return nil
}

// leadRound makes everything that is committed durable, once this process leads;
// if it is done before, there is nothing to do.
func (sp *Space) leadRound(gather bool, done func() bool) error {
	if !sp.live.LeadJournal(done) {
		return nil
	}
	defer sp.live.UnleadJournal()
	if done() {
		return nil
	}
	if gather {
		sp.gather()
	}
	w := sp.live.Words()
	wishes := w.Wishes.Load()
	if err := sp.write(); err != nil {
		return err
	}
	began := time.Now()
	err := sp.syncJournal()
	sp.journal.syncTime = time.Since(began)
	w.Group.Store(uint32(w.Wishes.Load() - w.Served.Swap(wishes)))
	return err
}

// gather waits until as many commits want to be durable as the last sync has served
// and kept waiting: those that it served are about to commit again, and would just
// miss this one. So all that commit one after the other share each sync, and not
// every other one. It waits for a fraction of what a sync takes, no longer: those
// others may never come. Who commits alone waits for nothing.
func (sp *Space) gather() {
	w := sp.live.Words()
	for began := time.Now(); w.Wishes.Load()-w.Served.Load() < uint64(w.Group.Load()) && time.Since(began) < sp.journal.syncTime/2; {
		runtime.Gosched()
		oslock.Yield()
	}
}

// write brings the file up to the newest version. Where it cannot, because a
// version does not list its changes, or because the file can take no more, or
// because what a version changed is damaged or cannot be read, two anchors take the
// place of the records.
func (sp *Space) write() error {
	j := &sp.journal
	j.Lock()
	defer j.Unlock()
	for {
		hold := sp.live.HoldCurrent()
		err := sp.guarded(func() error { return sp.copyRecords(hold.State) })
		sp.live.Release(hold)
		damage := (*format.DamageError)(nil)
		switch {
		case errors.Is(err, errMoved):
			continue
		case errors.Is(err, errUnlisted), errors.Is(err, journal.ErrFull), errors.Is(err, mapping.ErrNoSpace):
			return sp.anchorTwice()
		case errors.Is(err, mapping.ErrIO):
			return sp.fail(err)
		case errors.Is(err, ErrFault), errors.As(err, &damage):
			sp.note(err)
			return sp.anchorTwice()
		}
		return err
	}
}

// copyRecords writes the records from the one after Written up to the state's,
// which is held.
//
// The states and what they log lie in blocks that are not reused until Written
// has passed them. So what was copied is right if Written has not moved since; if
// it has, another process leads as well, and the copy is thrown away (J2). Until
// that is known, everything that is read may be nonsense.
func (sp *Space) copyRecords(newest format.Addr) error {
	j, w := &sp.journal, sp.live.Words()
	written := w.Written.Load()
	if stateAt(newest).Version <= written {
		return nil
	}
	before, err := sp.walkBack(newest, written)
	if err != nil {
		return sp.unlessMoved(written, err)
	}
	j.writer.Begin(format.Version(written), before)
	last := written
	for i := len(j.states) - 1; i >= 0; i-- {
		state := stateAt(j.states[i])
		h := format.RecordHead{Version: state.Version, Chain: state.Chain, UnixNano: state.UnixNano}
		j.ops, err = sp.appendChanges(j.ops[:0], state)
		if err == nil {
			j.writer.Add(h, j.ops)
			if last = h.Version; i > 0 && j.writer.Buffered() < pieceBytes {
				continue
			}
		}
		if moved := sp.writePiece(written, last); moved != nil {
			return moved
		}
		if err != nil {
			return err
		}
		written = last
	}
	if cap(j.ops) > 4<<20 {
		j.ops = nil
	}
	return nil
}

// writePiece writes what was copied since Written was the version, if it still is.
func (sp *Space) writePiece(written, last uint64) error {
	w := sp.live.Words()
	if w.Written.Load() != written {
		return errMoved
	}
	if err := sp.journal.writer.Write(); err != nil {
		return err
	}
	invariant.Point("journal.written")
	sp.live.RaiseWritten(format.Version(last))
	if w.Written.Load() != last {
		return errMoved
	}
	return nil
}

// unlessMoved returns the error, or errMoved if that explains it.
func (sp *Space) unlessMoved(written uint64, err error) error {
	if sp.live.Words().Written.Load() != written {
		return errMoved
	}
	return err
}

// walkBack lists the states from the newest back to the one after the version,
// and returns the chain of the version itself.
func (sp *Space) walkBack(newest format.Addr, version uint64) (chain uint64, err error) {
	j := &sp.journal
	j.states = j.states[:0]
	want := stateAt(newest).Version
	for a := newest; ; want-- {
		if uint64(sp.heap.VersionOf(a)) != want {
			return 0, sp.damagedLog(a, want, "its state is not where the next one says")
		}
		state := stateAt(a)
		if want == version {
			return state.Chain, nil
		}
		j.states = append(j.states, a)
		a = format.Addr(state.Previous)
	}
}

// damagedLog describes a version that cannot be journaled.
func (sp *Space) damagedLog(a format.Addr, version uint64, what string) error {
	_, off := sp.HeapFile(a)
	return &format.DamageError{File: HeapName, Offset: off, What: fmt.Sprintf("the changes of version %d cannot be read: %s", version, what)}
}

// appendChanges appends the changes that a state logs.
func (sp *Space) appendChanges(b []byte, state *format.State) ([]byte, error) {
	op := format.Op{What: state.OpWhat, Block: state.OpBlock, Arg: state.OpArg}
	switch format.OpKindOf(op.What) {
	case 0:
		return b, nil
	case format.OpUnlisted:
		return b, errUnlisted
	case format.OpList:
		list, err := sp.loggedBlock(format.Addr(op.Block), state.Version)
		if err != nil {
			return b, err
		}
		ops := unsafe.Slice((*format.Op)(unsafe.Pointer(unsafe.SliceData(list))), len(list)/format.OpSize)
		b = slices.Grow(b, sp.changesBytes(ops))
		for i := 0; i < len(ops) && err == nil; i++ {
			b, err = sp.appendChange(b, ops[i], state.Version)
		}
		return b, err
	}
	return sp.appendChange(b, op, state.Version)
}

// changesBytes returns how many bytes appendChange will need, or no more than a list may
// have, since what is read may be nonsense.
func (sp *Space) changesBytes(ops []format.Op) int {
	n := 0
	for _, op := range ops {
		n += format.OpHeadSize
		if a := op.Carried(); a != 0 {
			n += int(sp.reader.PayloadSize(a)+7) &^ 7
		}
	}
	return min(n, heap.MaxLogged)
}

// appendChange appends one change, with the payload of the block that it carries.
func (sp *Space) appendChange(b []byte, op format.Op, version uint64) ([]byte, error) {
	h := format.OpHead{What: op.What, Addr: op.Block, Arg: op.Arg}
	a := op.Carried()
	if a == 0 {
		return format.AppendOp(b, h, nil), nil
	}
	payload, err := sp.loggedBlock(a, version)
	if err != nil {
		return b, err
	}
	h.Addr += format.HeaderSize
	return format.AppendOp(b, h, payload), nil
}

// loggedBlock returns the payload of a block that a version logs, or of whatever
// lies there now.
func (sp *Space) loggedBlock(a format.Addr, version uint64) ([]byte, error) {
	size := sp.reader.PayloadSize(a)
	if size == 0 {
		return nil, sp.damagedLog(a, version, "a block that it names lies outside the heap")
	}
	return unsafe.Slice((*byte)(unsafe.Add(unsafe.Pointer(nil), uintptr(a)+format.HeaderSize)), size), nil
}

// anchorTwice makes the newest version durable by two anchors, so that whichever
// of the usable anchors a recovery starts from, it needs no record of a version
// up to that one (J1).
func (sp *Space) anchorTwice() error {
	version, err := sp.newestVersion()
	if err != nil {
		return err
	}
	for range 2 {
		if err := sp.writeAnchor(nil, true); err != nil {
			return err
		}
	}
	sp.live.RaiseWritten(version)
	sp.live.RaiseDurable(version)
	return nil
}

// recover replays the journal onto the anchored version from which live was
// rebuilt. The caller has the gate, and nobody else has the space open. It can be
// cut short anywhere: until Recovering is 0 the next opener rebuilds live and
// begins anew, from the same anchor and the same records.
func (sp *Space) recover() error {
	w := sp.live.Words()
	sp.healing = w.Failed.Load() != 0 // heal comes after this, and nothing is acknowledged before
	defer func() { sp.healing = false }()
	floor := sp.live.JournalFloor()
	log, err := journal.Load(sp.journal.file, sp.header.SpaceID, floor)
	if err != nil {
		return err
	}
	base := *stateAt(sp.live.Current())
	if err := sp.trustAnchor(format.Version(base.Version)); err != nil {
		return err
	}
	records, err := log.Follow(format.Version(base.Version), base.Chain)
	if err != nil {
		return err
	}
	last := base.Version
	if err := sp.reached(records.Last); err != nil {
		return err
	}
	if !records.Empty() {
		if sp.readOnly {
			return fmt.Errorf("%w: the space was not closed before the power was lost: it has to be recovered first, by a program that opens it for writing, or by everheap recover %s", ErrReadOnly, sp.dir.Path())
		}
		last = uint64(records.Last)
		sp.prefault()
		sp.distrustFree()
		if err := sp.replay(records); err != nil {
			return err
		}
		invariant.Point("recover.replayed")
		// It may be that only live was lost, and the records were never synced.
		sp.live.BeginSync(live.JournalFile)
		err := sp.journal.file.Datasync()
		if err != nil {
			err = sp.fail(err)
		}
		sp.live.EndSync(live.JournalFile)
		if err != nil {
			return err
		}
	}
	for i, newest := range log.Segments(format.Version(last)) {
		w.Segments[i].Last.Store(uint64(newest))
		sp.live.AddSegment(i)
	}
	if err := sp.lengthen(); err != nil && !errors.Is(err, mapping.ErrNoSpace) { // the last segment may have been cut
		return err
	}
	w.Written.Store(last)
	w.Durable.Store(last)
	w.Recovering.Store(0)
	return nil
}

// distrustFree forgets the free space that a clean anchor lists. There are
// versions after it, so another anchor came before them, which is damaged now;
// the lists, and the blocks that they lie in, may have been used since (E5).
func (sp *Space) distrustFree() {
	w := sp.live.Words()
	for i := range format.NumStacks {
		live.SetStack(w, i, 0)
	}
	w.Clean.Store(0)
	w.SweepWish.Store(1)
}

// prefaultBytes is how much of a heap a replay maps at once.
const prefaultBytes = 1 << 30

// prefault maps the heap of a space that is not huge: a replay looks for keys all
// over it.
func (sp *Space) prefault() {
	if carved := sp.live.Words().Carved.Load(); carved <= prefaultBytes {
		sp.region.Prefault(0, int64(carved))
	}
}

// replay applies records in one transaction. If there is no room above what the
// anchor uses, it makes room by a sweep, and tries again.
func (sp *Space) replay(records *journal.History) error {
	err := sp.tryReplay(records)
	if errors.Is(err, mapping.ErrNoSpace) || errors.Is(sp.translate("recover", err), ErrNoSpace) {
		if _, _, sweepErr := sp.sweep(); sweepErr != nil {
			return errors.Join(err, sweepErr)
		}
		err = sp.tryReplay(records)
	}
	return err
}

// tryReplay is replay, once.
func (sp *Space) tryReplay(records *journal.History) error {
	tx, err := sp.Begin(context.Background())
	if err != nil {
		return err
	}
	defer tx.Abort()
	tx.write.Begin(sp.heap, tx.hold.State, records.Last, sp.reader)
	tx.write.Replaying()
	tx.replayed = new(format.RecordHead)
	apply := newApplier(tx)
	err = records.All(func(r format.RecordHead, ops []byte) error {
		for rest := ops; len(rest) > 0; {
			h, payload, next, ok := format.NextOp(rest)
			if !ok {
				err = &format.DamageError{File: journal.FileName, What: "a change that does not fit its record"}
			} else {
				err = apply.apply(h, payload)
			}
			if err != nil {
				return fmt.Errorf("the journal's record of version %d: %w", r.Version, err)
			}
			rest = next
		}
		*tx.replayed = r
		return nil
	})
	if err != nil {
		return err
	}
	return tx.Commit()
}
