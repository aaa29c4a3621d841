package engine

import (
	"errors"

	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/invariant"
	"github.com/everheap/everheap/internal/oslock"
	"github.com/everheap/everheap/internal/spacefile"
)

// end ends the membership of this process. No transaction is in progress, and none
// can begin. What is long comes first, without the gate (K6).
func (sp *Space) end() error {
	close(sp.quit)
	sp.done.Wait()
	sp.stopWatching()
	clean := false
	err := sp.guarded(func() (err error) { clean, err = sp.handOver(); return err })
	if err == nil && !sp.readOnly {
		if gate, gateErr := sp.dir.GateAtEnd(); gateErr == nil {
			defer spacefile.CloseLocks(gate) // after presence was let go of: K5
			err = sp.guarded(func() (err error) { clean, err = sp.closeLast(); return err })
		}
	}
	if lost := sp.lookLost(); lost != nil { // X5
		clean, err = false, lost
	}
	sp.live.Leave(clean)
	if sp.journal.file != nil { // a guest may have none
		sp.journal.file.Close()
	}
	sp.region.Close()
	sp.closeGate()
	sp.dir.Close()
	return err
}

// handOver makes what was committed durable and gives back all that the process has
// reserved. It reports whether nothing is left to clean up after. The caller has the
// queue.
func (sp *Space) handOver() (bool, error) {
	if lost := sp.lookLost(); lost != nil { // X5
		return false, lost
	}
	if sp.readOnly || sp.live.Words().Clean.Load() != 0 {
		return true, nil // nothing was written since the last clean close, and nothing reserved
	}
	ok, err := sp.giveAllBack(false)
	if err != nil {
		return ok, err
	}
	invariant.Point("close.handed")
	if sp.refused() != nil {
		return true, sp.whyStopped() // what was committed is durable, in the journal
	}
	if sp.live.Accompanied() { // those who stay may only read
		if err = sp.writeAnchor(nil, false); errors.Is(err, ErrBusy) {
			err = nil // so many others write one
		} else if err == nil {
			if version, vErr := sp.newestVersion(); vErr == nil {
				err = sp.restJournal(version)
			}
		}
	}
	return true, err
}

// giveAllBack makes what was committed durable and gives back what is reserved; ok says
// that it did the latter.
func (sp *Space) giveAllBack(last bool) (ok bool, err error) {
	if sp.refused() == nil {
		if m := sp.examine(); m != nil {
			_ = sp.guarded(func() error { return sp.mend(m) }) // what cannot be mended is said below
		}
	}
	// Before blocks are given back: those that wait for the journal need not wait on.
	version, err := sp.newestVersion()
	if err == nil {
		err = sp.awaitDurable(version)
	}
	if err != nil && !errors.Is(err, errFailed) {
		return false, err
	}
	sp.journal.release()
	listed := sp.usingLists(func() error {
		sp.heap.Enter()
		sp.heap.Adopt() // else what short-lived processes hand over is handed on for ever
		sp.heap.Reclaim()
		if last {
			sp.heap.EmptyReserve()
		}
		sp.heap.GiveBack(true)
		return nil
	})
	return listed == nil, errors.Join(err, listed)
}

// closeLast writes a clean anchor, if this process is the last one that has the space
// open. It reports whether nothing is left to clean up after, as was so before. The
// caller has the gate. Nobody joins meanwhile: presence is held exclusively.
func (sp *Space) closeLast() (ok bool, err error) {
	sp.dir.UnpinPresence()
	last, err := oslock.TryLock(sp.dir.Locks, format.LockPresence, false)
	if err != nil || !last {
		return true, err // without presence, but with the gate, so nobody has it exclusively
	}
	invariant.Point("close.last")
	w := sp.live.Words()
	sp.live.Reap() // what the dead held is nobody's now
	if w.Clean.Load() != 0 {
		return true, sp.cutFiles() // if the last one who closed has died before
	}
	if ok, err := sp.giveAllBack(true); err != nil { // of the dead
		return ok, err
	}
	if sp.refused() != nil {
		return true, sp.whyStopped()
	}
	if unresolved(&sp.doubt.heap) != nil {
		w.ParcelDoubt.Store(1)
	}
	return true, sp.endFiles()
}

// endFiles writes the last anchors, and leaves the files as short as they can be.
func (sp *Space) endFiles() error {
	long, err := sp.journalIsLong()
	if err != nil {
		return err
	}
	done, err := sp.shorten()
	if err == nil && long && !done { // this one, and the one below: then nothing of the journal is needed (J7)
		err = sp.writeAnchor(nil, false)
	}
	if err == nil {
		err = sp.lastAnchor(long || done)
	}
	if err != nil {
		return err
	}
	return sp.cutFiles()
}

// cutFiles cuts the ends off the files that nobody needs, after the last anchors.
func (sp *Space) cutFiles() error {
	if sp.refused() != nil {
		return nil
	}
	return errors.Join(sp.cutHeap(), sp.cutJournal())
}

// lastAnchor writes the anchor of the last one who closes the space: a clean one, if the
// free space is known; again says that one is wanted in any case.
func (sp *Space) lastAnchor(again bool) error {
	w := sp.live.Words()
	// The stacks may not list all, or not all of what they list is on disk for sure:
	// the next opener sweeps.
	if w.SweepWish.Load() != 0 || w.ParcelDoubt.Load() != 0 {
		return sp.writeAnchor(nil, again)
	}
	var stacks [format.NumStacks]uint64
	for i := range stacks {
		stacks[i] = sp.live.StackHead(i)
	}
	if invariant.Enabled {
		reserved := uint64(0)
		for i := range w.Reserve {
			reserved |= w.Reserve[i].Load()
		}
		sp.live.Assure() // L16
		invariant.Assert(reserved == 0, "the anchor of a closed space lists what lies in the reserve, too (RV6)")
	}
	w.Clean.Store(1) // E5: before it is written
	return sp.writeAnchor(&stacks, false)
}
