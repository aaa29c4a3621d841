package relocate

import (
	"context"
	"slices"

	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/object"
)

// A Move is a node of the paths to the blocks that are to be moved: such a block itself, or
// a block above one. It says which word of the block above refers to it, and what that word
// must hold for the path to be the same in a later version.
type Move struct {
	At    int         // offset of the (first) word that refers to it, in the payload of the block above
	Word  uint64      // that word
	Kind  format.Kind // of the block
	Away  bool        // the block itself is to be moved
	Size  uint32      // of its payload
	Below []Move
	held  *object.Held // the values in the block; nil: none
}

// Addr returns where the block lies.
func (m *Move) Addr() format.Addr { return format.Addr(m.Word & format.AddrMask) }

// To returns the word that refers to the block once it lies at the address a.
func (m *Move) To(a format.Addr) uint64 { return m.Word&^format.AddrMask | uint64(a) }

// Relocate changes the addresses in a copy of the block's payload that point into the block
// itself, for a block at the address to.
func (m *Move) Relocate(copied []byte, to format.Addr) error {
	old, now := uintptr(m.Addr())+format.HeaderSize, uintptr(to)+format.HeaderSize
	if m.held == nil {
		return nil
	}
	return m.held.Move(copied, old, now)
}

// Moves lists the blocks that away chooses, at most most of them, and the paths to them.
// count is the number of chosen blocks. It walks the version with the state at an address,
// which the caller holds. It does not walk the version's checkpoints, and it moves neither
// the state nor the list of its changes: the next version replaces both anyway.
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

// planner finds the paths to the blocks that are to be moved.
type planner struct {
	*walker
	away        func(a format.Addr) bool
	count, most int
	held        map[object.Held]*object.Held // one copy of each, which its moves share
}

// below returns the moves below a block. Several slots of a trie's node can refer to the
// same leaf: the leaf is one move.
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

// plan fills a move. It reports false if neither the block nor anything below it is to be moved.
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

// holds notes the values in a block, for Relocate.
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
