package engine

import (
	"context"
	"errors"
	"os"

	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/journal"
	"github.com/everheap/everheap/internal/live"
	"github.com/everheap/everheap/internal/mapping"
	"github.com/everheap/everheap/internal/oslock"
	"github.com/everheap/everheap/internal/spacefile"
)

// join makes this process a member without the gate, if the space is alive or has stayed whole
// since its last use in this boot (K4). It reports false if it needs the gate.
func (sp *Space) join() (bool, error) {
	info, err := sp.Files.Locks.Stat()
	if err != nil {
		return false, err
	}
	// This comes before the presence lock: a process that recovers the space needs that for itself.
	if ready, failed := live.Ready(sp.Files.Dir, sp.Head.SpaceID, info); !ready || failed && !sp.ReadOnly {
		return false, nil
	}
	if ok, err := oslock.TryLock(sp.Files.Locks, format.LockPresence, true); err != nil || !ok {
		return false, err
	}
	err = sp.Files.SameHeap()
	if err == nil {
		sp.Live, err = live.Open(sp.Files.Dir, sp.Head.SpaceID, info)
	}
	if err == nil {
		if err = sp.plausible(); err != nil {
			sp.Live.Leave(false)
			sp.Live = nil
		}
	}
	if err == nil {
		if sp.journalInOrder() {
			return true, nil
		}
		sp.Live.Leave(false)
		sp.Live = nil
	}
	if errors.Is(err, live.ErrUntrusted) {
		err = nil
	}
	return false, errors.Join(err, oslock.Unlock(sp.Files.Locks, format.LockPresence))
}

// journalInOrder reports whether the file with the journal's name is whole, and the one that all
// processes write: if not, opening the space needs the gate (F4).
func (sp *Space) journalInOrder() bool {
	w := sp.Live.Words()
	s, size, err := spacefile.JournalSize(w, func() (mapping.Status, error) { return sp.Files.Stat(journal.FileName) })
	return err == nil && s.FileID == mapping.FileID{Device: w.JournalDevice.Load(), Inode: w.JournalInode.Load()} && spacefile.Whole(s, size)
}

// openMember makes this process a member: without the gate if the space is alive, else with it. It
// returns the gate as long as the caller has to recover or heal something, and nil if the gate is
// not needed any more.
func (sp *Space) openMember(ctx context.Context) (gate *os.File, err error) {
	if sp.Guest {
		return nil, sp.openGuest(ctx)
	}
	gate, err = sp.joinOrRecover(ctx)
	if err != nil && sp.ReadOnly && spacefile.Forbidden(err) { // it may write the heap, but not its directory
		if gate != nil {
			spacefile.CloseLocks(gate)
		}
		if err := oslock.Unlock(sp.Files.Locks, format.LockPresence); err != nil {
			return nil, err
		}
		return nil, sp.openGuest(ctx)
	}
	return gate, err
}

// joinOrRecover is openMember for a process that may write.
func (sp *Space) joinOrRecover(ctx context.Context) (gate *os.File, err error) {
	ok, err := sp.join()
	if ok && err == nil && !sp.ReadOnly { // a rewriter that died has left it: no process rewrites while presence is held
		_ = sp.Files.Remove(spacefile.NewHeapName)
	}
	if ok || err != nil {
		return nil, err
	}
	gate, err = sp.Files.TakeGate(ctx, false)
	if err != nil {
		return nil, err
	}
	// The last holder of the gate may have put another heap in the place of this one.
	if err = sp.Files.SameHeap(); err == nil {
		if !sp.ReadOnly { // a rewriter that died has left it: no process rewrites while the gate is held
			_ = sp.Files.Remove(spacefile.NewHeapName) // a file that cannot be removed does no harm
		}
		err = sp.openLive()
	}
	if w := sp.Live; err == nil && w.Words().Recovering.Load() == 0 && w.Words().Failed.Load() == 0 && sp.journalInOrder() {
		spacefile.CloseLocks(gate) // presence is held: K4
		return nil, nil
	}
	return gate, err
}
