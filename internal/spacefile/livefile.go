package spacefile

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"os"

	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/live"
	"github.com/everheap/everheap/internal/oslock"
	"github.com/everheap/everheap/internal/vector"
)

// CheckMarks refuses a live file whose words cannot be right: a recovery was interrupted;
// its marks lie outside the heap file, or below those of the newest anchor; or its limit or
// next index is impossible.
func (d *Dir) CheckMarks(w *format.Live) error {
	if w.Recovering.Load() != 0 {
		return fmt.Errorf("%w: a recovery was interrupted", live.ErrUntrusted)
	}
	carved, end := w.Carved.Load(), w.End.Load()
	info, err := d.Locks.Stat() // after the marks: other processes extend the file before they raise the marks
	if err != nil {
		return err
	}
	if carved > uint64(info.Size()) && carved <= d.Header.Window {
		return fmt.Errorf("%w: %w", live.ErrUntrusted, &format.DamageError{File: HeapName, Offset: info.Size(),
			What: fmt.Sprintf("the file was truncated: %d bytes of it are in use", carved)})
	}
	if carved < format.FirstExtent(d.Header.Window) || carved > end || end > d.Header.Window || end > uint64(info.Size()) || carved%format.ExtentSize != 0 {
		return fmt.Errorf("%w: its marks lie outside the heap file", live.ErrUntrusted)
	}
	if limit := w.Limit.Load(); limit < format.FirstExtent(d.Header.Window) || limit > d.Header.Window || limit%format.ExtentSize != 0 {
		return fmt.Errorf("%w: its maximum size is impossible", live.ErrUntrusted)
	}
	if w.NextIndex.Load() > vector.MaxIndex {
		return fmt.Errorf("%w: its next index of objects is impossible", live.ErrUntrusted)
	}
	if anchors, _, err := d.Anchors(); err == nil && NewestAnchor(anchors).Carved > w.Carved.Load() { // the mark only rises, so an anchor cannot have a greater one
		return fmt.Errorf("%w: its high-water mark is below that of the newest anchor", live.ErrUntrusted)
	}
	return nil
}

// RebuildLive is the first part of recovery. It writes a new live file whose current version
// is that of the newest valid anchor; the caller then replays the journal onto it. Its cost
// does not depend on the size of the space: a later sweep finds the free space, unless the
// anchor lists it.
//
// The first opener of a new space calls RebuildLive. So RebuildLive makes the name of the
// space durable: the creator may have died before it did. failed says that an earlier sync
// failed, so some of the files' contents may not be on disk; the new live file keeps that
// mark.
func (d *Dir) RebuildLive(heapInfo os.FileInfo, failed bool) (Doubts, error) {
	for _, sync := range []func() error{d.SyncNames, d.SyncName} {
		if err := sync(); err != nil && !errors.Is(err, os.ErrPermission) {
			return Doubts{}, err
		}
	}
	anchors, doubts, err := d.Anchors()
	if err != nil {
		return doubts, err
	}
	fill, err := d.firstWords(anchors, uint64(heapInfo.Size()))
	if err != nil {
		return doubts, err
	}
	return doubts, live.Create(d.Dir, d.Header.SpaceID, heapInfo, heapInfo.Mode().Perm(), live.Files{Open: d.system.Open, Rename: d.system.Move}, func(w *format.Live) {
		if failed {
			w.Failed.Store(1)
		}
		fill(w)
	})
}

// firstWords returns a function that fills the words of a new live file from the anchors,
// for a heap file of that size. They say that the journal is still to be replayed.
func (d *Dir) firstWords(anchors []*format.Anchor, size uint64) (func(w *format.Live), error) {
	newest := NewestAnchor(anchors)
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
		w.End.Store(min(size, d.Header.Window))
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

// Freeze makes a live file in memory whose current version is that of the newest anchor (K10
// of package live). The caller holds the gate shared, so no process recovers the space
// meanwhile.
func (d *Dir) Freeze() (*live.Live, Doubts, error) {
	if held, err := oslock.HeldByOther(d.Locks, format.LockPresence); err != nil || held {
		return nil, Doubts{}, errors.Join(err, fmt.Errorf("%w: the live file is missing or damaged, or this user may not read it, while another process has the space open; close it there first", ErrBusy))
	}
	for {
		anchors, doubts, err := d.Anchors()
		if err != nil {
			return nil, doubts, err
		}
		info, err := d.Locks.Stat()
		if err != nil {
			return nil, doubts, err
		}
		fill, err := d.firstWords(anchors, uint64(info.Size()))
		if err != nil {
			return nil, doubts, err
		}
		lv, err := live.Frozen(d.Locks, d.Header.Base, fill)
		if err != nil {
			return nil, doubts, err
		}
		again, _, err := d.Anchors()
		if err == nil && usableOnDisk(again, NewestAnchor(anchors)) {
			return lv, doubts, nil
		}
		if err = errors.Join(err, d.UnlockVersions()); err != nil {
			return nil, doubts, err
		}
	}
}
