package engine

import (
	"context"
	"fmt"
	"sync"

	"github.com/everheap/everheap/internal/failure"
	"github.com/everheap/everheap/internal/mapping"
)

// The table of the spaces that a process has open, and how opening and closing work.
//
//	K1  A goroutine holds a mutex that belongs to a package and not to a space (opened here,
//	    compiling in package layout, the table of windows in package mapping) only while it reads
//	    or changes the table, and during system calls that end by themselves. Under it the
//	    goroutine never waits for anything that a program, another process or a lock can hold up:
//	    no transaction, no gate, no disk. So nothing that a program does with one space can keep
//	    another space from being opened or closed.
//	K2  A heap file has at most one entry in opened, and the phase of the entry says who may
//	    change what. While the space is opening or ending, only the goroutine that set that phase
//	    may, and all others wait for the phase to change. So a process never has two Spaces on one
//	    heap file.
//	K3  Closing has two parts. While the space drains, it waits for the transactions in progress,
//	    and everything else still works: an Open during that time takes the closing back, and
//	    waits for nothing, whatever transaction it is called in. When the space is ending, no
//	    transaction is in progress and none can begin: so the end waits for no program, and an
//	    Open waits for the end.
var opened struct {
	sync.Mutex
	spaces map[mapping.FileID]*membership
}

// membership is an entry of opened.
type membership struct {
	space   *Space // nil while it is opening
	refs    int    // handles
	phase   phase
	closing uint64        // how many times the last handle was closed; the draining of the latest one counts, unless an Open took it back
	changed chan struct{} // closed when the phase changes
}

// phase says whether a space is opening, open or closing (K2, K3).
type phase int

const (
	phaseOpening phase = iota
	phaseOpen
	phaseDraining
	phaseEnding
)

// setPhase sets the phase. The caller has the mutex of opened.
func (m *membership) setPhase(p phase) {
	m.phase = p
	close(m.changed)
	m.changed = make(chan struct{})
}

// share returns the space if this process has it open. If the process does not, share makes an
// entry with the phase opening and returns that, and the caller opens the space (K2). If another
// goroutine is opening or ending it, share waits for that and returns neither.
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
			if m.space.IsLost() != nil { // it was lost just now
				m.space.Shut.Store(true)
			}
			m.setPhase(phaseOpen)
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

// open opens the space and fills the entry, or removes the entry if that fails.
func (m *membership) open(ctx context.Context, dir string, id mapping.FileID, o Options) (sp *Space, err error) {
	defer func() { // after a panic, too
		opened.Lock()
		defer opened.Unlock()
		if sp == nil {
			delete(opened.spaces, id)
		} else {
			m.space, m.refs = sp, 1
		}
		m.setPhase(phaseOpen)
	}()
	return open(ctx, dir, id, o)
}
