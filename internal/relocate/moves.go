package relocate

import (
	"context"
	"slices"

	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/object"
)

// A Move is a block of a version that is to get another place, or one on the way to such
// blocks. It says how to come to it from the block before, and what must be there for
// the way to be the same in a later version.
type Move struct {
	At    int         // offset, in the payload of the block before, of the word that refers to it, or of the first one
	Word  uint64      // that word
	Kind  format.Kind // of the block
	Away  bool        // it is to get another place itself
	Size  uint32      // of its payload
	Below []Move
	held  *object.Held // by the block; nil: no values
}

// Addr returns where the block lies.
func (m *Move) Addr() format.Addr { return format.Addr(m.Word & format.AddrMask) }

// To returns the word that refers to the block when it lies elsewhere.
func (m *Move) To(a format.Addr) uint64 { return m.Word&^format.AddrMask | uint64(a) }

// Relocate changes the addresses within a copy of the block's payload, which is to lie
// at another place.
func (m *Move) Relocate(copied []byte, to format.Addr) error {
	old, now := uintptr(m.Addr())+format.HeaderSize, uintptr(to)+format.HeaderSize
	if m.held == nil {
		return nil
	}
	return m.held.Move(copied, old, now)
}

// Moves lists what is to be moved of the version with the state at an address, which is
// held: the blocks that away chooses, most of them at the most, and the ways to them.
// count is how many those are. Checkpoints of the version are not walked, nor are its
// state and the list of its changes, which the next version replaces anyway.
func Moves(ctx context.Context, src *Source, state format.Addr, most int, away func(a format.Addr) bool) (list []Move, count int, err error) {
	w := newWalker(ctx, src)
	p := &planner{walker: w, away: away, most: most, held: map[object.Held]*object.Held{}}
	s, err := src.State(state)
	if err != nil {
		return nil, 0, err
	}
	b, err := src.block(state, format.KindState)
	if err != nil {
		return nil, 0, err
	}
	list, err = p.below(&b, object.Owner{Version: format.Version(s.Version), Table: format.Link(s.Table)})
	return list, p.count, err
}

// planner finds the ways to the blocks that are to be moved.
type planner struct {
	*walker
	away        func(a format.Addr) bool
	count, most int
	held        map[object.Held]*object.Held // each one once
}

// below returns the moves below a block. The leaf of a hash trie can be that of several
// slots of a node: then it is one move.
func (p *planner) below(b *object.Block, of object.Owner) (list []Move, err error) {
	err = p.each(b, of, func(at int, kind format.Kind, of object.Owner) error {
		m := Move{At: at, Word: b.Word(at), Kind: kind}
		if p.count >= p.most || slices.ContainsFunc(list, func(other Move) bool { return other.Addr() == m.Addr() }) {
			return nil
		}
		needed, err := p.plan(&m, of)
		if needed {
			list = append(list, m)
		}
		return err
	})
	return list, err
}

// plan fills a move, and reports whether it is one.
func (p *planner) plan(m *Move, of object.Owner) (bool, error) {
	if p.steps%1024 == 0 {
		if err := p.ctx.Err(); err != nil {
			return false, err
		}
	}
	p.steps++
	a := m.Addr()
	m.Away = p.src.contains(a) && p.away(a)
	last := !refersTo(m.Kind) // nothing is below
	if last && !m.Away {
		return false, nil
	}
	b, err := p.src.block(a, m.Kind)
	if err != nil {
		return false, err
	}
	if err := p.young(a, b.Head.Birth(), of); err != nil {
		return false, err
	}
	m.Size = b.Head.Size
	if m.Away {
		p.count++
		if err := p.holds(m, &b, of); err != nil {
			return false, err
		}
	}
	if !last {
		m.Below, err = p.below(&b, of)
	}
	return m.Away || len(m.Below) > 0, err
}

// holds notes how to move the values in a block.
func (p *planner) holds(m *Move, b *object.Block, of object.Owner) error {
	node := object.NodeOf(m.Kind)
	if node == nil || node.Hold == nil {
		return nil
	}
	held, err := node.Hold(p, b, of)
	if p.held[held] == nil {
		p.held[held] = &held
	}
	m.held = p.held[held]
	return err
}
