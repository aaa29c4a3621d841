// Package view reads one version beside whatever else goes on: it is held, and an editor reads
// its objects. The transactions of programs do the same with less (engine.Tx): this one is
// for who looks at a version for long.
//
// Start reading at View.Begin.
package view

import (
	"github.com/everheap/everheap/internal/edit"
	"github.com/everheap/everheap/internal/failure"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/heap"
	"github.com/everheap/everheap/internal/live"
	"github.com/everheap/everheap/internal/member"
)

// View is a version that is held and read. The zero value has none.
type View struct {
	edit.Editor
	m    *member.Member
	hold live.Hold
}

// Begin holds the newest version, for who has a guard. Drop must follow, also after an error or a
// panic.
func (v *View) Begin(m *member.Member, s *edit.Store) error {
	v.m = m
	v.Read(s)
	if m.Forked() {
		return failure.ErrForked
	}
	if !m.Live.HoldUnless(&v.hold, &m.Shut) {
		return m.WhyClosed()
	}
	v.ReadBy(&m.Reader)
	v.State = member.StateAt(v.hold.State)
	return nil
}

// Newest returns the newest version; Drop must follow.
func Newest(m *member.Member, s *edit.Store) (*View, error) {
	v := new(View)
	if err := m.Guarded(func() error { return v.Begin(m, s) }); err != nil {
		v.Drop()
		return nil, err
	}
	return v, nil
}

// ReadBy makes it read blocks by another reader.
func (v *View) ReadBy(r *heap.Reader) {
	v.Reader = r
	if r.Verifies() {
		of := r.Of(v.hold.State)
		v.Reader = &of
	}
}

// Held returns the address of the state that is held.
func (v *View) Held() format.Addr { return v.hold.State }

// Drop lets go of the version.
func (v *View) Drop() {
	v.End()
	if v.hold.Held() && !v.m.Forked() {
		v.m.Anyhow(func() { v.m.Live.Release(&v.hold) })
	}
}
