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

// A process becomes a guest when it opens a space read-only and may not write its files, or when
// the file system is read-only: package live has the argument (K8 to K10).

// openGuest makes this process a guest: of the members that have the space open, or of a live file
// that can be joined as it is, or else of what is on disk.
func (sp *Space) openGuest(ctx context.Context) error {
	sp.Guest = true
	for {
		ok, err := sp.visit()
		if ok || err != nil {
			return err
		}
		// The gate keeps out a process that recovers the space, or closes it as the last one.
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

// liveReady reports whether the live file looks as if it could be joined.
func (sp *Space) liveReady() bool {
	info, err := sp.Files.Locks.Stat()
	if err != nil {
		return false
	}
	ready, _ := live.Ready(sp.Files.Dir, sp.Head.SpaceID, info)
	return ready
}

// visit makes this process a guest of the members (K9). It reports false if no live file can be
// trusted, or if a process has the space for itself.
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
			err = fmt.Errorf("%w: a program that may write has to mend it first", err)
		}
	}
	return false, errors.Join(err, oslock.Unlock(sp.Files.Locks, format.LockPresence))
}
