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

// A block stays where it was written. After a program has removed much, the rest can lie in very
// many extents, a little in each. To empty such extents, this file copies their blocks elsewhere,
// in ordinary transactions, while other processes read and write.
//
// Invariants (P for places):
//
//	P1  A transaction that moves blocks changes no contents: each new block equals the block that
//	    it replaces, except for the addresses of moved blocks. The journal records its version as
//	    one without changes. It publishes by a swap from its base like any other transaction (E1),
//	    so it has the commits of others from before, and no swap overwrites later ones.
//	P2  The way to a block is found in a held version, and followed again in the version of the
//	    transaction, which may be much younger. Each block on the way is compared by kind, by size
//	    and by its words other than addresses; the block at the end by its address. No process
//	    reclaims a block of the held version, so a block with its address is that very block. Any
//	    other block in its place stays: it was written since, and not into an extent that is to be
//	    emptied (P3).
//	P3  The free blocks of the extents to be emptied are in no list. A sweep has left them to the
//	    next sweep (heap.Marks.Withhold). A moved block is not freed: it is left to a sweep.
//	    Blocks in these extents that become free in other ways are left to the next sweep by this
//	    process, too (heap.Avoid), and that sweep finds each extent free as a whole. Until it has
//	    ended, a sweep is due (SweepWish), even if this process dies, or another process has swept
//	    since this process began to move. No other process sweeps meanwhile, since the mover is
//	    the sweeper. Others may still write into such an extent, because they have freed a block
//	    there, or have swept while this process was suspended: then the extent is not emptied, and
//	    no harm is done.
//	P4  Blocks that checkpoints reach are not moved, since those versions cannot be changed. So an
//	    extent with such a block is not emptied.
//	P5  While a program runs under Resume, the block of its state has to stay the same: otherwise
//	    the program gets the error that another one has continued from that state (S3). The mover
//	    sets Mover, and then looks whether a process holds the mutex of a Resume. A Resume takes
//	    its mutex, and then looks at Mover. So either the mover leaves single values alone, or the
//	    program waits for the writer lock, and with it for the end of the mover's transaction,
//	    before it reads its state.
const (
	sparse       = 3       // an extent is worth emptying if less than 1/sparse of it is in use
	roomyFactor  = 2       // a file may take that many times what is in use,
	roomyBytes   = 4 << 20 // plus that much, before blocks are moved
	moveBlocks   = 50_000  // at most in one pass
	moveBytes    = 32 << 20
	moveSlack    = 24                     // extents that may be begun, about one a class
	moveTime     = time.Millisecond / 2   // how long a transaction has the writer lock
	movePatience = 500 * time.Millisecond // how long a pass takes at most: others may need what is withheld
	moveLook     = 16                     // how many blocks are moved between looks at the clock
)

// evacuation is the emptying of some extents.
type evacuation struct {
	u       *Upkeep
	chosen  heap.ExtentSet // the extents to be emptied
	extents uint64         // how many were chosen
	cut     uint64         // number of the extent from which on everything should become free
	used    format.ByteCount
	blocks  int
	more    bool // more extents were worth emptying than were chosen
	long    bool // blocks lay farther back than necessary

	moved    int
	deadline time.Time // of the present transaction
	looks    int
	values   bool // single values may be moved (P5)
}

// roomy returns how many extents may be in use for so many bytes.
func roomy(bytes format.ByteCount) uint64 {
	return uint64(roomyFactor*bytes+roomyBytes) >> format.ExtentShift
}

// chooser returns choose, or nil if the file is too short for moving to be worth it.
func (e *evacuation) chooser() (func(*heap.Marks, format.Addr) (*heap.ExtentSet, error), error) {
	_, bytes, _, err := e.u.measure()
	if extents := e.u.Live.Words().Carved.Load() >> format.ExtentShift; err != nil || extents-e.u.Heap.First() <= roomy(format.ByteCount(bytes)) {
		return nil, err
	}
	return e.choose, nil
}

// choose chooses the extents to be emptied, which the sweep then leaves alone. marks marks
// everything that is protected; state is the state of the version that the sweep holds.
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

// pinned returns the extents that have a block of a checkpoint (P4).
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

// pick adds extents that are worth emptying to the set, if no extent beyond the cut is to be used:
// those with the least in them first, as many as one pass can empty. many says that more extents
// are in use than necessary, and not only that some lie too far back.
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

// empty moves the blocks out of the chosen extents.
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
		return avoidErr // the error for which the space refuses writes, whatever the move returned
	}
	return err
}

// renew publishes a version without changes if the newest state, or its list of changes, lies in a
// chosen extent: no walk comes to those blocks, and the next version has others.
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

// noRoom reports whether an error means that no space is left.
func (u *Upkeep) noRoom(err error) bool {
	return err != nil && (errors.Is(err, mapping.ErrNoSpace) || errors.Is(u.Explain("compact", err), failure.ErrNoSpace))
}

// run moves all blocks of the newest version that lie in the chosen extents. It ends early if there
// is no space for the copies, or if others may have waited long enough for the withheld blocks. It
// returns ErrBusy if a writer without space needs what it holds (RV7).
func (e *evacuation) run(ctx context.Context) error {
	held, end := e.u.Own.Begin(ctx)
	defer end()
	err := e.moveAll(held)
	if err != nil && held.Err() != nil && ctx.Err() == nil {
		return fmt.Errorf("%w: a writer needs the space that is moved", failure.ErrBusy)
	}
	return err
}

// moveAll is run under a context that ends when a writer needs the held version.
func (e *evacuation) moveAll(ctx context.Context) error {
	u := e.u
	hold := u.Live.HoldCurrent()
	defer u.Live.Release(&hold)
	ways, err := e.ways(ctx, hold)
	if err != nil {
		return err
	}
	invariant.Point("move.found")
	var last format.Version // the version that the last batch published
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
		if last != 0 && version > last+1 || contended != u.Queue.Contended() { // others write, or wait: leave them as much time
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

// ways finds the blocks to move, and the ways to them, in the held version.
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

// batch runs one transaction that moves blocks (P1, P5), and returns the version that it published.
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
		if way.To(table) != word { // the table has another number of levels by now
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

// enough reports whether the transaction has had its time.
func (e *evacuation) enough() bool {
	if e.looks++; e.looks%moveLook == 0 && time.Now().After(e.deadline) {
		e.deadline = time.Time{}
	}
	return e.deadline.IsZero()
}

// move moves the block at an address and those below it, if the way leads to that block and it is
// to be moved, and returns the new address (P2). It removes the finished parts from the way.
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

// refer changes a copied block: where the address with the word at the offset stood, it writes the
// new address. In an inner node of a hash trie several slots can have the same leaf.
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

// copy copies a block, and leaves the old one to the sweep that follows (P3).
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
