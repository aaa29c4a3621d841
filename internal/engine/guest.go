package engine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"syscall"

	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/journal"
	"github.com/everheap/everheap/internal/live"
	"github.com/everheap/everheap/internal/oslock"
	"github.com/everheap/everheap/internal/spacefile"
)

// A space that is opened for reading only, by one who may not write its files, or from
// where nobody can: package live has the argument (K8 to K10).

// forbidden reports whether an error says that the files cannot be written by this user,
// or there.
func forbidden(err error) bool {
	return errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS)
}

// openGuest makes this process a guest: of those who have the space open, or could as it
// is, or else of what is on disk.
func (sp *Space) openGuest(ctx context.Context) error {
	sp.guest = true
	for {
		ok, err := sp.visit()
		if ok || err != nil {
			return err
		}
		// Not while somebody recovers the space, or closes it as the last one.
		gate, err := sp.takeGate(ctx, true)
		if err != nil {
			return err
		}
		if err = sp.sameHeap(); err == nil {
			if ok = sp.liveReady(); !ok {
				err = sp.freeze()
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
	info, err := sp.gate.Stat()
	if err != nil {
		return false
	}
	ready, _ := live.Ready(sp.dir, sp.header.SpaceID, info)
	return ready
}

// visit makes this process a guest of the members (K9). It reports false if there is no
// live file to be believed, or somebody has the space for himself.
func (sp *Space) visit() (bool, error) {
	if !sp.liveReady() {
		return false, nil
	}
	if ok, err := oslock.TryLock(sp.gate, format.LockPresence, true); err != nil || !ok {
		return false, err
	}
	err := sp.sameHeap()
	if err == nil {
		sp.live, err = live.OpenGuest(sp.dir, sp.header.SpaceID, sp.gate, sp.header.Base)
	}
	if err == nil {
		if err = sp.plausible(); err == nil {
			return true, nil
		}
		sp.live.Leave(false)
		sp.live = nil
		var damage *format.DamageError
		if errors.As(err, &damage) {
			err = damage
		} else {
			err = fmt.Errorf("%w: it has to be mended first, by a program that may write", err)
		}
	}
	return false, errors.Join(err, oslock.Unlock(sp.gate, format.LockPresence))
}

// freeze makes this process a guest of what is on disk: the version of the newest anchor
// (K10). The caller has the gate, shared: nobody recovers the space meanwhile.
func (sp *Space) freeze() error {
	if held, err := oslock.HeldByOther(sp.gate, format.LockPresence); err != nil || held {
		return errors.Join(err, fmt.Errorf("%w: the live file is missing or damaged, or may not be read, while another process has the space open", ErrBusy))
	}
	for {
		anchors, doubts, err := sp.readAnchors()
		if err != nil {
			return err
		}
		info, err := sp.gate.Stat()
		if err != nil {
			return err
		}
		fill, err := sp.firstWords(anchors, uint64(info.Size()))
		if err != nil {
			return err
		}
		sp.anchorDoubts = doubts
		if sp.live, err = live.Frozen(sp.gate, sp.header.Base, fill); err != nil {
			return err
		}
		again, _, err := sp.readAnchors()
		if err == nil && usableOnDisk(again, newestAnchor(anchors)) {
			return nil
		}
		err = errors.Join(err, oslock.UnlockAll(sp.gate, format.LockVersions, int64(sp.header.Window>>4)))
		sp.live = nil
		if err != nil {
			return err
		}
	}
}

// usableOnDisk reports whether an anchor is one of the two newest.
func usableOnDisk(anchors []*format.Anchor, a *format.Anchor) bool {
	newer := 0
	for _, other := range anchors {
		if other != nil && other.Newer(a) {
			newer++
		}
	}
	return newer < 2 && slices.ContainsFunc(anchors, func(other *format.Anchor) bool { return other != nil && *other == *a })
}

// openGuestJournal opens the journal for a guest, which only looks whether there is
// something to recover. Nothing can be missing from where it was closed in order.
func (sp *Space) openGuestJournal() (err error) {
	sp.journal.file, err = sp.options.open(sp.dir, journal.FileName, os.O_RDONLY, 0)
	if w := sp.live.Words(); errors.Is(err, os.ErrNotExist) {
		if w.Recovering.Load() != 0 && w.Clean.Load() == 0 {
			return errNoJournal
		}
		sp.live.Recovered(w.Written.Load())
		return nil
	}
	return err
}
