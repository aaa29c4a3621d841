package engine

import (
	"errors"

	"github.com/everheap/everheap/internal/durable"
	"github.com/everheap/everheap/internal/failure"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/invariant"
	"github.com/everheap/everheap/internal/oslock"
	"github.com/everheap/everheap/internal/spacefile"
)

// end ends the membership of this process. No transaction is in progress, and none
// can begin. What is long comes first, without the gate (K6).
func (sp *Space) end() error {
	close(sp.Quit)
	sp.Done.Wait()
	sp.watchers.Stop()
	clean := false
	err := sp.Guarded(func() (err error) { clean, err = sp.handOver(); return err })
	if err == nil && !sp.ReadOnly {
		if gate, gateErr := sp.Files.GateAtEnd(); gateErr == nil {
			defer spacefile.CloseLocks(gate) // after presence was let go of: K5
			err = sp.Guarded(func() (err error) { clean, err = sp.closeLast(); return err })
		}
	}
	if lost := sp.LookLost(); lost != nil { // X5
		clean, err = false, lost
	}
	sp.Live.Leave(clean)
	sp.durable.Close()
	sp.Region.Close()
	sp.closeGate()
	sp.Files.Close()
	return err
}

// handOver makes what was committed durable and gives back all that the process has
// reserved. It reports whether nothing is left to clean up after. The caller has the
// queue.
func (sp *Space) handOver() (bool, error) {
	if lost := sp.LookLost(); lost != nil { // X5
		return false, lost
	}
	if sp.ReadOnly || sp.Live.Words().Clean.Load() != 0 {
		return true, nil // nothing was written since the last clean close, and nothing reserved
	}
	ok, err := sp.giveAllBack(false)
	if err != nil {
		return ok, err
	}
	invariant.Point("close.handed")
	if sp.durable.Refused() != nil {
		return true, sp.durable.WhyStopped() // what was committed is durable, in the journal
	}
	if sp.Live.Accompanied(false) { // those who stay may only read
		if err = sp.durable.WriteAnchor(nil, false); errors.Is(err, failure.ErrBusy) {
			err = nil // so many others write one
		} else if err == nil {
			if version, vErr := sp.NewestVersion(); vErr == nil {
				err = sp.durable.RestJournal(version)
			}
		}
	}
	return true, err
}

// giveAllBack makes what was committed durable and gives back what is reserved; ok says
// that it did the latter.
func (sp *Space) giveAllBack(last bool) (ok bool, err error) {
	if sp.durable.Refused() == nil {
		if m := sp.durable.Examine(); m != nil {
			_ = sp.Guarded(func() error { return sp.durable.Mend(m) }) // what cannot be mended is said below
		}
	}
	// Before blocks are given back: those that wait for the journal need not wait on.
	version, err := sp.NewestVersion()
	if err == nil {
		err = sp.durable.Await(version)
	}
	if err != nil && !errors.Is(err, durable.ErrFailed) {
		return false, err
	}
	sp.durable.Release()
	listed := sp.UsingLists(func() error {
		sp.Heap.Enter()
		sp.Heap.Adopt() // else what short-lived processes hand over is handed on for ever
		sp.Heap.Reclaim()
		if last {
			sp.Heap.EmptyReserve()
		}
		sp.Heap.GiveBack(true)
		return nil
	})
	return listed == nil, errors.Join(err, listed)
}

// closeLast writes a clean anchor, if this process is the last one that has the space
// open. It reports whether nothing is left to clean up after, as was so before. The
// caller has the gate. Nobody joins meanwhile: presence is held exclusively.
func (sp *Space) closeLast() (ok bool, err error) {
	sp.Files.UnpinPresence()
	last, err := oslock.TryLock(sp.Files.Locks, format.LockPresence, false)
	if err != nil || !last {
		return true, err // without presence, but with the gate, so nobody has it exclusively
	}
	invariant.Point("close.last")
	w := sp.Live.Words()
	sp.Live.Reap() // what the dead held is nobody's now
	if w.Clean.Load() != 0 {
		return true, sp.cutFiles() // if the last one who closed has died before
	}
	if ok, err := sp.giveAllBack(true); err != nil { // of the dead
		return ok, err
	}
	if sp.durable.Refused() != nil {
		return true, sp.durable.WhyStopped()
	}
	if sp.durable.HeapInDoubt() {
		w.BatchDoubt.Store(1)
	}
	return true, sp.endFiles()
}

// endFiles writes the last anchors, and leaves the files as short as they can be.
func (sp *Space) endFiles() error {
	long, err := sp.durable.JournalIsLong()
	if err != nil {
		return err
	}
	done, err := sp.upkeep.Shorten()
	if err == nil && long && !done { // this one, and the one below: then nothing of the journal is needed (J7)
		err = sp.durable.WriteAnchor(nil, false)
	}
	if err == nil {
		err = sp.durable.LastAnchor(long || done)
	}
	if err == nil {
		err = sp.Changes.Tidy()
	}
	if err != nil {
		return err
	}
	return sp.cutFiles()
}

// cutFiles cuts the ends off the files that nobody needs, after the last anchors.
func (sp *Space) cutFiles() error {
	if sp.durable.Refused() != nil {
		return nil
	}
	return errors.Join(sp.upkeep.CutHeap(), sp.durable.CutJournal())
}
