package spacefile

import (
	"fmt"
	"time"

	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/mapping"
	"github.com/everheap/everheap/internal/oslock"
)

// Presence takes the presence byte, shared or exclusively. The caller holds the gate.
// Presence tries for a while, since a process that tries to join, or that asks whether it is
// alone, holds the byte for a moment.
func (d *Dir) Presence(shared bool) (ok bool, err error) {
	for began := time.Now(); ; time.Sleep(probePause) {
		ok, err = oslock.TryLock(d.Locks, format.LockPresence, shared)
		if ok || err != nil || time.Since(began) > probePatience {
			return ok, err
		}
	}
}

// Alone reports whether no other process has the space open. The caller holds the gate, and
// presence shared.
func (d *Dir) Alone() (bool, error) {
	ok, err := oslock.TryLock(d.Locks, format.LockPresence, false)
	if err != nil || !ok {
		return false, err
	}
	_, err = oslock.TryLock(d.Locks, format.LockPresence, true)
	return true, err
}

// PinPresence moves the shared lock on the presence byte to a description that forked
// children do not inherit (Q3 of package engine). At every moment the old or the new
// description holds the lock, so no other process takes the byte exclusively.
func (d *Dir) PinPresence() error {
	f, err := openAgain(d.Locks)
	if err != nil {
		return err
	}
	defer f.Close()
	ok, err := oslock.TryLock(f, format.LockPresence, true)
	if err == nil && !ok {
		err = fmt.Errorf("%w: another process is recovering the space", ErrBusy)
	}
	if err == nil {
		d.here, err = mapping.PinFile(f)
	}
	if err != nil {
		return err
	}
	return oslock.Unlock(d.Locks, format.LockPresence)
}

// UnpinPresence releases the lock that PinPresence has moved. Its caller takes presence
// exclusively next. The caller holds the gate, so no other process takes presence
// exclusively in between.
func (d *Dir) UnpinPresence() {
	if d.here != nil {
		d.here.Close()
		d.here = nil
	}
}

// UnlockVersions releases the locks by which a guest protects versions.
func (d *Dir) UnlockVersions() error {
	return oslock.UnlockAll(d.Locks, format.LockVersions, int64(d.Header.Window>>4))
}
