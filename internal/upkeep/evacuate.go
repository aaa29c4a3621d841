package upkeep

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
	"unsafe"

	"github.com/everheap/everheap/internal/check"
	"github.com/everheap/everheap/internal/failure"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/heap"
	"github.com/everheap/everheap/internal/invariant"
	"github.com/everheap/everheap/internal/live"
	"github.com/everheap/everheap/internal/locks"
	"github.com/everheap/everheap/internal/mapping"
	"github.com/everheap/everheap/internal/member"
	"github.com/everheap/everheap/internal/relocate"
	"github.com/everheap/everheap/internal/turn"
)

// Blocks lie where they were written, so what is left of much that was removed can lie
// in very many extents, a little in each. To empty those, the blocks are written anew
// elsewhere, in transactions like any other, beside whatever else goes on.
//
// Invariants (P for places):
//
//	P1  A transaction that moves changes nothing: each block that it writes holds what the
//	    one held that it takes the place of, but for addresses of blocks that it
//	    moved. Its version is told by the journal as one without changes; and it is
//	    published by a swap from its base like any other (E1), so what others have
//	    committed meanwhile is in it, or it is not.
//	P2  The way to a block is found in a version that is held, and gone again in the
//	    version of the transaction, which may be much younger. What is on the way is
//	    compared by kind and size, and the words but for the addresses; what is at its end
//	    by its address. A block of the held version is reclaimed by nobody, so what has
//	    its address is that very block. Whatever else has come into its place is
//	    left alone: it was written meanwhile, and not into what is to be emptied (P3).
//	P3  What is free in the extents that are to be emptied is in nobody's lists: a sweep has
//	    left it to the next one (heap.Marks.Withhold); what is moved out of them is
//	    left to a sweep, not freed; and what else becomes free in them this process leaves to
//	    the next sweep, too (heap.Avoid), which finds them free as a whole. Until it has
//	    ended one is due (SweepWish), whoever dies, and whoever has swept since this process
//	    began to move. Nobody else sweeps, since the one who moves is the sweeper. If others
//	    write there all the same, because they have freed something there, or have swept
//	    while this process stood still, an extent is not emptied, and that is all.
//	P4  What checkpoints reach stays where it is: those versions cannot be changed. So an
//	    extent in which there is something of them is not emptied.
//	P5  The block of the state of a program that runs under Resume has to stay the same, or
//	    the program is told that somebody else goes on from there (S3). Who moves says so
//	    (Mover), and then looks whether anybody holds the mutex of a Resume; who begins a
//	    Resume has its mutex, and then looks whether anybody moves. So the one who moves
//	    leaves values alone, or the program has waited for the writer lock, hence
//	    for the end of that transaction, before it reads its state.
const (
	sparse       = 3       // an extent of which less than that part is in use is worth emptying
	roomyFactor  = 2       // what is in use, times that,
	roomyBytes   = 4 << 20 // and so much more, is what a file may take without anything being moved
	moveBlocks   = 50_000  // in one pass, at the most
	moveBytes    = 32 << 20
	moveSlack    = 24                     // extents for classes of which one is begun
	moveTime     = time.Millisecond / 2   // for which a transaction has the writer lock
	movePatience = 500 * time.Millisecond // for all of a pass: others may want what is withheld
	moveLook     = 16                     // blocks between looks at the clock
)

// evacuation is the emptying of some extents.
type evacuation struct {
	u       *Upkeep
	chosen  heap.ExtentSet // to be emptied
	extents uint64         // in it
	cut     uint64         // extent from which on nothing is to be in use, if possible
	used    format.ByteCount
	blocks  int
	more    bool // there was more to be chosen
	long    bool // blocks lay farther back than they need

	moved    int
	deadline time.Time // of a transaction
	looks    int
	values   bool // objects of references may be moved (P5)
}

// roomy returns how many extents may be in use for so many bytes.
func roomy(bytes format.ByteCount) uint64 {
	return uint64(roomyFactor*bytes+roomyBytes) >> format.ExtentShift
}

// chooser returns choose, or nil if the file is so short that it is not worth it.
func (e *evacuation) chooser() (func(*heap.Marks, format.Addr) (*heap.ExtentSet, error), error) {
	_, bytes, _, err := e.u.measure()
	if extents := e.u.Live.Words().Carved.Load() >> format.ExtentShift; err != nil || extents-e.u.Heap.First() <= roomy(format.ByteCount(bytes)) {
		return nil, err
	}
	return e.choose, nil
}

// choose chooses the extents that are to be emptied, which the sweep leaves alone. marks
// are those of all that is protected; the state is that of the version that the sweep
// holds.
func (e *evacuation) choose(marks *heap.Marks, state format.Addr) (*heap.ExtentSet, error) {
	*e = evacuation{u: e.u}
	fixed, err := e.pinned(state)
	if err != nil {
		return nil, err
	}
	list := slices.Collect(marks.Occupied())
	if len(list) == 0 {
		return nil, nil
	}
	extents, stay := uint64(0), uint64(0)
	for _, o := range list {
		extents += o.Count
		if fixed.Has(o.Extent) {
			stay += o.Count
		}
	}
	first := e.u.Heap.First()
	end := list[len(list)-1].Extent + list[len(list)-1].Count
	goal := roomy(marks.Bytes)
	long := end-first > 2*goal+stay
	if extents <= goal && !long {
		return nil, nil
	}
	for cut := first + goal + stay; ; cut += max(goal/2, 1) {
		e.pick(list, fixed, cut, extents > goal)
		room := cut - first - below(list, cut)
		if room >= uint64(e.used>>format.ExtentShift)*5/4+moveSlack || cut >= end {
			break
		}
	}
	e.long = long
	return &e.chosen, nil
}

// below returns how many extents before the cut are in use.
func below(list []heap.Occupied, cut uint64) (n uint64) {
	for _, o := range list {
		if o.Extent < cut {
			n += min(o.Count, cut-o.Extent)
		}
	}
	return n
}

// pinned returns the extents in which there is something of a checkpoint (P4).
func (e *evacuation) pinned(state format.Addr) (*heap.ExtentSet, error) {
	set := new(heap.ExtentSet)
	var pins []format.Addr
	e.u.Heap.Pins(state, func(pin format.Addr, _ format.Version) { pins = append(pins, pin) })
	if len(pins) == 0 {
		return set, nil
	}
	marks := e.u.Heap.NewMarks(e.u.Live.Words().Carved.Load())
	r := e.u.Heap.Reader(true)
	for _, pin := range pins {
		if err := check.Mark(&r, pin, marks); err != nil {
			return nil, err
		}
	}
	for o := range marks.Occupied() {
		set.Add(o.Extent)
	}
	set.Add(e.u.Heap.ExtentOf(format.Addr(member.StateAt(state).Pins)))
	return set, nil
}

// pick puts the extents that are worth it into the set, if nothing beyond the cut is to
// be used: those with the least in them first, as many as one pass can empty. many says
// that there are more than need be, and not only too far back.
func (e *evacuation) pick(list []heap.Occupied, fixed *heap.ExtentSet, cut uint64, many bool) {
	*e = evacuation{u: e.u, cut: cut}
	var worth []heap.Occupied
	for _, o := range list {
		if !fixed.Has(o.Extent) && (o.Extent >= cut || many && !o.Run && o.Used < format.ExtentSize/sparse) {
			worth = append(worth, o)
		}
	}
	slices.SortStableFunc(worth, func(a, b heap.Occupied) int {
		return cmp.Compare(a.Used/format.ByteCount(a.Count), b.Used/format.ByteCount(b.Count))
	})
	for _, o := range worth {
		if e.blocks+o.Blocks > moveBlocks || e.used+o.Used > moveBytes {
			e.more = true
			continue
		}
		for i := range o.Count {
			e.chosen.Add(o.Extent + i)
		}
		e.extents += o.Count
		e.blocks += o.Blocks
		e.used += o.Used
	}
}

// empty moves what is in the extents that were chosen.
func (e *evacuation) empty(ctx context.Context) error {
	if err := e.u.asSweeper(ctx, func() {
		e.u.Heap.Avoid(&e.chosen)
		e.u.Heap.SortExtents(e.cut)
	}); err != nil {
		return err
	}
	err := e.run(ctx)
	if err == nil {
		err = e.renew(ctx)
	}
	if avoidErr := e.u.withLists(context.Background(), func() { e.u.Heap.Avoid(nil) }); avoidErr != nil {
		return avoidErr // what the space is refused for, whatever came of the moving
	}
	return err
}

// renew publishes a version that changes nothing, if the state of the newest one or the
// list of its changes lies in what is to be emptied: those no walk comes to, and the next
// version has its own.
func (e *evacuation) renew(ctx context.Context) error {
	u := e.u
	hold := u.Live.HoldCurrent()
	state, err := u.StateOf(hold)
	u.Live.Release(&hold)
	in := func(a uint64) bool { return e.chosen.Has(u.Heap.ExtentOf(format.Addr(a))) }
	if err != nil || !in(uint64(hold.State)) && !(format.OpKindOf(state.OpWhat) == format.OpList && in(state.OpBlock)) {
		return err
	}
	_, err = u.Change(ctx, func(w turn.Writing) error {
		root := format.Link(w.State.Table)
		a, err := w.Txn.Copy(root.Addr(), format.KindTable, w.Txn.Reader.Size(root.Addr()))
		if err != nil {
			return err
		}
		w.State.Table = uint64(root)&^format.AddrMask | uint64(a)
		return nil
	})
	if u.noRoom(err) {
		return nil
	}
	return err
}

// noRoom reports whether an error says that there is no space left.
func (u *Upkeep) noRoom(err error) bool {
	return err != nil && (errors.Is(err, mapping.ErrNoSpace) || errors.Is(u.Explain("compact", err), failure.ErrNoSpace))
}

// run moves all blocks of the newest version that lie in the extents. It ends early where
// there is no room for that, or when others may have waited long enough for what is
// withheld. It is busy for a writer without space, who needs what is held here (RV7).
func (e *evacuation) run(ctx context.Context) error {
	held, end := e.u.Own.Begin(ctx)
	defer end()
	err := e.moveAll(held)
	if err != nil && held.Err() != nil && ctx.Err() == nil {
		return fmt.Errorf("%w: a writer needs the space that is moved", failure.ErrBusy)
	}
	return err
}

// moveAll is run under a context that ends when the held version is needed.
func (e *evacuation) moveAll(ctx context.Context) error {
	u := e.u
	hold := u.Live.HoldCurrent()
	defer u.Live.Release(&hold)
	ways, err := e.ways(ctx, hold)
	if err != nil {
		return err
	}
	invariant.Point("move.found")
	var last format.Version // that a batch has published
	for began := time.Now(); len(ways) > 0 && time.Since(began) < movePatience; {
		one, contended := time.Now(), u.Queue.Contended()
		version, err := e.batch(ctx, &ways[0])
		if u.noRoom(err) {
			return nil
		}
		if err != nil {
			return err
		}
		invariant.Point("move.committed")
		if last != 0 && version > last+1 || contended != u.Queue.Contended() { // others write, or wait: it is their turn for as long
			time.Sleep(time.Since(one))
		}
		last = version
		if len(ways[0].Below) == 0 && !ways[0].Away {
			ways = ways[1:]
		}
		if u.Quitting() {
			return failure.ErrClosed
		}
	}
	e.more = e.more || len(ways) > 0
	return nil
}

// ways finds the blocks in the version that is held.
func (e *evacuation) ways(ctx context.Context, hold live.Hold) (list []relocate.Move, err error) {
	u := e.u
	carved := u.Live.Words().Carved.Load()
	err = u.Guarded(func() error {
		data := unsafe.Slice((*byte)(unsafe.Add(unsafe.Pointer(nil), uintptr(u.Head.Base))), carved)
		src, err := relocate.NewSource(data, u.Head, carved)
		if err == nil {
			list, _, err = relocate.Moves(ctx, src, hold.State, 2*moveBlocks, func(a format.Addr) bool { return e.chosen.Has(u.Heap.ExtentOf(a)) })
		}
		return err
	})
	return list, err
}

// batch is one transaction that moves blocks (P1, P5). It returns the version that it has
// published.
func (e *evacuation) batch(ctx context.Context, way *relocate.Move) (format.Version, error) {
	u := e.u
	w, me := u.Live.Words(), uint64(u.Live.Incarnation())
	w.Mover.Store(me)
	defer w.Mover.CompareAndSwap(me, 0)
	e.values = !locks.Resumes(u.Member)
	return u.Change(ctx, func(w turn.Writing) error {
		e.deadline, e.looks = time.Now().Add(moveTime), 0
		word := w.State.Table
		table := format.Addr(word & format.AddrMask)
		if way.To(table) != word { // it has another number of levels by now
			way.Away, way.Below = false, nil
			return nil
		}
		to, err := e.move(w, table, way)
		if err != nil {
			return err
		}
		w.State.Table = way.To(to)
		invariant.Point("move.moved")
		return nil
	})
}

// enough reports whether the transaction has taken long enough.
func (e *evacuation) enough() bool {
	if e.looks++; e.looks%moveLook == 0 && time.Now().After(e.deadline) {
		e.deadline = time.Time{}
	}
	return e.deadline.IsZero()
}

// move moves the block at an address, if it is the one that the way leads to and that is to be
// moved, and those below it, and returns where it lies then (P2). What is done is taken
// off the way.
func (e *evacuation) move(w turn.Writing, a format.Addr, m *relocate.Move) (format.Addr, error) {
	r, t := &w.Txn.Reader, w.Txn
	if !r.Plausible(a) || r.Kind(a) != m.Kind || r.Size(a) != format.ByteCount(m.Size) {
		m.Away, m.Below = false, nil
		return a, nil
	}
	if m.Away && a == m.Addr() && (e.values || m.Kind != format.KindValue) {
		to, err := e.copy(w, m)
		if err != nil {
			return 0, err
		}
		a = to
	}
	m.Away = false
	for last := len(m.Below) - 1; last >= 0 && !e.enough(); last-- {
		child := &m.Below[last]
		word := *wordAt(uintptr(a)+format.HeaderSize, child.At)
		if from := format.Addr(word & format.AddrMask); child.To(from) == word {
			to, err := e.move(w, from, child)
			if err == nil && to != from {
				if !t.Editable(a) {
					a, err = t.Copy(a, m.Kind, format.ByteCount(m.Size))
				}
				if err == nil {
					refer(uintptr(t.Payload(a)), m, child.At, to)
				}
			}
			if err != nil {
				return 0, err
			}
			if child.Away || len(child.Below) > 0 {
				break
			}
		}
		m.Below = m.Below[:last]
	}
	return a, nil
}

// refer makes a copied block refer to another one where the one lay whose word is at the
// offset. The leaf of a hash trie can be that of several slots of an inner node.
func refer(payload uintptr, m *relocate.Move, at int, to format.Addr) {
	from := *wordAt(payload, at) & format.AddrMask
	end := at + 8
	if m.Kind == format.KindInner {
		end = int(m.Size)
	}
	for ; at < end; at += 8 {
		if w := wordAt(payload, at); *w&format.AddrMask == from {
			*w = *w&^format.AddrMask | uint64(to)
		}
	}
}

// wordAt returns the word at an offset of a payload.
func wordAt(payload uintptr, at int) *uint64 {
	return (*uint64)(unsafe.Add(unsafe.Pointer(nil), payload+uintptr(at)))
}

// copy writes a block anew, and leaves the old one to the sweep that follows (P3).
func (e *evacuation) copy(w turn.Writing, m *relocate.Move) (format.Addr, error) {
	t, old := w.Txn, m.Addr()
	a, err := t.Alloc(m.Kind, format.ByteCount(m.Size))
	if err != nil {
		return 0, err
	}
	from := unsafe.Slice((*byte)(unsafe.Add(unsafe.Pointer(nil), uintptr(old)+format.HeaderSize)), m.Size)
	to := unsafe.Slice((*byte)(t.Payload(a)), m.Size)
	copy(to, from)
	if err := m.Relocate(to, a); err != nil {
		return 0, err
	}
	t.LeaveToSweep(old)
	e.moved++
	return a, nil
}
