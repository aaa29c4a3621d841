package engine

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/everheap/everheap/internal/durable"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/mapping"
)

// The heap file grows with what is in use at once: by transactions, by versions that
// readers, anchors and checkpoints keep, by processes that stand still in the middle of
// one, and by what the dead had reserved. When that is over it is made smaller in the
// background.
//
// Invariants:
//
//	H1  A file that takes more than shrinkFactor times what the newest version can reach, and shrinkBytes,
//	    is made to take less when little is written: then what is free in it is not needed
//	    soon. That is so of a file as large as that with nothing but this version to keep;
//	    what checkpoints and readers keep comes on top.
//	H2  It is tried again only if that may bring something: something was committed
//	    since, and the last try had brought the file below what H1 says, or it takes a
//	    quarter more than after that try, or the version reaches a quarter less, or a
//	    checkpoint was dropped; or the last time brought much and there was more to be
//	    had; or a version that somebody held then, and that kept something, is
//	    held no more. So a space in which nobody writes comes to rest. A try that came
//	    to nothing since others were at it does not count.
//	H3  Nobody waits for it longer than for any small transaction, nor is anything
//	    begun while a process stands still in the middle of one: no sweep could begin.
const (
	shrinkFactor = 6
	shrinkBytes  = 12 << 20
	shrinkTries  = 8               // to be the sweeper, and to sweep
	shrinkPause  = 5 * time.Second // after a try that came to nothing since others were at it, at first
	longestPause = time.Minute     // after many of those
	shrinkLoad   = 10              // one begins at the earliest after that many times the last one's duration
	grownBytes   = 8 << 20         // and a quarter more than it took: the file has grown
	worthwhile   = 16              // a try that makes the file take less by one of so many parts has helped
)

// shrinking is what the background of this process remembers of its tries.
type shrinking struct {
	next  time.Time
	pause time.Duration
	never bool // the file system cannot give space back
}

// look makes the heap file take less, if that is due. It is called once a second.
func (s *shrinking) look(sp *Space, rest *durable.Rest) error {
	if s.never || time.Now().Before(s.next) || !rest.Quiet() || !sp.shrinkDue() || sp.othersActive() {
		return nil
	}
	began := time.Now()
	before, _, _, err := sp.measure()
	if err != nil {
		return err
	}
	ctx, cancel := sp.untilQuit()
	defer cancel()
	shrunk, err := sp.shrink(ctx, shrinkTries)
	s.next = time.Now().Add(shrinkLoad * time.Since(began))
	switch {
	case errors.Is(err, mapping.ErrUnsupported):
		s.never = true
	case shrunk.futile(err):
		s.pause = min(max(2*s.pause, shrinkPause), longestPause)
		s.next = time.Now().Add(s.pause)
		return nil
	case err == nil && shrunk.more:
		return nil // H2
	}
	s.pause = 0
	sp.noteShrunk(before)
	return err
}

// futile reports whether a try came to nothing, or not to its end, since others were at it,
// or the background ends.
func (s shrunk) futile(err error) bool {
	if err == nil {
		return s.busy
	}
	return slices.ContainsFunc([]error{ErrBusy, ErrSuspended, ErrClosed, context.Canceled}, func(kind error) bool { return errors.Is(err, kind) })
}

// untilQuit returns a context that ends when the background does.
func (sp *Space) untilQuit() (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		select {
		case <-sp.Quit:
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}

// measure returns what the heap file takes on disk, and how many bytes the newest
// version can reach.
func (sp *Space) measure() (disk, bytes uint64, version format.Version, err error) {
	s, err := mapping.StatusOfFile(sp.Files.Heap)
	if err != nil {
		return 0, 0, 0, err
	}
	hold := sp.Live.HoldCurrent()
	defer sp.Live.Release(&hold)
	state, err := sp.StateOf(hold)
	return uint64(s.Disk), state.BlockBytes, format.Version(state.Version), err
}

// shrinkDue reports whether the heap file takes too much of the disk (H1), and a try may
// bring something (H2).
func (sp *Space) shrinkDue() bool {
	w := sp.Live.Words()
	if w.Carved.Load() <= shrinkBytes || sp.durable.Refused() != nil || w.Clean.Load() != 0 {
		return false
	}
	disk, bytes, version, err := sp.measure()
	if err != nil || disk <= ample(bytes) {
		return false
	}
	if held := w.ShrunkHeld.Load(); held != 0 && !slices.Contains(sp.heldVersions(), held) {
		return true
	}
	return w.ShrunkAt.Load() != uint64(version) && sp.outgrown(disk, bytes, w.ShrunkDisk.Load())
}

// ample returns how many bytes a file may have or take, for so many that the newest
// version can reach, without anything being done about it (H1).
func ample(bytes uint64) uint64 { return shrinkFactor*bytes + shrinkBytes }

// outgrown reports whether a file has or takes too much, and a try may help: after the
// last one it was so many bytes (H2); 0: there was none.
func (sp *Space) outgrown(now, bytes, before uint64) bool {
	return now > ample(bytes) &&
		(before <= ample(bytes) || now > before+before/4+grownBytes || bytes < sp.Live.Words().ShrunkLive.Load()/4*3)
}

// noteShrunk notes what the file takes after a try, and took before it. Who holds an
// old version then may be why it is not less; but not if it was tried again for another
// one of those, and has not helped.
func (sp *Space) noteShrunk(before uint64) {
	disk, bytes, version, err := sp.measure()
	if err != nil {
		return
	}
	w := sp.Live.Words()
	again := w.ShrunkAt.Load() != 0 && w.ShrunkHeld.Load() != 0
	w.ShrunkAt.Store(uint64(version))
	w.ShrunkLive.Store(bytes)
	w.ShrunkDisk.Store(disk)
	held := uint64(0)
	if list := sp.heldVersions(); len(list) > 0 && (!again || disk < before-before/worthwhile) {
		held = slices.Min(list)
	}
	w.ShrunkHeld.Store(held)
}

// heldVersions returns the versions but the newest that readers hold.
func (sp *Space) heldVersions() (list []uint64) {
	_ = sp.Guarded(func() error {
		newest, err := sp.NewestVersion()
		for _, r := range sp.Live.Readers() {
			if v := sp.Heap.VersionOf(r.State); err == nil && v != 0 && v < newest {
				list = append(list, uint64(v))
			}
		}
		return err
	})
	return list
}
