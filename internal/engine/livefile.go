package engine

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"os"

	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/heap"
	"github.com/everheap/everheap/internal/live"
	"github.com/everheap/everheap/internal/spacefile"
	"github.com/everheap/everheap/internal/vector"
)

// openLive opens the coordination of the space, rebuilding it from the anchors
// if it is not of this boot. The caller holds the gate.
//
// The presence byte is shared by every process that has the space open; who
// rebuilds needs it exclusively, so the file is never replaced under a process.
func (sp *Space) openLive() error {
	heapInfo, err := sp.dir.Locks.Stat()
	if err != nil {
		return err
	}
	failed := false
	sp.live, err = live.Open(sp.dir.Dir, sp.header.SpaceID, heapInfo)
	if err == nil {
		if err = sp.plausible(); err != nil {
			failed = sp.live.Words().Failed.Load() != 0 || sp.live.InDoubt()
			sp.live.Leave(false)
			sp.live = nil
		}
	}
	if errors.Is(err, live.ErrUntrusted) {
		ok, lockErr := sp.dir.Presence(false)
		if lockErr != nil {
			return lockErr
		}
		if damage := (*format.DamageError)(nil); !ok && errors.As(err, &damage) && damage.File == HeapName {
			return damage
		}
		if !ok {
			return fmt.Errorf("%w: the live file is missing or damaged while another process has the space open; close it there first", ErrBusy)
		}
		if err = sp.rebuildLive(heapInfo, failed); err == nil {
			sp.live, err = live.Open(sp.dir.Dir, sp.header.SpaceID, heapInfo)
		}
	}
	if err != nil {
		return err
	}
	ok, err := sp.dir.Presence(true)
	if err == nil && !ok {
		err = fmt.Errorf("%w: another process recovers the space", ErrBusy)
	}
	return err
}

// plausible refuses a live file whose words cannot be: its state must verify,
// and the marks must lie in the file, beyond what is anchored.
func (sp *Space) plausible() error {
	w := sp.live.Words()
	if w.Recovering.Load() != 0 {
		return fmt.Errorf("%w: a recovery was cut short", live.ErrUntrusted)
	}
	carved, end := w.Carved.Load(), w.End.Load()
	info, err := sp.dir.Locks.Stat() // after the marks: others make the file grow, and raise them then
	if err != nil {
		return err
	}
	if carved > uint64(info.Size()) && carved <= sp.header.Window {
		return fmt.Errorf("%w: %w", live.ErrUntrusted, &format.DamageError{File: HeapName, Offset: info.Size(),
			What: fmt.Sprintf("the file was truncated: %d bytes of it are in use", carved)})
	}
	if carved < format.FirstExtent(sp.header.Window) || carved > end || end > sp.header.Window || end > uint64(info.Size()) || carved%format.ExtentSize != 0 {
		return fmt.Errorf("%w: its marks lie outside the heap file", live.ErrUntrusted)
	}
	if limit := w.Limit.Load(); limit < format.FirstExtent(sp.header.Window) || limit > sp.header.Window || limit%format.ExtentSize != 0 {
		return fmt.Errorf("%w: it names an impossible maximum size", live.ErrUntrusted)
	}
	if w.NextIndex.Load() > vector.MaxIndex {
		return fmt.Errorf("%w: it says that all indexes of objects are used up", live.ErrUntrusted)
	}
	if anchors, _, err := sp.dir.Anchors(); err == nil && spacefile.NewestAnchor(anchors).Carved > w.Carved.Load() { // it only rises: what it is now is more than what an anchor has noted
		return fmt.Errorf("%w: it says that space is free which the newest anchor uses", live.ErrUntrusted)
	}
	r := heap.New(sp.region, sp.live).Reader(true)
	if err := sp.verifyNewest(&r); err != nil {
		return fmt.Errorf("%w: %w", live.ErrUntrusted, err)
	}
	return nil
}

// verifyNewest verifies the newest state without a slot, which there is none of
// before the process has joined: so others may commit, and reuse the block that
// is looked at. A failure counts only if the state still is the newest, and more
// than once, since an address can come back.
func (sp *Space) verifyNewest(r *heap.Reader) error {
	const tries = 3
	for failures := 0; ; {
		state := sp.live.Current()
		err := r.Verify(state, format.KindState)
		if err == nil {
			return nil
		}
		if sp.live.Current() != state {
			continue
		}
		if failures++; failures == tries {
			return err
		}
	}
}

// rebuildLive is the first part of recovery: the newest valid anchor whose state
// block is intact is the version that the journal is replayed onto. What it takes
// does not depend on the size of the space; the free space is found by a sweep,
// unless the anchor lists it.
//
// It is the first opener after a space was created that comes here, and so sees to
// it that the space has its name on disk, which its creator may not have lived to
// do. failed says that of what is in the files some may not be on disk: the mark
// stays, whatever becomes of the live file.
func (sp *Space) rebuildLive(heapInfo os.FileInfo, failed bool) error {
	for _, sync := range []func() error{sp.dir.SyncNames, sp.dir.SyncName} {
		if err := sync(); err != nil && !errors.Is(err, os.ErrPermission) {
			return err
		}
	}
	anchors, doubts, err := sp.dir.Anchors()
	if err != nil {
		return err
	}
	sp.anchorDoubts = doubts
	fill, err := sp.firstWords(anchors, uint64(heapInfo.Size()))
	if err != nil {
		return err
	}
	return live.Create(sp.dir.Dir, sp.header.SpaceID, heapInfo, heapInfo.Mode().Perm(), live.Files{Open: sp.dir.System().Open, Rename: sp.dir.System().Move}, func(w *format.Live) {
		if failed {
			w.Failed.Store(1)
		}
		fill(w)
	})
}

// firstWords returns what fills the words of a new live file from anchors, for a heap
// file of the size. The journal is still to be replayed then.
func (sp *Space) firstWords(anchors []*format.Anchor, size uint64) (func(w *format.Live), error) {
	newest := spacefile.NewestAnchor(anchors)
	if newest.Carved > size&^(format.ExtentSize-1) {
		return nil, &format.DamageError{File: HeapName, Offset: int64(size),
			What: fmt.Sprintf("the file was truncated: version %d needs %d bytes", newest.Version, newest.Carved)}
	}
	size &^= format.ExtentSize - 1
	var random [8]byte
	if _, err := rand.Read(random[:]); err != nil {
		return nil, err
	}
	salt := binary.LittleEndian.Uint64(random[:])
	return func(w *format.Live) {
		w.Current.Store(newest.State)
		w.Carved.Store(newest.Carved)
		w.End.Store(min(size, sp.header.Window))
		w.Limit.Store(newest.Limit)
		w.Epoch.Store(1)
		w.Salt.Store(salt)
		w.Recovering.Store(1)
		w.Written.Store(newest.Version)
		w.Durable.Store(newest.Version)
		for i := range format.NumStacks {
			live.SetStack(w, i, 0)
			if newest.Clean == 1 {
				live.SetStack(w, i, newest.Stacks[i])
			}
		}
		if newest.Clean == 1 {
			w.Clean.Store(1) // E5
		} else {
			w.SweepWish.Store(1)
		}
		for i, a := range anchors {
			if a == nil {
				continue
			}
			w.AnchorSequence.Store(max(w.AnchorSequence.Load(), a.Sequence))
			if newest.Newer(a) || a == newest {
				w.Anchors[i].State.Store(a.State)
				w.Anchors[i].Sequence.Store(a.Sequence)
				w.Anchors[i].Version.Store(a.Version)
				w.Anchors[i].Confirmed.Store(1)
			}
		}
	}, nil
}
