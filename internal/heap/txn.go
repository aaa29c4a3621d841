package heap

import (
	"unsafe"

	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/invariant"
)

// Txn is the heap's part of one transaction: the blocks that it wrote and freed. The
// transactions of a process reuse it.
type Txn struct {
	Reader
	heap    *Heap
	base    format.Addr    // the state from which it started
	version format.Version // the version that it will publish
	logged  format.Version // when it began, the journal had all versions up to this one
	bytes   int64          // how many bytes of reachable blocks it adds

	stamp    uint32 // the stamp of blocks that it writes now
	editable uint32 // blocks with an older stamp are frozen
	frozen   int    // how many walks are in progress
	borrowed bool   // the program may have pointers into any entry, value or item
	leaks    bool   // it does not list the blocks of its base that it frees
	left     uint64 // bytes of its base that it leaves to a sweep: see LeaveToSweep
	removing bool   // a removing operation is in progress: see Remove
	last     bool   // and it may take the last of the reserve

	written  []format.Addr
	freed    []freed
	unlogged []freed                          // freed as well, but the log of this or an earlier version may refer to them
	spare    [format.NumClasses][]format.Addr // by class: blocks written and dropped again; they are still in written
	spares   int                              // how many blocks are in spare
	dropped  int                              // how many blocks in written were dropped again, spare ones included
	lookedAt []format.Addr                    // dropped as well, but a walk or a borrowed pointer may look at them until the end
	unused   []space                          // since Seal: written blocks that the version does not use (I9)
	steps    uint64                           // how many blocks were allocated and freed: see Steps

	restored format.Version // newest version that the base pins for a restore, for the ledger; 0: none
	log      log
}

// space is the space of a block.
type space struct {
	addr format.Addr
	size format.ByteCount
}

// Begin starts a transaction on the base state. The caller has entered the heap.
func (t *Txn) Begin(h *Heap, base format.Addr, version format.Version, r Reader) {
	t.Reader = r.Of(base)
	t.Reader.own = version
	t.heap, t.base, t.version, t.bytes = h, base, version, 0
	t.logged = format.Version(h.live.Words().Written.Load())
	t.stamp, t.editable, t.frozen, t.borrowed = 1, 0, 0, false
	t.leaks, t.left = false, 0
	t.removing, t.last = false, false
	t.written, t.freed, t.unlogged, t.unused = t.written[:0], t.freed[:0], t.unlogged[:0], t.unused[:0]
	if invariant.Enabled {
		t.restored = h.restoredIn(base)
	}
	t.log.begin()
	invariant.Assert(t.spares == 0, "spare blocks are given back at the end of a transaction")
}

// Version returns the version that the transaction will publish.
func (t *Txn) Version() format.Version { return t.version }

// Changed reports whether the transaction has written anything.
func (t *Txn) Changed() bool {
	return len(t.written) > 0 || len(t.freed) > 0 || len(t.unlogged) > 0
}

// Steps returns a counter that advances whenever a block is allocated or freed, hence with
// any change.
func (t *Txn) Steps() uint64 { return t.steps }

// Bytes returns by how many bytes the transaction makes the reachable blocks grow.
func (t *Txn) Bytes() int64 { return t.bytes }

// BorrowAll says that the program got pointers into unknown entries, values or items: from
// now on the transaction reuses no such block before it ends.
func (t *Txn) BorrowAll() { t.borrowed = true }

// Borrow says that the program got a pointer into the block: the transaction does not reuse
// the block before it ends. It never reuses a block that it did not write itself.
func (t *Txn) Borrow(a format.Addr) {
	if t.heap.header(a).Birth() == t.version {
		t.heap.writable(a).Sum |= lent
	}
}

// Marks of blocks of a transaction, beside the stamp.
const (
	lent  = 1 << 31 // the block is borrowed
	fresh = 1 << 30 // it has a key that was not there when the transaction began to store it: see LogSet
	marks = lent | fresh

	maxStamp = fresh - 1 // see restamp
)

// Freeze makes everything written so far unchangeable until the matching Thaw, for a walk
// over it.
func (t *Txn) Freeze() {
	if t.stamp == maxStamp {
		t.restamp()
	}
	t.frozen++
	t.stamp++
	t.editable = t.stamp
}

// restamp starts the stamps again, which run out after very many walks: a larger stamp would
// be a mark. It gives all written blocks the first stamp: for a walk that freezes all of
// them it does not matter which is older.
func (t *Txn) restamp() {
	for _, a := range t.written {
		if hd := t.heap.writable(a); hd.Sum&^marks != 0 { // otherwise it was dropped
			hd.Sum = hd.Sum&marks | 1
		}
	}
	t.stamp = 1
}

// Thaw ends a Freeze.
func (t *Txn) Thaw() {
	if t.frozen--; t.frozen == 0 {
		t.editable = 0
	}
}

// Alloc writes the header of a new block and returns its address. Its payload is
// written through Payload before the transaction ends.
func (t *Txn) Alloc(kind format.Kind, size format.ByteCount) (format.Addr, error) {
	class := format.ClassFor(size)
	var a format.Addr
	var err error
	switch {
	case size > format.MaxPayload:
		return 0, ErrTooLarge
	case class == format.ClassRun:
		a, err = t.heap.takeRun(size)
	case t.spares > 0 && len(t.spare[class]) > 0:
		list := t.spare[class]
		a = list[len(list)-1]
		t.spare[class] = list[:len(list)-1]
		t.spares--
		t.dropped--
		t.writeHeader(a, kind, size, class)
		return a, nil
	default:
		a, err = t.heap.take(class)
	}
	if err != nil {
		if a, err = t.allocFull(size, class, err); err != nil {
			return 0, err
		}
	}
	t.written = append(t.written, a)
	t.writeHeader(a, kind, size, class)
	return a, nil
}

// writeHeader fills a header; the place of the checksum holds the stamp.
func (t *Txn) writeHeader(a format.Addr, kind format.Kind, size format.ByteCount, class format.Class) {
	t.steps++
	hd := t.heap.writable(a)
	hd.Sum, hd.Size = t.stamp, uint32(size)
	hd.Meta = format.MakeMeta(t.version, kind, class)
	t.bytes += int64(blockSize(hd))
}

// Payload returns the payload of a block of this transaction, writable.
func (t *Txn) Payload(a format.Addr) unsafe.Pointer {
	return at(uintptr(a) + t.heap.delta + format.HeaderSize)
}

// BlockOf returns the block whose payload Payload returned.
func (t *Txn) BlockOf(payload unsafe.Pointer) format.Addr {
	return format.Addr(uintptr(payload) - t.heap.delta - format.HeaderSize)
}

// Delta returns the difference from an address to the address of the same byte in the write view.
func (t *Txn) Delta() uintptr { return t.heap.delta }

// Editable reports whether this transaction wrote the block and no walk is on it: then the
// caller changes it in place, and otherwise copies it. No block of the base has the version
// of this transaction, since a base is older.
func (t *Txn) Editable(a format.Addr) bool {
	hd := t.heap.header(a)
	return hd.Birth() == t.version && hd.Sum&^marks >= t.editable
}

// Copy copies a block of words to a new block of the same kind with size payload bytes, and
// drops the old one. The additional bytes are zero.
func (t *Txn) Copy(a format.Addr, kind format.Kind, size format.ByteCount) (format.Addr, error) {
	if !t.heap.sound(a) {
		return 0, t.heap.damage(a, "the header of a %s block has a wrong size or class", kind)
	}
	b, err := t.Alloc(kind, size)
	if err != nil {
		return 0, err
	}
	hd := t.heap.header(a)
	from := unsafe.Slice((*byte)(at(uintptr(a)+format.HeaderSize)), hd.Size)
	to := unsafe.Slice((*byte)(t.Payload(b)), size)
	clear(to[copy(to, from):])
	t.Free(a)
	return b, nil
}

// Free drops a block. A block of the base is pending once the transaction commits. A block
// of this transaction is unknown to other processes: the transaction reuses it at once,
// unless a walk or a borrowed pointer may still look at it; then the block stays unchanged
// until the transaction ends. A block with a damaged header leaks.
func (t *Txn) Free(a format.Addr) {
	t.steps++
	hd := t.heap.header(a)
	birth := hd.Birth()
	if birth != t.version && !t.heap.sound(a) {
		return
	}
	size := blockSize(hd)
	t.bytes -= int64(size)
	if invariant.Enabled {
		t.heap.live.Record().AssertAt(birth != t.version || hd.Kind().Valid(), uint64(a), "a block is freed once") // one of the base may be damaged
	}
	if birth != t.version {
		if t.leaks {
			return
		}
		if f := (freed{a, birth, t.version, size}); logged(hd.Kind()) && (!hd.Kind().Carried() || birth > t.logged) {
			t.unlogged = append(t.unlogged, f)
		} else {
			t.freed = append(t.freed, f)
		}
		return
	}
	if hd.Kind().Carried() && t.log.on {
		t.log.drop(t, a)
		return
	}
	if t.frozen > 0 || hd.Kind().Carried() && (t.borrowed || hd.Sum&lent != 0) {
		t.retire(a)
		return
	}
	t.dropBlock(a, size)
}

// retire takes a block of this transaction out of use at which a walk may look: the block
// stays unchanged until the end. It loses its stamp, and gets no checksum.
func (t *Txn) retire(a format.Addr) {
	t.heap.writable(a).Sum = 0
	t.lookedAt = append(t.lookedAt, a)
}

// dropBlock makes a block of this transaction free for use within it.
func (t *Txn) dropBlock(a format.Addr, size format.ByteCount) {
	hd := t.heap.writable(a)
	t.dropped++
	hd.Meta = format.MakeMeta(t.version, format.KindNone, hd.Class())
	if size <= format.MaxSmall {
		t.spare[hd.Class()] = append(t.spare[hd.Class()], a)
		t.spares++
	}
}

// LeaveToSweep drops a block like Free, but leaves a block of the base to the sweep that the
// transaction requests when it commits. It is for the very many blocks of a structure that
// is dropped as a whole, whose list would be long.
func (t *Txn) LeaveToSweep(a format.Addr) {
	t.steps++
	hd := t.heap.header(a)
	if hd.Birth() == t.version {
		t.Free(a)
	} else if t.heap.sound(a) {
		size := blockSize(hd)
		t.bytes -= int64(size)
		t.left += uint64(size)
	}
}

// LeaveBytesToSweep is LeaveToSweep for blocks of the base that the caller does not visit:
// those of a structure that is dropped as a whole. size is their total.
func (t *Txn) LeaveBytesToSweep(size format.ByteCount) {
	t.bytes -= int64(size)
	t.left += uint64(size)
}

// Seal computes the checksums of all blocks that the transaction wrote, and lists the blocks
// that its version does not use. The transaction writes and drops nothing afterwards: the
// next step is the swap, and from then on it no longer looks at the blocks of the version
// (I9).
func (t *Txn) Seal() {
	unused := 0
	for _, a := range t.written {
		switch hd := t.heap.writable(a); {
		case hd.Kind() == format.KindNone:
			t.unused = append(t.unused, space{a, blockSize(hd)})
			unused++
		case hd.Sum != 0:
			hd.Sum = t.heap.sum(a, hd)
			if invariant.Enabled {
				t.heap.ledger.Sealed(a, blockSize(hd))
			}
		}
	}
	invariant.Assert(unused == t.dropped, "what was dropped is found when the transaction is sealed")
	for _, a := range t.lookedAt {
		t.unused = append(t.unused, space{a, blockSize(t.heap.header(a))})
	}
}

// sum computes the checksum of the block at a, whose header is seen in either view.
func (h *Heap) sum(a format.Addr, hd *format.BlockHeader) uint32 {
	return format.BlockSum(unsafe.Slice((*byte)(unsafe.Pointer(hd)), format.HeaderSize+int(hd.Size)), uint64(a)-h.base)
}

// Committed ends the transaction after its version was published. The blocks that it freed
// are pending from now on, and not before: if the base stayed current, it would need them.
//
// Since the swap this process may have stood still for any time, and other processes may
// have done anything. Its notes from before the swap are still right, and Committed relies
// on nothing else (I9).
func (t *Txn) Committed() {
	h := t.heap
	for _, f := range t.freed {
		h.waiting += f.size
	}
	for _, f := range t.unlogged {
		h.waiting += f.size
	}
	if invariant.Enabled {
		t.noteFreed()
	}
	if t.left > 0 {
		h.live.Words().Leaked.Add(t.left)
		h.live.Words().SweepWish.Store(1)
	}
	h.pending = append(h.pending, t.freed...)
	h.logged = append(h.logged, t.unlogged...)
	for _, b := range t.unused {
		if invariant.Enabled {
			h.ledger.Unused(b.addr, b.size)
		}
		h.put(b.addr, b.size, true)
	}
	t.end()
	h.reclaimSome()
}

// Aborted ends the transaction without a trace: no other process has seen its blocks, so
// this process still owns all of them, whatever happened meanwhile (I9).
func (t *Txn) Aborted() {
	for _, a := range t.written {
		size := blockSize(t.heap.writable(a))
		if invariant.Enabled {
			t.heap.ledger.Aborted(a, size)
		}
		t.heap.put(a, size, true)
	}
	t.end()
}

// end empties the lists of the transaction.
func (t *Txn) end() {
	if t.spares > 0 {
		for c := range t.spare {
			t.spare[c] = t.spare[c][:0]
		}
		t.spares = 0
	}
	t.dropped = 0
	t.written, t.freed, t.unlogged, t.lookedAt, t.unused = shrink(t.written), shrink(t.freed), shrink(t.unlogged), shrink(t.lookedAt), shrink(t.unused)
	t.log.ops = shrink(t.log.ops)
}

// shrink empties a list, and releases its memory if it has become huge.
func shrink[T any](list []T) []T {
	if cap(list) > 1<<16 {
		return nil
	}
	return list[:0]
}
