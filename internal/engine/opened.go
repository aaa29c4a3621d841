package engine

import (
	"context"
	"fmt"
	"sync"

	"github.com/everheap/everheap/internal/failure"
	"github.com/everheap/everheap/internal/mapping"
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
		if m.space.ReadOnly != o.ReadOnly {
			return nil, nil, fmt.Errorf("%w: this process has the space open in another mode; close it first", failure.ErrBusy)
		}
		if err := m.space.IsLost(); err != nil { // X1
			return nil, nil, err
		}
		if err := m.space.suits(o); err != nil {
			return nil, nil, err
		}
		if m.phase == phaseDraining { // K3
			m.space.Shut.Store(false)
			if m.space.IsLost() != nil { // just now
				m.space.Shut.Store(true)
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
		return nil, nil, fmt.Errorf("%w: another goroutine of this process opens or closes the space: %w", failure.ErrBusy, ctx.Err())
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
