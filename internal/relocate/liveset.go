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

// A LiveSet is the set of the blocks that are to be kept.
type LiveSet struct {
	Version format.Version
	Blocks  int
	Bytes   format.ByteCount // of those blocks, headers and rounding included

	src    *Source
	newest format.Addr
	set    marks
}

// FindLive walks the version with the state at an address, and its checkpoints.
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

// walker walks versions, block by block, each one once.
type walker struct {
	ctx   context.Context
	src   *Source
	seen  marks
	known *marks // nothing but these may be met; nil: anything
	steps int
	// visit is called with each block when the walk first meets it. It returns the
	// payload of its copy so far, in which the walk changes addresses; nil: there is
	// no copy.
	visit func(b *object.Block) []byte
	place func(a format.Addr) format.Addr      // of blocks in the copy; called only if there is one
	done  func(b *object.Block, copied []byte) // with visit's copy, when it is changed

	next   uint64       // index of a new object, at the least
	pins   []format.Pin // of the newest version, that are kept
	types  map[format.Addr]*layout.Type
	shapes map[[2]*layout.Type]*entry.Shape
}

func newWalker(ctx context.Context, src *Source) *walker {
	return &walker{ctx: ctx, src: src, seen: newMarks(src), types: map[format.Addr]*layout.Type{}, shapes: map[[2]*layout.Type]*entry.Shape{}}
}

// block walks the block of the kind at an address, and all below it, unless that was
// done.
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

// follow walks all below a block, and changes the addresses of what it refers to in its
// copy, if there is one.
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

// young refuses a block that was written after the version that it is reached from: it
// has taken the place of another one.
func (w *walker) young(a format.Addr, birth format.Version, of object.Owner) error {
	if birth > of.Version {
		return w.src.damage(a, "the block was written by version %d, and version %d refers to it", birth, of.Version)
	}
	return nil
}

// version walks the version with the state at an address. want is its number; 0: it
// is the newest. left are the bytes of those of its blocks that are not kept.
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

// checkpoints walks what the checkpoints reach besides.
func (w *walker) checkpoints() error {
	for _, p := range w.pins {
		if _, _, err := w.version(format.Addr(p.State), p.Version); err != nil {
			return err
		}
	}
	return nil
}

// pinsOf returns the checkpoints of a version that have names.
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

// left returns the bytes of the blocks of a version that are not kept: the list of its
// changes, and that of its checkpoints if there is no use for it.
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
