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

// The heap file grows with everything that is in use at once: by transactions, by versions that
// readers, anchors and checkpoints keep, by processes that are suspended inside a transaction, and
// by what dead processes had reserved. Afterwards the background makes the file smaller.
//
// Invariants:
//
//	H1  The background shrinks a file that takes more of the disk than shrinkFactor times the
//	    bytes that the newest version can reach, plus shrinkBytes. It does so when little is
//	    written, since then the free space is not needed soon. The bound is for a file that has
//	    only this version to keep; what checkpoints and readers keep comes on top of it.
//	H2  It tries again only if that may help: if something was committed since, and the last try
//	    had brought the file below the bound of H1, or the file takes a quarter more than after
//	    that try, or the version reaches a quarter less, or a checkpoint was dropped; if the last
//	    try helped much and left more to do; or if a version that a reader held then, and that
//	    kept something, is not held any more. So a space without commits comes to rest. A try that
//	    failed because others were at work does not count.
//	H3  No process waits for it longer than for any small transaction. It does not begin while a
//	    process is suspended inside a transaction, since no sweep could begin.
const (
	shrinkFactor = 6
	shrinkBytes  = 12 << 20
	shrinkTries  = 8               // tries to become the sweeper, and to sweep
	shrinkPause  = 5 * time.Second // after a first try that failed because others were at work
	longestPause = time.Minute     // after many such tries
	shrinkLoad   = 10              // a try waits that many times as long as the last one took
	grownBytes   = 8 << 20         // with a quarter more than after the last try: the file has grown
	worthwhile   = 16              // a try that makes the file smaller by 1/worthwhile has helped
)

// Shrinking is the memory of the background of its tries.
type Shrinking struct {
	next  time.Time
	pause time.Duration
	never bool // the file system cannot give space back
}

// Look shrinks the heap file, if that is due. The background calls it once a second.
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

// futile reports whether a try failed or stopped early because others were at work, or because the
// background ends.
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

// measure returns how many bytes the heap file takes on disk, and how many the newest version can
// reach.
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

// shrinkDue reports whether the heap file takes too much of the disk (H1), and a try may help (H2).
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

// ample returns how many bytes a file may take whose newest version can reach the given number,
// before it is shrunk (H1).
func ample(bytes uint64) uint64 { return shrinkFactor*bytes + shrinkBytes }

// outgrown reports whether the size now is too much, and a try may help. before is the size after
// the last try, 0 if there was none (H2).
func (u *Upkeep) outgrown(now, bytes, before uint64) bool {
	return now > ample(bytes) &&
		(before <= ample(bytes) || now > before+before/4+grownBytes || bytes < u.Live.Words().ShrunkLive.Load()/4*3)
}

// noteShrunk notes the size of the file after a try; before is its size before that. If readers
// hold old versions, these may be why the file is not smaller, and noteShrunk notes the oldest of
// them; but not if the previous try noted one as well, and this try has not helped.
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

// heldVersions returns the versions that readers hold, except the newest.
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
