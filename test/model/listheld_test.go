package model

import (
	"fmt"
	"slices"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/internal/spacetest"
	"pgregory.net/rapid"
)

// listSnapshot is a View that stays open in a goroutine of its own, with its expected contents.
type listSnapshot[T any] struct {
	model listModel[T]
	tasks chan func(tx *everheap.Tx)
	done  chan error
}

// hold starts a View that stays open while the space changes.
func (m *listMachine[T]) hold(t *rapid.T) {
	if len(m.held) >= 4 {
		t.Skip("enough are held")
	}
	s := &listSnapshot[T]{model: m.model.clone(), tasks: make(chan func(*everheap.Tx)), done: make(chan error, 1)}
	began := make(chan struct{})
	go func() {
		s.done <- m.space.View(func(tx *everheap.Tx) error {
			close(began)
			for task := range s.tasks {
				task(tx)
			}
			return nil
		})
	}()
	spacetest.Receive(t, "a View", began)
	m.held = append(m.held, s)
}

// look compares a held snapshot with its expected contents.
func (m *listMachine[T]) look(t *rapid.T) {
	if len(m.held) == 0 {
		t.Skip("none is held")
	}
	s := m.held[rapid.IntRange(0, len(m.held)-1).Draw(t, "snapshot")]
	result := make(chan error)
	s.tasks <- func(tx *everheap.Tx) {
		var err error
		defer func() {
			switch f := recover().(type) {
			case nil:
			case failure:
				err = f
			default:
				err = fmt.Errorf("panic: %v", f)
			}
			result <- err
		}()
		m.compare(new(failure), tx, s.model)
	}
	m.ok(t, spacetest.Receive(t, "a comparison", result))
}

// letGo ends a held snapshot.
func (m *listMachine[T]) letGo(t *rapid.T) {
	if len(m.held) == 0 {
		t.Skip("none is held")
	}
	i := rapid.IntRange(0, len(m.held)-1).Draw(t, "snapshot")
	close(m.held[i].tasks)
	m.ok(t, spacetest.Receive(t, "the end of a View", m.held[i].done))
	m.held = slices.Delete(m.held, i, i+1)
}
