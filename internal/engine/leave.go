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

// end ends the membership of this process. No transaction is in progress, and none can begin. Long
// work comes first, without the gate (K6).
func (sp *Space) end() error {
	close(sp.Quit)
	sp.Done.Wait()
	sp.watchers.Stop()
	clean := false
	err := sp.Guarded(func() (err error) { clean, err = sp.handOver(); return err })
	if err == nil && !sp.ReadOnly {
		if gate, gateErr := sp.Files.GateAtEnd(); gateErr == nil {
			defer spacefile.CloseLocks(gate) // after presence was released: K5
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

// handOver makes everything committed durable and gives back everything that the process has
// reserved. It reports whether nothing is left to clean up after the process. The caller has the
// queue.
func (sp *Space) handOver() (bool, error) {
	if lost := sp.LookLost(); lost != nil { // X5
		return false, lost
	}
	if sp.ReadOnly || sp.Live.Words().Clean.Load() != 0 {
		return true, nil // nothing was written or reserved since the last clean close
	}
	ok, err := sp.giveAllBack(false)
	if err != nil {
		return ok, err
	}
	invariant.Point("close.handed")
	if sp.durable.Refused() != nil {
		return true, sp.durable.WhyStopped() // everything committed is durable, in the journal
	}
	if sp.Live.Accompanied(false) { // the other members may only read
		if err = sp.durable.WriteAnchor(nil, false); errors.Is(err, failure.ErrBusy) {
			err = nil // other processes use all slots, to write one
		} else if err == nil {
			if version, vErr := sp.NewestVersion(); vErr == nil {
				err = sp.durable.RestJournal(version)
			}
		}
	}
	return true, err
}

// giveAllBack makes everything committed durable and gives back everything reserved; ok reports
// whether it did the latter.
func (sp *Space) giveAllBack(last bool) (ok bool, err error) {
	if sp.durable.Refused() == nil {
		if m := sp.durable.Examine(); m != nil {
			_ = sp.Guarded(func() error { return sp.durable.Mend(m) }) // if it cannot be mended, the error comes below
		}
	}
	// This comes before blocks are given back: then blocks that wait for the journal need not wait
	// longer.
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
		sp.Heap.Adopt() // otherwise short-lived processes would pass their pending blocks on for ever
		sp.Heap.Reclaim()
		if last {
			sp.Heap.EmptyReserve()
		}
		sp.Heap.GiveBack(true)
		return nil
	})
	return listed == nil, errors.Join(err, listed)
}

// closeLast writes a clean anchor if this process is the last that has the space open. It reports
// whether nothing is left to clean up, by this process or an earlier one. The caller has the gate.
// No process can join meanwhile: closeLast holds presence exclusively.
func (sp *Space) closeLast() (ok bool, err error) {
	sp.Files.UnpinPresence()
	last, err := oslock.TryLock(sp.Files.Locks, format.LockPresence, false)
	if err != nil || !last {
		return true, err // it gave up presence, but has the gate: so no process can hold presence exclusively
	}
	invariant.Point("close.last")
	w := sp.Live.Words()
	sp.Live.Reap() // this process takes over what dead processes held
	if w.Clean.Load() != 0 {
		return true, sp.cutFiles() // the last closer may have died before it did so
	}
	if ok, err := sp.giveAllBack(true); err != nil { // of dead processes
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
	if err == nil && long && !done { // with the second one below nothing of the journal is needed (J7)
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

// cutFiles cuts the unused ends off the files, after the last anchors.
func (sp *Space) cutFiles() error {
	if sp.durable.Refused() != nil {
		return nil
	}
	return errors.Join(sp.upkeep.CutHeap(), sp.durable.CutJournal())
}
