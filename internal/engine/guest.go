package engine

import (
	"context"
	"errors"
	"fmt"

	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/live"
	"github.com/everheap/everheap/internal/oslock"
	"github.com/everheap/everheap/internal/spacefile"
)

// A space that is opened for reading only, by one who may not write its files, or from
// where nobody can: package live has the argument (K8 to K10).

// openGuest makes this process a guest: of those who have the space open, or could as it
// is, or else of what is on disk.
func (sp *Space) openGuest(ctx context.Context) error {
	sp.Guest = true
	for {
		ok, err := sp.visit()
		if ok || err != nil {
			return err
		}
		// Not while somebody recovers the space, or closes it as the last one.
		gate, err := sp.Files.TakeGate(ctx, true)
		if err != nil {
			return err
		}
		if err = sp.Files.SameHeap(); err == nil {
			if ok = sp.liveReady(); !ok {
				sp.Live, sp.durable.Doubts, err = sp.Files.Freeze()
			}
		}
		spacefile.CloseLocks(gate)
		if !ok || err != nil {
			return err
		}
	}
}

// liveReady reports whether the live file can be joined, as far as can be seen.
func (sp *Space) liveReady() bool {
	info, err := sp.Files.Locks.Stat()
	if err != nil {
		return false
	}
	ready, _ := live.Ready(sp.Files.Dir, sp.Head.SpaceID, info)
	return ready
}

// visit makes this process a guest of the members (K9). It reports false if there is no
// live file to be believed, or somebody has the space for himself.
func (sp *Space) visit() (bool, error) {
	if !sp.liveReady() {
		return false, nil
	}
	if ok, err := oslock.TryLock(sp.Files.Locks, format.LockPresence, true); err != nil || !ok {
		return false, err
	}
	err := sp.Files.SameHeap()
	if err == nil {
		sp.Live, err = live.OpenGuest(sp.Files.Dir, sp.Head.SpaceID, sp.Files.Locks, sp.Head.Base)
	}
	if err == nil {
		if err = sp.plausible(); err == nil {
			return true, nil
		}
		sp.Live.Leave(false)
		sp.Live = nil
		var damage *format.DamageError
		if errors.As(err, &damage) {
			err = damage
		} else {
			err = fmt.Errorf("%w: it has to be mended first, by a program that may write", err)
		}
	}
	return false, errors.Join(err, oslock.Unlock(sp.Files.Locks, format.LockPresence))
}
