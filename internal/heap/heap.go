// Package heap allocates and frees the blocks of a space.
//
// Terms: a block is a header and a payload; an extent is 64 KiB of blocks of one
// class, or part of a run, which is one block that fills whole extents. A process
// reserves extents for itself and cuts them into blocks, so that processes never meet
// over a free block. A block that a transaction frees is pending until no protected
// version can see it; a version that can holds it. A batch is a block that lists free
// blocks or extents, by which processes pass them on (format.Batch).
//
// Invariants:
//
//	I1  A block never changes after its transaction commits, until it is reclaimed.
//	I2  A block (birth B, freed by version F) is reclaimed only if no protected
//	    version X has B <= X < F. Order: load the current version C, scan, then
//	    reclaim only blocks with F <= C. (Heap.Reclaim, live.Protected)
//	    Besides, a block that a version's log refers to is reclaimed only if that
//	    version is in the journal (format.Live.Written): until then the writer of the
//	    journal reads the block, although no protected version may reach it. The
//	    version of their birth refers to an entry, a value and an item
//	    (format.Kind.Carried), and F to an entry that it removed; a state, a list of
//	    changes and a descriptor wait for F in any case.
//	I3  The commit point is one compare-and-swap of one word. (live.Publish)
//	I4  Free space is a cache of reachability: the lists in this package are in
//	    ordinary memory, a crash loses them, and a sweep finds it all again.
//	I5  A pointer in a payload points inside its own block, or is a link of a
//	    tree to a block of the expected kind.
//	I6  A transaction, or a process, writes only blocks that it owns, and only through
//	    the write view.
//	I7  A process uses its lists only between Enter and Leave. Enter marks the
//	    process active and then looks at the epoch; a sweep raises the epoch and
//	    then looks for active processes. So either the sweep sees the process and
//	    gives up, or the process sees the epoch and forgets what lies below the
//	    floor: the two never both believe that they own a free block.
//	I8  An extent that may have no space in the file is free, and the table of
//	    extents says so (ClassHole) from before the space is given back until
//	    after it was allocated again. (holes.go)
//	I9  A process that has swapped the current state may stand still right after, for any
//	    time. Then its version is public: other processes may replace all its blocks, reclaim
//	    them (its slot holds the base, and the blocks are younger), and own them, before it
//	    makes another step. So after the swap it reads no header of a block that it
//	    published, and takes none into its lists. Its other notes from before the swap stay
//	    right while it is active, since no sweep begins meanwhile (I7). No other process can
//	    find a block that it wrote and that its version does not use. And a block of the base
//	    that it freed is in no other list, since only one version frees a block. The only
//	    exception is a restore, after which the version stays pinned until a sweep has ended
//	    (C2). If the swap fails nothing was published, and it still owns all that it wrote.
//	    (Txn.Seal, Txn.Committed, Txn.Aborted)
//
// Start reading at Txn, then Heap.refill and Heap.Reclaim.
package heap

import (
	"errors"
	"fmt"
	"sync/atomic"
	"unsafe"

	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/invariant"
	"github.com/everheap/everheap/internal/ledger"
	"github.com/everheap/everheap/internal/live"
	"github.com/everheap/everheap/internal/mapping"
)

// ErrFull: the space has used up its window.
var ErrFull = errors.New("the space has reached its maximum size")

// ErrTooLarge: a value does not fit into a block.
var ErrTooLarge = errors.New("the value is larger than 4 GiB")

// Heap is this process's part of the free space of a space. One goroutine at a time uses it,
// the one that has the process's queue; any goroutine may use the methods of Reader.
type Heap struct {
	region *mapping.Region
	live   *live.Live
	base   uint64 // base of the window
	window uint64 // size of the window in bytes
	first  uint64 // offset of the first extent of blocks
	delta  uintptr

	epoch      uint64
	ledger     ledger.Ledger // of owners, in builds with the tag
	lists      [format.NumClasses]classList
	groups     [][]format.Addr // by extent: its free blocks that are not hot
	runs       runList
	holes      runList    // free extents that must be allocated before use (I8)
	aside      runList    // extents that are about to become holes
	avoided    *ExtentSet // extents whose blocks are left to the next sweep: see Avoid; nil: none
	pending    []freed
	ripe       []freed // blocks of the last scan that are not settled yet
	logged     []freed // pending blocks to which a log refers, in the order of their versions
	held       map[format.Version]*freedList
	released   freedList        // blocks whose versions are no longer protected: to be settled
	cold       format.ByteCount // bytes in the cold groups of all lists
	waiting    format.ByteCount // bytes in pending and held
	reserved   reserve
	leaving    bool             // the last user closes the space: the reserve stays empty (RV6)
	onLowSpace func()           // see SetLowSpace
	sweep      func() bool      // see SetLowSpace
	pinned     atomic.Uint64    // bytes freed and not reusable, as of the last Reclaim
	fresh      []format.Version // by extent: newest anchor when it was last populated, plus 1
	anchored   format.Version   // newest confirmed anchor, as of the last Reclaim
	ahead      ahead
	prot       live.Protected
}

// freed is a pending block.
type freed struct {
	addr  format.Addr
	birth format.Version
	freed format.Version
	size  format.ByteCount // of the block, header and rounding included
}

// New returns the heap of a mapped space. It owns nothing yet.
func New(region *mapping.Region, lv *live.Live) *Heap {
	h := &Heap{
		region: region, live: lv,
		base: region.Base(), window: region.Size(), first: format.FirstExtent(region.Size()),
		delta: region.Delta(),
		epoch: lv.Words().Epoch.Load(),
		held:  map[format.Version]*freedList{},
		ahead: ahead{wish: make(chan struct{}, 1), ready: map[uint64]format.Version{}},
	}
	if invariant.Enabled {
		h.ledger.Init(lv, h.base, h.window, h.first, &h.epoch, format.ClassFor(carrierBytes).BlockSize())
	}
	return h
}

// at turns an address into a pointer. It is sound because windows are not Go memory: the
// garbage collector neither moves nor frees anything there, and the window of a space stays
// reserved for the life of the process.
func at(a uintptr) unsafe.Pointer { return unsafe.Add(unsafe.Pointer(nil), a) }

// header returns the header of a block in the read-only view.
func (h *Heap) header(a format.Addr) *format.BlockHeader {
	return (*format.BlockHeader)(at(uintptr(a)))
}

// writable returns the header of a block in the write view (I6).
func (h *Heap) writable(a format.Addr) *format.BlockHeader {
	return (*format.BlockHeader)(at(uintptr(a) + h.delta))
}

// payload returns the bytes behind a header in the write view.
func (h *Heap) payload(a format.Addr, n format.ByteCount) []byte {
	return unsafe.Slice((*byte)(at(uintptr(a)+h.delta+format.HeaderSize)), n)
}

// extentClass reads the extent table. The class is there and not in the extent: so blocks
// get whole extents, a run has no gap for a header, and no byte of user data can look like
// the header of an extent if a damaged link points into a large value.
func (h *Heap) extentClass(extent uint64) format.Class {
	return *(*format.Class)(at(uintptr(h.base + format.TableOffset + extent)))
}

// Classes returns the classes of the extents of blocks that are in use, and the number of the
// first one.
func (h *Heap) Classes() (first uint64, classes []format.Class) {
	first = h.first >> format.ExtentShift
	for extent := first; extent < h.live.Carved()>>format.ExtentShift; extent++ {
		classes = append(classes, h.extentClass(extent))
	}
	return first, classes
}

// setExtentClass writes the extent table. Only the owner of the extent may call it.
func (h *Heap) setExtentClass(extent uint64, c format.Class) {
	*(*format.Class)(at(uintptr(h.base+format.TableOffset+extent) + h.delta)) = c
}

// extentOf returns the number of the extent that an address lies in.
func (h *Heap) extentOf(a format.Addr) uint64 { return (uint64(a) - h.base) >> format.ExtentShift }

// extentAddr returns the address of an extent.
func (h *Heap) extentAddr(extent uint64) format.Addr {
	return format.Addr(h.base + extent<<format.ExtentShift)
}

// blockSize returns the bytes that a block takes, from its header.
func blockSize(hd *format.BlockHeader) format.ByteCount {
	if c := hd.Class(); c != format.ClassRun {
		return c.BlockSize()
	}
	return format.ByteCount(format.RunExtents(format.ByteCount(hd.Size))) << format.ExtentShift
}

// BlockBytes returns the bytes that a block takes, header and rounding included.
func (h *Heap) BlockBytes(a format.Addr) format.ByteCount { return blockSize(h.header(a)) }

// sound reports whether the header of a block fits the place where it lies. Only a damaged
// header does not: relying on it would free other blocks.
func (h *Heap) sound(a format.Addr) bool {
	hd := h.header(a)
	class := hd.Class()
	if !hd.Kind().Valid() || class != h.extentClass(h.extentOf(a)) || class != format.ClassFor(format.ByteCount(hd.Size)) {
		return false
	}
	within := uint64(a) % format.ExtentSize
	if class == format.ClassRun {
		return within == 0 && uint64(a)-h.base+uint64(blockSize(hd)) <= h.live.Words().Carved.Load()
	}
	return class.Begins(within)
}

// VersionOf returns the version of the state block at a, or 0 if there is none. The block
// may change meanwhile: the caller must accept any value.
func (h *Heap) VersionOf(a format.Addr) format.Version {
	if off := uint64(a) - h.base; off < h.first || off >= h.live.Words().Carved.Load() || a&15 != 0 {
		return 0
	}
	hd := h.header(a)
	if hd.Kind() != format.KindState || hd.Size != uint32(unsafe.Sizeof(format.State{})) {
		return 0
	}
	return format.Version((*format.State)(at(uintptr(a) + format.HeaderSize)).Version)
}

// Pins calls add with the checkpoints that the state at a lists, if there is a state. The
// block may change meanwhile: the caller must accept any values.
func (h *Heap) Pins(a format.Addr, add func(state format.Addr, version format.Version)) {
	if h.VersionOf(a) == 0 {
		return
	}
	list := format.Addr((*format.State)(at(uintptr(a) + format.HeaderSize)).Pins)
	carved := h.live.Carved() // of words that are lost it may be beyond everything (L16)
	off := uint64(list) - h.base
	if off < h.first || off >= carved || list&15 != 0 {
		return
	}
	hd := h.header(list)
	size := uint64(hd.Size)
	if hd.Kind() != format.KindPins || size < uint64(format.PinsHeadSize) || size > uint64(format.PinsHeadSize+format.MaxPins*format.PinSize) ||
		off+format.HeaderSize+size > carved {
		return
	}
	for i := range (size - uint64(format.PinsHeadSize)) / uint64(format.PinSize) {
		p := (*format.Pin)(at(uintptr(list) + format.HeaderSize + uintptr(format.PinsHeadSize) + uintptr(i)*uintptr(format.PinSize)))
		add(format.Addr(p.State), format.Version(p.Version))
	}
}

// Enter begins a section in which the process uses its lists (I7).
func (h *Heap) Enter() {
	if invariant.Enabled {
		h.ledger.Open()
	}
	h.live.Entry().Active.Store(1)
	if epoch := h.live.Words().Epoch.Load(); epoch != h.epoch {
		h.live.Assure() // otherwise it would keep space that a sweep has given to others (L16)
		h.forget(epoch)
	}
}

// Leave ends the section that Enter began.
func (h *Heap) Leave() { h.live.LeaveLists() }

// forget drops everything below the floor of a sweep that has begun: the sweep will find it.
func (h *Heap) forget(epoch uint64) {
	floor := format.Addr(h.base + h.live.Words().SweepFloor.Load())
	h.epoch = epoch
	if invariant.Enabled {
		h.ledger.Forgets(floor)
	}
	h.cold, h.waiting = 0, 0
	h.reserved.forget(floor)
	for c := range h.lists {
		h.lists[c].forget(floor)
	}
	h.forgetGroups(floor)
	for _, list := range []*runList{&h.runs, &h.holes, &h.aside} {
		list.forget(h.extentOf(floor))
	}
	keep := func(list []freed) []freed {
		kept := list[:0]
		for _, f := range list {
			if f.addr >= floor {
				kept = append(kept, f)
				h.waiting += f.size
			}
		}
		return kept
	}
	h.pending = keep(h.pending)
	h.ripe = keep(h.ripe)
	h.logged = keep(h.logged)
	for _, list := range h.held {
		for i, chunk := range list.chunks {
			list.chunks[i] = keep(chunk)
		}
	}
	for i, chunk := range h.released.chunks {
		h.released.chunks[i] = keep(chunk)
	}
}

// SetLowSpace sets the low-space hooks, which the heap calls within a transaction before it
// fails for lack of space. onLowSpace brings the journal up to date and drops old anchors,
// so that blocks which wait for that can be reused. sweep looks for space that no process
// owns, if there may be some, and reports whether it did. Neither gets the transaction as an
// argument: it would then escape, and Go would allocate it.
func (h *Heap) SetLowSpace(onLowSpace func(), sweep func() bool) {
	h.onLowSpace, h.sweep = onLowSpace, sweep
}

// logged reports whether the log of a version may refer to blocks of the kind.
func logged(k format.Kind) bool {
	return k == format.KindState || k == format.KindType || k == format.KindOps || k.Carried()
}

// Stats has the sizes of the space that a process has reserved.
type Stats struct {
	Free    format.ByteCount // in its lists
	Waiting format.ByteCount // freed, and visible to a protected version
}

// Stats returns what this process has reserved.
func (h *Heap) Stats() Stats {
	return Stats{Waiting: h.waiting, Free: h.freeBytes()}
}

// Pinned returns how many bytes this process had freed and could not reuse when it last
// tried. Unlike the other methods, any goroutine may call it at any time.
func (h *Heap) Pinned() format.ByteCount { return format.ByteCount(h.pinned.Load()) }

// freeBytes returns the bytes in the lists.
func (h *Heap) freeBytes() format.ByteCount {
	n := h.cold + format.ByteCount(h.runs.extents)<<format.ExtentShift + h.reserved.bytes()
	for c := range h.lists {
		n += format.ByteCount(len(h.lists[c].hot)) * format.Class(c).BlockSize()
	}
	return n
}

// damage returns the error for a damaged block.
func (h *Heap) damage(a format.Addr, what string, args ...any) error {
	return &format.DamageError{File: "heap", Offset: int64(uint64(a) - h.base), What: fmt.Sprintf(what, args...)}
}
