package engine

import (
	"time"

	"github.com/everheap/everheap/internal/failure"
	"github.com/everheap/everheap/internal/invariant"
	"github.com/everheap/everheap/internal/mapping"
	"github.com/everheap/everheap/internal/spacefile"
)

// Close ends this handle. The last handle of the process gives back what the process has reserved,
// and the last process writes an anchor. Close waits for transactions in progress.
func (sp *Space) Close() error { return sp.dropHandle(false) }

// CloseInside is Close for a goroutine that may be inside a transaction of the space. It returns
// once everything committed is durable. Transactions in progress continue as usual, and the space
// ends after the last of them.
func (sp *Space) CloseInside() error { return sp.dropHandle(true) }

// dropHandle is Close.
func (sp *Space) dropHandle(inside bool) error {
	if sp.Forked() {
		return sp.Explain("close", failure.ErrForked)
	}
	id, m, last := sp.lastHandle()
	if last {
		sp.upkeep.SweepLast() // while the space is still open
	}
	token := sp.beginDrain(m)
	if token == 0 {
		return nil
	}
	if inside && !sp.drained() {
		go func() { sp.Note(sp.finish(id, m, token)) }()
		return sp.Explain("close", sp.makeDurable())
	}
	return sp.Explain("close", sp.finish(id, m, token))
}

// lastHandle returns the entry of the space, and reports whether the space has only one handle.
func (sp *Space) lastHandle() (id mapping.FileID, m *membership, last bool) {
	opened.Lock()
	defer opened.Unlock()
	for at, c := range opened.spaces {
		if c.space == sp {
			return at, c, c.refs == 1
		}
	}
	return id, nil, false
}

// beginDrain counts one handle less. If it was the last, no transaction can begin from now on,
// unless an Open takes the closing back: then the returned token no longer is the current one. The
// token is 0 if there are other handles.
func (sp *Space) beginDrain(m *membership) (token uint64) {
	opened.Lock()
	defer opened.Unlock()
	if m == nil || m.phase != phaseOpen || m.refs == 0 {
		return 0
	}
	if m.refs--; m.refs > 0 {
		return 0
	}
	m.closing++
	sp.Shut.Store(true) // a writer that waits for its turn gets ErrClosed
	m.setPhase(phaseDraining)
	return m.closing
}

// drained reports whether no transaction and no other operation is in progress, in the order of E8.
// The work of the background does not count: it continues until the end.
func (sp *Space) drained() bool {
	if !sp.Queue.TryLock() {
		return false
	}
	sp.Queue.Unlock()
	return !sp.Views() && sp.Live.Idle()
}

// makeDurable makes everything committed durable, for a closer that does not wait for the end.
func (sp *Space) makeDurable() error {
	if sp.ReadOnly {
		return nil
	}
	version, err := sp.NewestVersion()
	if err == nil {
		err = sp.durable.Await(version)
	}
	return err
}

// finish waits for the transactions in progress, and then ends the membership, unless
// the space was opened again meanwhile (K3).
func (sp *Space) finish(id mapping.FileID, m *membership, token uint64) error {
	for pause := drainPause; ; pause = min(2*pause, 50*drainPause) {
		drained := sp.drained()
		opened.Lock()
		if m.phase != phaseDraining || m.closing != token {
			opened.Unlock()
			return nil
		}
		if drained {
			m.setPhase(phaseEnding)
			opened.Unlock()
			break
		}
		opened.Unlock()
		invariant.Point("close.waits")
		time.Sleep(pause)
	}
	err := sp.end()
	opened.Lock()
	defer opened.Unlock()
	delete(opened.spaces, id)
	m.setPhase(phaseEnding)
	return err
}

// drainPause is how often a closer looks whether the operations in progress have ended; it looks
// less often if they take long.
const drainPause = 100 * time.Microsecond

// close ends the membership of a space that is in no table and has no transaction.
func (sp *Space) close() error {
	sp.upkeep.SweepLast()
	sp.Shut.Store(true)
	for !sp.drained() {
		invariant.Point("close.waits")
		time.Sleep(drainPause)
	}
	return sp.end()
}

// closeGate closes the gate file and releases its locks.
func (sp *Space) closeGate() {
	sp.Files.UnpinPresence()
	if sp.Guest && sp.Head != nil {
		_ = sp.Files.UnlockVersions() // if it fails, a stale lock protects too much
	}
	spacefile.CloseLocks(sp.Files.Locks)
}
