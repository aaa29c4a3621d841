package engine

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"github.com/everheap/everheap/internal/invariant"
	"github.com/everheap/everheap/internal/mapping"
	"github.com/everheap/everheap/internal/spacefile"
)

// What a process has open, and how that begins and ends.
//
//	K1  A mutex that belongs to a package and not to a space (opened here, compiling in
//	    package layout, the table of windows in package mapping) is held while its
//	    table is read or changed, and while system calls run that end by themselves.
//	    Nothing is waited for under it that a program, another process or a lock
//	    could hold up: no transaction, no gate, no disk. So no program can keep one
//	    space from being opened or closed by what it does with another.
//	K2  A heap file has one entry in opened at the most, and the entry says who may
//	    change what: while it is opening, or ending, that is the one goroutine which
//	    made it so, and all others wait for the change. So there are never two Spaces
//	    on one heap file in a process.
//	K3  Closing has two parts. While it drains, it waits for the transactions in
//	    progress, and everything else of the space still goes on; so an Open in that
//	    time takes the closing back, and waits for nobody, in whatever transaction it
//	    is called. When it is ending, no transaction is in progress any more and none
//	    can begin, so it waits for no program, and who opens the space waits for it.
var opened struct {
	sync.Mutex
	spaces map[mapping.FileID]*membership
}

// membership is an entry of opened.
type membership struct {
	space   *Space // nil while it is being opened
	refs    int    // handles
	phase   phase
	closing uint64        // how many times the last handle was closed: an Open since takes it back
	changed chan struct{} // closed when the phase changes
}

// phase says how far a space is open (K2, K3).
type phase int

const (
	phaseOpening phase = iota
	phaseOpen
	phaseDraining
	phaseEnding
)

// turn changes the phase. The caller has the mutex of opened.
func (m *membership) turn(p phase) {
	m.phase = p
	close(m.changed)
	m.changed = make(chan struct{})
}

// Supported returns nil if this system can have spaces, and otherwise why it cannot.
func Supported() error { return mapping.Supported() }

// Open opens, or creates, the space in directory dir. A space that this process
// has open already is shared: Close must be called once for every Open.
func Open(dir string, o Options) (*Space, error) {
	return OpenContext(context.Background(), dir, o)
}

// OpenContext is Open; ctx ends the waiting for others with ErrBusy.
func OpenContext(ctx context.Context, dir string, o Options) (*Space, error) {
	if err := mapping.Supported(); err != nil {
		return nil, openError(dir, err)
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, openError(dir, err)
	}
	mapping.Generation() // before the mutex, which in a fork the parent may have held (Q4)
	for {
		id, err := findHeap(dir, o)
		if err != nil {
			return nil, openError(dir, err)
		}
		sp, mine, err := share(ctx, id, o)
		if err != nil {
			return nil, openError(dir, err)
		}
		if sp != nil {
			return sp, nil
		}
		if mine == nil {
			continue // what was in the way is over
		}
		sp, err = mine.open(ctx, dir, id, o)
		if errors.Is(err, spacefile.ErrOtherHeap) {
			continue
		}
		if err != nil {
			return nil, openError(dir, err)
		}
		return sp, nil
	}
}

// findHeap returns the identity of the heap file in a directory, where a space is
// created if there is none and there may be one.
func findHeap(dir string, o Options) (mapping.FileID, error) {
	if o.ReadOnly || o.MustExist {
		return spacefile.Find(dir, nil)
	}
	return spacefile.Find(dir, o.creation().Create)
}

// share returns the space if this process has it open. If not, it makes the entry that
// says that it is being opened, and returns that: then the caller opens it (K2). If
// somebody else in this process opens or ends it, it waits for that, and returns neither.
func share(ctx context.Context, id mapping.FileID, o Options) (*Space, *membership, error) {
	opened.Lock()
	m := opened.spaces[id]
	switch {
	case m == nil:
		defer opened.Unlock()
		if opened.spaces == nil {
			opened.spaces = map[mapping.FileID]*membership{}
		}
		m = &membership{phase: phaseOpening, changed: make(chan struct{})}
		opened.spaces[id] = m
		return nil, m, nil
	case m.phase == phaseOpen || m.phase == phaseDraining:
		defer opened.Unlock()
		if m.space.readOnly != o.ReadOnly {
			return nil, nil, fmt.Errorf("%w: this process has the space open in another mode; close it first", ErrBusy)
		}
		if err := m.space.isLost(); err != nil { // X1
			return nil, nil, err
		}
		if err := m.space.suits(o); err != nil {
			return nil, nil, err
		}
		if m.phase == phaseDraining { // K3
			m.space.closed.Store(false)
			if m.space.isLost() != nil { // just now
				m.space.closed.Store(true)
			}
			m.turn(phaseOpen)
		}
		m.refs++
		return m.space, nil, nil
	}
	changed := m.changed
	opened.Unlock()
	select {
	case <-changed:
		return nil, nil, nil
	case <-ctx.Done():
		return nil, nil, fmt.Errorf("%w: another goroutine of this process opens or closes the space: %w", ErrBusy, ctx.Err())
	}
}

// open opens the space, and fills the entry, or removes it if that fails.
func (m *membership) open(ctx context.Context, dir string, id mapping.FileID, o Options) (sp *Space, err error) {
	defer func() { // after a panic, too
		opened.Lock()
		defer opened.Unlock()
		if sp == nil {
			delete(opened.spaces, id)
		} else {
			m.space, m.refs = sp, 1
		}
		m.turn(phaseOpen)
	}()
	return open(ctx, dir, id, o)
}

// openError wraps an error of Open.
func openError(dir string, err error) error {
	return &OpError{Op: "open", Space: filepath.Base(dir), Err: kindOf(dir, err)}
}

// Close ends this handle. The last one of the process gives back what the
// process has reserved; the last process writes an anchor. It waits for
// transactions in progress.
func (sp *Space) Close() error { return sp.dropHandle(false) }

// CloseInside is Close for a goroutine that may be in a transaction of the space: what
// is committed is durable when it returns, and if transactions are in progress the
// space ends when they have, and they end as ever.
func (sp *Space) CloseInside() error { return sp.dropHandle(true) }

// dropHandle is Close.
func (sp *Space) dropHandle(inside bool) error {
	if sp.Forked() {
		return sp.translate("close", ErrForked)
	}
	id, m, last := sp.lastHandle()
	if last {
		sp.sweepLast() // while it is open still
	}
	token := sp.beginDrain(m)
	if token == 0 {
		return nil
	}
	if inside && !sp.drained() {
		go func() { sp.note(sp.finish(id, m, token)) }()
		return sp.translate("close", sp.makeDurable())
	}
	return sp.translate("close", sp.finish(id, m, token))
}

// lastHandle finds the entry of the space, and says whether it has one handle.
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

// beginDrain counts a handle that is closed. If it is the last one, no transaction can
// begin any more, unless somebody opens the space: then the token that it returns is
// the current one no longer. 0: there are other handles.
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
	sp.closed.Store(true) // who waits for his turn gets ErrClosed
	m.turn(phaseDraining)
	return m.closing
}

// drained reports whether no transaction and no other operation is in progress, in the
// order of E8. What the background does is none: it goes on until the end.
func (sp *Space) drained() bool {
	if !sp.queue.tryLock() {
		return false
	}
	sp.queue.unlock()
	return sp.views.Load() == 0 && sp.live.Idle()
}

// makeDurable makes what is committed durable, for one who does not wait for the end.
func (sp *Space) makeDurable() error {
	if sp.readOnly {
		return nil
	}
	version, err := sp.newestVersion()
	if err == nil {
		err = sp.awaitDurable(version)
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
			m.turn(phaseEnding)
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
	m.turn(phaseEnding)
	return err
}

// drainPause is how often one who closes a space looks whether what is in progress has
// ended; less often if that takes long.
const drainPause = 100 * time.Microsecond

// close ends the membership of a space that is in no table, and in no transaction.
func (sp *Space) close() error {
	sp.sweepLast()
	sp.closed.Store(true)
	for !sp.drained() {
		invariant.Point("close.waits")
		time.Sleep(drainPause)
	}
	return sp.end()
}
