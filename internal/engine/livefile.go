package engine

import (
	"errors"
	"fmt"

	"github.com/everheap/everheap/internal/failure"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/heap"
	"github.com/everheap/everheap/internal/live"
)

// openLive opens the coordination of the space, rebuilding it from the anchors
// if it is not of this boot. The caller holds the gate.
//
// Every process that has the space open holds the presence byte shared. A process that rebuilds
// live needs it exclusively, so the file is never replaced under a process.
func (sp *Space) openLive() error {
	heapInfo, err := sp.Files.Locks.Stat()
	if err != nil {
		return err
	}
	failed := false
	sp.Live, err = live.Open(sp.Files.Dir, sp.Head.SpaceID, heapInfo)
	if err == nil {
		if err = sp.plausible(); err != nil {
			failed = sp.Live.Words().Failed.Load() != 0 || sp.Live.InDoubt()
			sp.Live.Leave(false)
			sp.Live = nil
		}
	}
	if errors.Is(err, live.ErrUntrusted) {
		ok, lockErr := sp.Files.Presence(false)
		if lockErr != nil {
			return lockErr
		}
		if damage := (*format.DamageError)(nil); !ok && errors.As(err, &damage) && damage.File == HeapName {
			return damage
		}
		if !ok {
			return fmt.Errorf("%w: the live file is missing or damaged while another process has the space open; close it there first", failure.ErrBusy)
		}
		if sp.durable.Doubts, err = sp.Files.RebuildLive(heapInfo, failed); err == nil {
			sp.Live, err = live.Open(sp.Files.Dir, sp.Head.SpaceID, heapInfo)
		}
	}
	if err != nil {
		return err
	}
	ok, err := sp.Files.Presence(true)
	if err == nil && !ok {
		err = fmt.Errorf("%w: another process recovers the space", failure.ErrBusy)
	}
	return err
}

// plausible refuses a live file with impossible words: its current state must verify, and its marks
// must lie in the file, beyond the marks of the anchors.
func (sp *Space) plausible() error {
	if err := sp.Files.CheckMarks(sp.Live.Words()); err != nil {
		return err
	}
	r := heap.New(sp.Region, sp.Live).Reader(true)
	if err := sp.verifyNewest(&r); err != nil {
		return fmt.Errorf("%w: %w", live.ErrUntrusted, err)
	}
	return nil
}

// verifyNewest verifies the newest state without a slot, since the process has none before it
// joins. So other processes may commit, and may reuse the block that it looks at. It counts a
// failure only if the state still is the newest one after that, and tries several times, since an
// address can come back.
func (sp *Space) verifyNewest(r *heap.Reader) error {
	const tries = 3
	for failures := 0; ; {
		state := sp.Live.Current()
		err := r.Verify(state, format.KindState)
		if err == nil {
			return nil
		}
		if sp.Live.Current() != state {
			continue
		}
		if failures++; failures == tries {
			return err
		}
	}
}
