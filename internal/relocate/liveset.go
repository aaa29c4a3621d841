package relocate

import (
	"context"
	"encoding/binary"
	"errors"

	"github.com/everheap/everheap/internal/entry"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/layout"
	"github.com/everheap/everheap/internal/object"
)

// A LiveSet is the set of the blocks that a rewrite copies.
type LiveSet struct {
	Version format.Version
	Blocks  int
	Bytes   format.ByteCount // of those blocks, headers and rounding included

	src    *Source
	newest format.Addr
	set    marks
}

// FindLive returns the blocks that the version with the state at newest and its checkpoints can reach.
func FindLive(ctx context.Context, src *Source, newest format.Addr) (*LiveSet, error) {
	s := &LiveSet{src: src, newest: newest, set: newMarks(src)}
	w := newWalker(ctx, src)
	w.visit = func(b *object.Block) []byte {
		s.set.add(b.Addr)
		s.Blocks++
		s.Bytes += b.Bytes()
		return nil
	}
	state, left, err := w.version(newest, 0)
	if err != nil {
		return nil, err
	}
	if taken := s.Bytes + left; taken != format.ByteCount(state.BlockBytes) { // N2
		return nil, src.damage(newest, "the state says %d bytes of blocks, there are %d", state.BlockBytes, taken)
	}
	s.Version = format.Version(state.Version)
	return s, w.checkpoints()
}

// walker walks versions block by block, and visits each block once.
type walker struct {
	ctx   context.Context
	src   *Source
	seen  marks
	known *marks // the walk fails at a block outside this set; nil: no such limit
	steps int
	// The walk calls visit with each block that it meets for the first time. visit returns
	// the payload of the block's copy, in which the walk changes addresses; nil: there is no
	// copy.
	visit func(b *object.Block) []byte
	place func(a format.Addr) format.Addr      // the address of a block's copy; called only if visit returns copies
	done  func(b *object.Block, copied []byte) // called with visit's copy, after the walk has changed it

	next   uint64       // the copy's NextIndex becomes at least this
	pins   []format.Pin // the newest version's checkpoints that are copied
	types  map[format.Addr]*layout.Type
	shapes map[[2]*layout.Type]*entry.Shape
}

func newWalker(ctx context.Context, src *Source) *walker {
	return &walker{ctx: ctx, src: src, seen: newMarks(src), types: map[format.Addr]*layout.Type{}, shapes: map[[2]*layout.Type]*entry.Shape{}}
}

// block walks the block of a kind at an address and all blocks below it, unless the walk has
// been there.
func (w *walker) block(a format.Addr, kind format.Kind, of object.Owner) error {
	if w.src.contains(a) && w.seen.has(a) {
		hd := w.src.head(a)
		if hd.Kind() != kind {
			return w.src.damage(a, "a %s block was expected, this is of kind %s", kind, hd.Kind())
		}
		return w.young(a, hd.Birth(), of)
	}
	if w.steps%1024 == 0 {
		if err := w.ctx.Err(); err != nil {
			return err
		}
	}
	w.steps++
	b, err := w.src.block(a, kind)
	if err != nil {
		return err
	}
	if err := w.young(a, b.Head.Birth(), of); err != nil {
		return err
	}
	if w.known != nil && !w.known.has(a) {
		return w.src.damage(a, "the %s block changes while it is read", kind)
	}
	w.seen.add(a)
	copied := w.visit(&b)
	if refersTo(kind) {
		err = w.follow(&b, copied, of)
	}
	if err != nil || copied == nil {
		return err
	}
	if err := w.value(&b, copied, of); err != nil {
		return err
	}
	w.done(&b, copied)
	return nil
}

// follow walks all blocks below a block, and changes their addresses in its copy, if there
// is one.
func (w *walker) follow(b *object.Block, copied []byte, of object.Owner) error {
	return w.each(b, of, func(at int, kind format.Kind, of object.Owner) error {
		word := b.Word(at)
		to := format.Addr(word & format.AddrMask)
		if err := w.block(to, kind, of); err != nil {
			return err
		}
		if copied != nil {
			binary.LittleEndian.PutUint64(copied[at:], word&^format.AddrMask|uint64(w.place(to)))
		}
		return nil
	})
}

// young refuses a block with a later birth than the version from which it is reached: such a
// block has overwritten the version's own.
func (w *walker) young(a format.Addr, birth format.Version, of object.Owner) error {
	if birth > of.Version {
		return w.src.damage(a, "the block was written by version %d, and version %d refers to it", birth, of.Version)
	}
	return nil
}

// version walks the version with the state at an address. want is its number; 0: it is the
// newest. left is the number of bytes of its blocks that are not copied.
func (w *walker) version(a format.Addr, want uint64) (state *format.State, left format.ByteCount, err error) {
	if state, err = w.src.State(a); err != nil {
		return nil, 0, err
	}
	if want != 0 && state.Version != want {
		return nil, 0, w.src.damage(a, "the state of the checkpoint of version %d is of version %d", want, state.Version)
	}
	if want == 0 {
		if w.pins, err = w.pinsOf(state); err != nil {
			return nil, 0, err
		}
	}
	if left, err = w.left(state, want == 0); err != nil {
		return nil, 0, err
	}
	return state, left, w.block(a, format.KindState, object.Owner{Version: format.Version(state.Version), Table: format.Link(state.Table), Newest: want == 0})
}

// checkpoints walks the blocks that only checkpoints reach.
func (w *walker) checkpoints() error {
	for _, p := range w.pins {
		if _, _, err := w.version(format.Addr(p.State), p.Version); err != nil {
			return err
		}
	}
	return nil
}

// pinsOf returns the checkpoints of a version that a rewrite copies: not those that a restore pinned.
func (w *walker) pinsOf(state *format.State) (list []format.Pin, err error) {
	if state.Pins == 0 {
		return nil, nil
	}
	b, err := w.src.block(format.Addr(state.Pins), format.KindPins)
	if err != nil {
		return nil, err
	}
	if len(b.Payload) < format.PinsHeadSize || b.Word(0) > format.MaxPins ||
		len(b.Payload) < format.PinsHeadSize+int(b.Word(0))*format.PinSize {
		return nil, w.src.damage(b.Addr, "the list of checkpoints is longer than its block")
	}
	for i := range int(b.Word(0)) {
		var p format.Pin
		if _, err := binary.Decode(b.Payload[format.PinsHeadSize+i*format.PinSize:], binary.LittleEndian, &p); err != nil {
			return nil, err
		}
		if p.Restore == 0 {
			list = append(list, p)
		}
	}
	return list, nil
}

// left returns the number of bytes of a version's blocks that are not copied: the list of
// its changes, and its list of checkpoints unless the copy has one.
func (w *walker) left(state *format.State, newest bool) (n format.ByteCount, err error) {
	drop := func(a uint64, kind format.Kind) {
		b, blockErr := w.src.block(format.Addr(a), kind)
		if blockErr == nil {
			n += b.Bytes()
		}
		err = errors.Join(err, blockErr)
	}
	if format.OpKindOf(state.OpWhat) == format.OpList {
		drop(state.OpBlock, format.KindOps)
	}
	if state.Pins != 0 && (!newest || len(w.pins) == 0) {
		drop(state.Pins, format.KindPins)
	}
	return n, err
}
