package heap

import (
	"errors"
	"slices"
	"sync/atomic"

	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/invariant"
	"github.com/everheap/everheap/internal/mapping"
)

// A removal first needs space: it copies the blocks on the path to the removed entry. The
// old blocks become free only when the version is committed and no reader and no usable
// anchor sees the version before. So a space without a free block could never get one.
// Therefore removals use the reserve: free extents in cells of live, from which every
// process can take one and none can keep it.
//
// Invariants:
//
//	RV1 An extent in a cell is free and has its disk space, so using it needs no more disk
//	    space. It belongs to the cell: it is in no list and no stack. Its owner puts it there
//	    by a swap from 0, and a process takes it by a swap to 0, both between Enter and
//	    Leave. So a look while no process is active finds each extent where it belongs, and a
//	    sweep spares it (BeginSweep). The cells name no extent twice. A process that takes an
//	    extent says so first (CellsTaken). It may take one after a sweep has raised the epoch
//	    and before the sweep has looked at the cells. Then it owns an extent of which the
//	    sweep does not know, since the process knows the new epoch. So the sweep reads the
//	    number before and after, and gives up if it has changed.
//	RV2 While a cell is empty a process takes an extent only for the cell or for a removal.
//	    So the first extents that become free fill the reserve, whichever process frees them,
//	    before anything else grows.
//	RV3 Only removals get blocks that are cut from an extent of the reserve, and removals pay
//	    them back: each block that a removal took is a debt, and the next free block of the
//	    class pays it. Otherwise a program that keeps removing one entry and storing another
//	    would store into the blocks that removals free, and use up the reserve.
//	RV4 A transaction may take from the reserve: for an operation that removes; for its
//	    commit, if it leaves no more bytes reachable than it found; for anything else, as
//	    long as it leaves fewer, that block included; and when it replays the journal.
//	    (Txn.mayUseReserve)
//	RV5 The last extents are for transactions that drop a checkpoint: if checkpoints pin
//	    everything, removals free nothing, and would use up the reserve.
//	RV6 Cells are a cache, like all free space (I4): a power loss, or a loss of live, empties
//	    them, and the next sweep finds their extents. The last process to close puts them on
//	    the stack of extents, which its anchor lists (E5).
//
// If a process dies while it owns an extent, the extent leaks until a sweep, as always. A
// process gives the blocks that it has cut back to all when the cells are full again, or
// when it closes.

const (
	minReserve  = 32 // extents in the reserve at least: enough for paths in several classes
	reservePart = 16 // the reserve has one extent for each 16 that the space's blocks fill, if that is more
	lastReserve = 8  // extents that only a transaction that drops a checkpoint takes
)

// reserve is this process's part of the reserve: the blocks that it has cut.
type reserve struct {
	lists [format.NumClasses][]format.Addr
	debts [format.NumClasses]int // by class: blocks that were taken and not paid back
	owed  int                    // their number
}

// forget drops the blocks below the floor, and all debts, since their blocks are forgotten.
func (r *reserve) forget(floor format.Addr) {
	for c := range r.lists {
		r.lists[c] = slices.DeleteFunc(r.lists[c], func(a format.Addr) bool { return a < floor })
	}
	r.debts, r.owed = [format.NumClasses]int{}, 0
}

// bytes returns how many bytes are in the lists.
func (r *reserve) bytes() (n format.ByteCount) {
	for c := range r.lists {
		n += format.ByteCount(len(r.lists[c])) * format.Class(c).BlockSize()
	}
	return n
}

// reserveExtents returns how many cells should be full.
//
// Another process may reuse the state's block during the read: any result is acceptable.
func (h *Heap) reserveExtents() int {
	state := (*format.State)(at(uintptr(h.live.Current()) + format.HeaderSize))
	return int(min(max(state.BlockBytes>>format.ExtentShift/reservePart, minReserve), format.NumReserve))
}

// ReserveBytes returns how many bytes the reserve should have.
func (h *Heap) ReserveBytes() format.ByteCount {
	return format.ByteCount(h.reserveExtents()) << format.ExtentShift
}

// emptyCells returns how many of the cells that should be full are empty.
func (h *Heap) emptyCells() (n int) {
	w := h.live.Words()
	for i := range h.reserveExtents() {
		if w.Reserve[i].Load() == 0 {
			n++
		}
	}
	return n
}

// fillReserve fills the cells (RV2), with extents from anywhere or, if ownOnly is set, only
// from this process's list. The error says why it could not.
func (h *Heap) fillReserve(ownOnly bool) error {
	if h.leaving {
		return nil
	}
	w := h.live.Words()
	for i := range h.reserveExtents() {
		cell := &w.Reserve[i]
		if cell.Load() != 0 {
			continue
		}
		extent, ok := h.runs.take(1)
		if !ok && ownOnly {
			return errNoExtent
		}
		if !ok {
			var err error
			if extent, err = h.takeFree(1); err != nil {
				return err
			}
		}
		if invariant.Enabled {
			h.ledger.Lent(extent)
		}
		invariant.Point("reserve.taken")
		if !cell.CompareAndSwap(0, extent) { // another process was faster
			if invariant.Enabled {
				h.ledger.Unlent(extent, 1)
			}
			h.runs.add(extent, 1)
		}
	}
	return nil
}

// errNoExtent says that this process has no free extent.
var errNoExtent = errors.New("no free extent at hand")

// takeCells takes n consecutive extents out of the cells. It takes the last ones only if
// last is set (RV5).
func (h *Heap) takeCells(n int, last bool) (extent uint64, ok bool) {
	w := h.live.Words()
	type full struct {
		extent uint64
		cell   int
	}
	var list []full
	for i := range w.Reserve {
		if e := w.Reserve[i].Load(); e != 0 {
			list = append(list, full{e, i})
		}
	}
	if left := len(list) - n; left < 0 || !last && left < lastReserve {
		return 0, false
	}
	slices.SortFunc(list, func(a, b full) int { return int(a.extent) - int(b.extent) })
next:
	for i := 0; i+n <= len(list); i++ {
		if list[i+n-1].extent != list[i].extent+uint64(n)-1 {
			continue
		}
		for k, f := range list[i : i+n] {
			w.CellsTaken.Add(1)                                 // RV1
			if !w.Reserve[f.cell].CompareAndSwap(f.extent, 0) { // another process was faster
				for _, taken := range list[i : i+k] {
					if invariant.Enabled {
						h.ledger.Unlent(taken.extent, 1)
					}
					h.runs.add(taken.extent, 1)
				}
				continue next
			}
		}
		h.live.Assure() // no other process has them (L16)
		if invariant.Enabled {
			h.ledger.Unlent(list[i].extent, uint64(n))
		}
		invariant.Point("reserve.cut")
		return list[i].extent, true
	}
	return 0, false
}

// takeReserved takes a block for a removal (RV3).
func (h *Heap) takeReserved(size format.ByteCount, class format.Class, last bool) (a format.Addr, ok bool) {
	if class == format.ClassRun {
		n := format.RunExtents(size)
		extent, ok := h.takeCells(n, last)
		if !ok {
			return 0, false
		}
		return h.makeRun(extent, uint64(n)), true
	}
	r := &h.reserved
	if len(r.lists[class]) == 0 {
		extent, ok := h.takeCells(1, last)
		if !ok {
			return 0, false
		}
		r.lists[class] = h.cut(r.lists[class], extent, class)
	}
	list := r.lists[class]
	a = list[len(list)-1]
	r.lists[class] = list[:len(list)-1]
	if invariant.Enabled {
		h.ledger.Took(a, class.BlockSize())
	}
	r.debts[class]++
	r.owed++
	return a, true
}

// borrow takes a block that removals have cut, for an operation that removes nothing. It is
// a last resort before the transaction fails, and works while more than half of the reserve
// is left; the block is a debt as well. So a transaction that replaces a value, or stores
// one after large removals, does not fail because of the path that it copies: the old blocks
// of the path pay the debt.
func (h *Heap) borrow(class format.Class) (a format.Addr, ok bool) {
	if class == format.ClassRun || len(h.reserved.lists[class]) == 0 {
		return 0, false
	}
	cells := h.reserveExtents() - h.emptyCells()
	if format.ByteCount(cells)<<format.ExtentShift+h.reserved.bytes() <= h.ReserveBytes()/2 {
		return 0, false
	}
	return h.takeReserved(0, class, false)
}

// pay gives a free block to the removals if there is a debt in its class, and reports whether it did.
func (h *Heap) pay(a format.Addr, class format.Class) bool {
	r := &h.reserved
	if r.debts[class] == 0 {
		return false
	}
	r.debts[class]--
	r.owed--
	r.lists[class] = append(r.lists[class], a)
	return true
}

// releaseReserve gives the blocks that this process has cut from the reserve to all uses:
// always, if all is set; otherwise only if the cells are full again. It first fills the
// cells with the extents that it has.
func (h *Heap) releaseReserve(all bool) {
	if !all {
		_ = h.fillReserve(true) // cells that it cannot fill stay empty
		h.lowerReserve()
	}
	if h.reserved.owed == 0 && h.reserved.bytes() == 0 || !all && h.emptyCells() > 0 {
		return
	}
	for c, list := range h.reserved.lists {
		for _, a := range list {
			h.addCold(format.Class(c), a)
		}
	}
	h.reserved = reserve{}
}

// lowerReserve takes the extents out of cells that need no longer be full.
func (h *Heap) lowerReserve() {
	w := h.live.Words()
	for i := h.reserveExtents(); i < format.NumReserve; i++ {
		if w.Reserve[i].Load() != 0 {
			h.takeCell(&w.Reserve[i])
		}
	}
}

// takeCell takes the extent out of a cell, if there is one.
func (h *Heap) takeCell(cell *atomic.Uint64) {
	h.live.Words().CellsTaken.Add(1) // RV1
	if extent := cell.Swap(0); extent != 0 {
		h.live.Assure() // no other process has it (L16)
		if invariant.Enabled {
			h.ledger.Unlent(extent, 1)
		}
		h.runs.add(extent, 1)
	}
}

// EmptyReserve takes all extents out of the cells, for the last process that closes (RV6),
// and stops this process from filling cells: otherwise allocating the batches would fill
// them again. The caller has entered the heap.
func (h *Heap) EmptyReserve() {
	h.leaving = true
	w := h.live.Words()
	for i := range w.Reserve {
		if w.Reserve[i].Load() != 0 {
			h.takeCell(&w.Reserve[i])
		}
	}
}

// spareReserve adds the extents in the cells to those that a sweep spares. No process is
// active, so each is where it belongs (RV1). It drops an extent that cannot be free, since
// that is damage.
func (s *Spared) spareReserve(h *Heap) {
	w := h.live.Words()
	first, end := h.first>>format.ExtentShift, h.live.Carved()>>format.ExtentShift
	for i := range w.Reserve {
		extent := w.Reserve[i].Load()
		if extent == 0 {
			continue
		}
		if extent < first || extent >= end || s.has(extent) || h.extentClass(extent) != format.ClassFree {
			w.Reserve[i].CompareAndSwap(extent, 0)
			continue
		}
		s.extents[extent/64] |= 1 << (extent % 64)
	}
}

// Remove says that a removing operation begins or ends; last says that it drops a checkpoint
// (RV4, RV5).
func (t *Txn) Remove(begins, last bool) {
	t.removing, t.last = begins, begins && last
}

// Conclude says that what follows is the commit (RV4).
func (t *Txn) Conclude() { t.removing = t.removing || t.bytes <= 0 }

// mayUseReserve decides RV4 for a block of the size, header and rounding included.
func (t *Txn) mayUseReserve(size format.ByteCount) bool {
	return t.removing || t.leaks || t.bytes+int64(size) <= 0
}

// allocFull finds a block when neither the lists nor the file have one because of err. For a
// removal it takes a block from the reserve. Otherwise it makes room in all possible ways:
// it reclaims blocks that wait for the journal and for newer anchors; if that is not enough,
// a sweep finds the space of dead processes and the space that other processes have set
// aside.
func (t *Txn) allocFull(size format.ByteCount, class format.Class, err error) (format.Addr, error) {
	if !errors.Is(err, mapping.ErrNoSpace) && !errors.Is(err, ErrFull) {
		return 0, err
	}
	h := t.heap
	bytes := class.BlockSize()
	if class == format.ClassRun {
		bytes = format.ByteCount(format.RunExtents(size)) << format.ExtentShift
	}
	reserved := func() (format.Addr, bool) {
		if !t.mayUseReserve(bytes) {
			return 0, false
		}
		return h.takeReserved(size, class, t.last || t.leaks)
	}
	if a, ok := reserved(); ok {
		return a, nil
	}
	h.catchUp()
	if a, err := h.takeBlock(size, class); err == nil {
		return a, nil
	}
	for range sweepTries {
		if h.sweep == nil || !h.sweep() {
			break
		}
		h.adoptAll(format.StackExtents) // in case another process has swept
		if a, err := h.takeBlock(size, class); err == nil {
			return a, nil
		}
	}
	if a, ok := reserved(); ok {
		return a, nil
	}
	if a, ok := h.borrow(class); ok {
		return a, nil
	}
	return 0, err
}

// sweepTries is how often a transaction without space sweeps. The first sweep may be that of
// another process, which may walk an older version; the next one is its own.
const sweepTries = 2

// takeBlock takes a block of a class, or a run.
func (h *Heap) takeBlock(size format.ByteCount, class format.Class) (format.Addr, error) {
	if class == format.ClassRun {
		return h.takeRun(size)
	}
	return h.take(class)
}

// Base returns the state that the transaction started from.
func (t *Txn) Base() format.Addr { return t.base }

// Mark adds all blocks that the transaction has written to a set, including those that it
// has dropped again: no other process owns them until it ends.
func (t *Txn) Mark(m *Marks) {
	for _, a := range t.written {
		if m.heap.extentOf(a) < uint64(len(m.extents)) {
			m.set(a)
		}
	}
}
