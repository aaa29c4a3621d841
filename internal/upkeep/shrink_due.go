package upkeep

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/everheap/everheap/internal/durable"
	"github.com/everheap/everheap/internal/failure"
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

// Shrinking is what the background of this process remembers of its tries.
type Shrinking struct {
	next  time.Time
	pause time.Duration
	never bool // the file system cannot give space back
}

// Look makes the heap file take less, if that is due. It is called once a second.
func (s *Shrinking) Look(u *Upkeep, rest *durable.Rest) error {
	if s.never || time.Now().Before(s.next) || !rest.Quiet() || !u.shrinkDue() || u.othersActive() {
		return nil
	}
	began := time.Now()
	before, _, _, err := u.measure()
	if err != nil {
		return err
	}
	ctx, cancel := u.untilQuit()
	defer cancel()
	shrunk, err := u.shrink(ctx, shrinkTries, shrinkTries)
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
	u.noteShrunk(before)
	return err
}

// futile reports whether a try came to nothing, or not to its end, since others were at it,
// or the background ends.
func (s shrunk) futile(err error) bool {
	if err == nil {
		return s.busy
	}
	return slices.ContainsFunc([]error{failure.ErrBusy, failure.ErrSuspended, failure.ErrClosed, context.Canceled}, func(kind error) bool { return errors.Is(err, kind) })
}

// untilQuit returns a context that ends when the background does.
func (u *Upkeep) untilQuit() (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		select {
		case <-u.Quit:
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}

// measure returns what the heap file takes on disk, and how many bytes the newest
// version can reach.
func (u *Upkeep) measure() (disk, bytes uint64, version format.Version, err error) {
	s, err := mapping.StatusOfFile(u.Files.Heap)
	if err != nil {
		return 0, 0, 0, err
	}
	u.Own.Add()
	defer u.Own.Done()
	hold := u.Live.HoldCurrent()
	defer u.Live.Release(&hold)
	state, err := u.StateOf(hold)
	return uint64(s.Disk), state.BlockBytes, format.Version(state.Version), err
}

// shrinkDue reports whether the heap file takes too much of the disk (H1), and a try may
// bring something (H2).
func (u *Upkeep) shrinkDue() bool {
	w := u.Live.Words()
	if w.Carved.Load() <= shrinkBytes || u.durable.Refused() != nil || w.Clean.Load() != 0 {
		return false
	}
	disk, bytes, version, err := u.measure()
	if err != nil || disk <= ample(bytes) {
		return false
	}
	if held := w.ShrunkHeld.Load(); held != 0 && !slices.Contains(u.heldVersions(), held) {
		return true
	}
	return w.ShrunkAt.Load() != uint64(version) && u.outgrown(disk, bytes, w.ShrunkDisk.Load())
}

// ample returns how many bytes a file may have or take, for so many that the newest
// version can reach, without anything being done about it (H1).
func ample(bytes uint64) uint64 { return shrinkFactor*bytes + shrinkBytes }

// outgrown reports whether a file has or takes too much, and a try may help: after the
// last one it was so many bytes (H2); 0: there was none.
func (u *Upkeep) outgrown(now, bytes, before uint64) bool {
	return now > ample(bytes) &&
		(before <= ample(bytes) || now > before+before/4+grownBytes || bytes < u.Live.Words().ShrunkLive.Load()/4*3)
}

// noteShrunk notes what the file takes after a try, and took before it. Who holds an
// old version then may be why it is not less; but not if it was tried again for another
// one of those, and has not helped.
func (u *Upkeep) noteShrunk(before uint64) {
	disk, bytes, version, err := u.measure()
	if err != nil {
		return
	}
	w := u.Live.Words()
	again := w.ShrunkAt.Load() != 0 && w.ShrunkHeld.Load() != 0
	w.ShrunkAt.Store(uint64(version))
	w.ShrunkLive.Store(bytes)
	w.ShrunkDisk.Store(disk)
	held := uint64(0)
	if list := u.heldVersions(); len(list) > 0 && (!again || disk < before-before/worthwhile) {
		held = slices.Min(list)
	}
	w.ShrunkHeld.Store(held)
}

// heldVersions returns the versions but the newest that readers hold.
func (u *Upkeep) heldVersions() (list []uint64) {
	_ = u.Guarded(func() error {
		newest, err := u.NewestVersion()
		for _, r := range u.Live.Readers() {
			if v := u.Heap.VersionOf(r.State); err == nil && v != 0 && v < newest {
				list = append(list, uint64(v))
			}
		}
		return err
	})
	return list
}
