package live

import (
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/goroutine"
)

const (
	maxLocalSlots = 1024 // how many slots one process may use
	sharedSlots   = 64   // how many of these are kept for readers that share a slot
	slotHints     = 64
)

// localSlots has the reader slots that belong to this process. A reader takes one of them by
// one compare-and-swap. It usually takes the one that its goroutine had before, so that
// goroutines do not write to each other's cache lines. The process searches the shared table
// only when it needs more slots than ever before.
type localSlots struct {
	local [maxLocalSlots]localSlot
	hints [slotHints]atomic.Uint32 // by goroutine: the local slot that it had last
	// claimed is table.n for readers without the mutex.
	claimed atomic.Int64
	table   struct {
		sync.Mutex
		n    int  // how many slots are claimed
		gone bool // the membership has ended, and the words may be unmapped
	}
	scan struct {
		sync.Mutex
		slot *format.LiveSlot // only for Protected (L12); nil: this process has not joined
	}
	shared struct {
		sync.Mutex
		held []*Hold // holds that several readers share, when slots run out
		free []int   // slots for sharing that hold no version
	}
}

// localSlot is a local slot, in its own cache line.
type localSlot struct {
	words *format.LiveSlot
	used  atomic.Uint32 // 1: a reader has it, or it is a slot for sharing
	_     [52]byte
}

// Hold is a reader's claim on a version: until Release the heap reclaims no block that its
// state reaches.
type Hold struct {
	State format.Addr
	index int32 // of the local slot, plus 1; 0: nothing is held
	refs  int32 // under shared.Mutex; 0: not shared
}

// ofGuest is the index in a guest's Hold.
const ofGuest = -1

// Held reports whether Release has something to release.
func (h *Hold) Held() bool { return h.index != 0 }

// HoldCurrent claims the newest version. It takes no lock and makes no system call, unless
// this process holds more versions at once than ever before.
func (v *Live) HoldCurrent() (h Hold) {
	whole := false
	defer func() {
		if !whole && h.index > 0 && h.refs == 0 { // it panics, since the words are lost
			v.leaveSlot(int(h.index) - 1)
		}
	}()
	v.HoldIn(&h)
	whole = true
	return h
}

// HoldIn is HoldCurrent into an existing Hold: if it panics, since the words are lost, the
// Hold says what to release.
func (v *Live) HoldIn(h *Hold) {
	i := v.takeSlot()
	if i < 0 {
		*h, _ = v.shareHold(nil)
		return
	}
	h.index, h.refs = int32(i)+1, 0
	h.State = v.fillSlot(i)
}

// HoldUnless is HoldIn, unless closed is set: then it reports false. It first takes the
// slot, in this process's own memory, and then looks at closed. The closer first sets closed
// and then calls Idle. So either the reader sees that the space is closed, or the closer
// sees that the slot is taken and keeps the words mapped.
func (v *Live) HoldUnless(h *Hold, closed *atomic.Bool) (ok bool) {
	if closed.Load() {
		return false
	}
	i := v.takeSlot()
	if closed.Load() {
		if i >= 0 {
			v.leaveSlot(i)
		}
		return false
	}
	if i < 0 {
		*h, ok = v.shareHold(closed)
		return ok
	}
	h.index, h.refs = int32(i)+1, 0 // first: see HoldIn
	h.State = v.fillSlot(i)
	return true
}

// leaveSlot makes a local slot free to be taken.
func (v *Live) leaveSlot(i int) { clear32(&v.slots.local[i].used) }

// Idle reports whether this process holds no version.
func (v *Live) Idle() bool {
	if v.guest != nil {
		return v.guest.idle()
	}
	v.slots.shared.Lock()
	defer v.slots.shared.Unlock()
	v.slots.table.Lock()
	defer v.slots.table.Unlock()
	n := len(v.slots.shared.free)
	for i := range v.slots.table.n {
		n += 1 - int(v.slots.local[i].used.Load())
	}
	return n == v.slots.table.n
}

// fillSlot claims the newest state in slot i and validates it (L4).
func (v *Live) fillSlot(i int) format.Addr { return v.validate(v.slots.local[i].words) }

// validate is fillSlot for any slot of this process.
func (v *Live) validate(slot *format.LiveSlot) format.Addr {
	if now := uint64(v.clock.Load()); slot.Since.Load() != now {
		slot.Since.Store(now)
	}
	for {
		state := v.words.Current.Load()
		slot.State.Store(state)
		if v.words.Current.Load() == state {
			if !v.signed() {
				v.missing()
			}
			return format.Addr(state)
		}
	}
}

// Release releases the claim, if there is one, even if it panics since the words are lost.
func (v *Live) Release(h *Hold) {
	done := false
	defer func() {
		if !done && h.index > 0 {
			v.leaveSlot(int(h.index) - 1)
			h.index = 0
		}
	}()
	v.TryRelease(h)
	done = true
}

// TryRelease is Release for a caller that calls Release if it panics.
func (v *Live) TryRelease(h *Hold) {
	i := int(h.index) - 1
	if i < 0 || h.refs != 0 {
		v.releaseShared(h)
		return
	}
	clear64(&v.slots.local[i].words.State)
	h.index = 0
	v.leaveSlot(i)
}

// takeSlot takes an idle slot of this process. If there is none it claims another slot of
// the shared table; -1 if that has none left.
func (v *Live) takeSlot() int {
	hint := &v.slots.hints[slotHint(goroutine.ID())]
	n, last := int(v.slots.claimed.Load()), int(hint.Load())
	if last < n && v.slots.local[last].take() {
		return last
	}
	for k := range n { // the next ones first: if many slots are held, those before the hint are
		if i := (last + 1 + k) % n; v.slots.local[i].take() {
			hint.Store(uint32(i))
			return i
		}
	}
	i := v.claimSlot(maxLocalSlots - sharedSlots)
	if i >= 0 {
		hint.Store(uint32(i))
	}
	return i
}

// take takes the slot, if no reader has it.
func (s *localSlot) take() bool { return s.used.Load() == 0 && s.used.CompareAndSwap(0, 1) }

// slotHint returns the index of a goroutine's hint.
func slotHint(goroutine uintptr) uint64 {
	return uint64(goroutine) * 0x9e3779b97f4a7c15 >> 32 % slotHints
}

// claimSlot claims a free slot of the shared table for this process, which may have at most
// limit slots.
func (v *Live) claimSlot(limit int) int {
	v.slots.table.Lock()
	defer v.slots.table.Unlock()
	n := v.slots.table.n
	if n >= limit || v.slots.table.gone {
		return -1
	}
	slot := v.claimAny()
	if slot == nil {
		return -1
	}
	v.slots.local[n].words = slot
	v.slots.local[n].used.Store(1)
	v.slots.table.n++
	v.slots.claimed.Store(int64(v.slots.table.n))
	return n
}

// claimAny claims a free slot of the shared table; nil if there is none.
func (v *Live) claimAny() *format.LiveSlot {
	for i := range v.words.Slots {
		slot := &v.words.Slots[i]
		if slot.Owner.Load() != 0 {
			continue
		}
		raise(&v.words.SlotsUsed, uint64(i)+1) // first: cleaning up looks no further
		if !slot.Owner.CompareAndSwap(0, uint64(v.incarnation)) {
			continue
		}
		slot.State.Store(0) // a dead owner's state, which protects nothing
		return slot
	}
	return nil
}

// shareHold claims the newest version together with other readers of this process that hold
// it, when there are no slots left; ok is false if closed is set.
func (v *Live) shareHold(closed *atomic.Bool) (h Hold, ok bool) {
	if v.guest != nil {
		return v.guest.hold(v, closed)
	}
	for {
		h, ok = v.tryShare(closed)
		if ok || closed != nil && closed.Load() {
			return h, ok
		}
		runtime.Gosched() // this process holds as many versions as it can, or the table has no slot left
	}
}

// tryShare is shareHold, once.
func (v *Live) tryShare(closed *atomic.Bool) (h Hold, ok bool) {
	v.slots.shared.Lock()
	defer v.slots.shared.Unlock()
	if closed != nil && closed.Load() { // Idle does not see this reader before it holds the mutex
		return Hold{}, false
	}
	current := v.Current()
	for _, h := range v.slots.shared.held {
		if h.State == current && h.refs > 0 { // the version is held, so its block was not reused: it is the same version
			h.refs++
			return Hold{State: h.State, index: h.index, refs: 1}, true
		}
	}
	i := v.sharedSlot()
	if i < 0 {
		return Hold{}, false
	}
	defer func() {
		if !ok { // it panics, since the words are lost
			v.slots.shared.free = append(v.slots.shared.free, i)
		}
	}()
	h = Hold{State: v.fillSlot(i), index: int32(i) + 1, refs: 1}
	v.slots.shared.held = append(v.slots.shared.held, &Hold{State: h.State, index: int32(i) + 1, refs: 1})
	return h, true
}

// sharedSlot takes a slot for sharing; -1 if there is none. The mutex is held.
func (v *Live) sharedSlot() int {
	if last := len(v.slots.shared.free) - 1; last >= 0 {
		i := v.slots.shared.free[last]
		v.slots.shared.free = v.slots.shared.free[:last]
		return i
	}
	return v.claimSlot(maxLocalSlots)
}

// releaseShared ends one reader's part of a shared claim.
func (v *Live) releaseShared(h *Hold) {
	index := h.index
	h.index = 0
	switch {
	case index == 0:
		return
	case v.guest != nil:
		v.guest.release(v, h.State)
		return
	}
	v.slots.shared.Lock()
	defer v.slots.shared.Unlock()
	for i, s := range v.slots.shared.held {
		if s.index != index {
			continue
		}
		if s.refs--; s.refs == 0 {
			v.slots.shared.held = slices.Delete(v.slots.shared.held, i, i+1)
			v.slots.shared.free = append(v.slots.shared.free, int(index)-1) // no reader takes it before the mutex is free
			v.slots.local[index-1].words.State.Store(0)
		}
		return
	}
}

// freeSlots returns this process's slots to the shared table.
func (v *Live) freeSlots() {
	v.slots.table.Lock()
	defer v.slots.table.Unlock()
	v.slots.table.gone = true
	for i := range v.slots.table.n {
		slot := v.slots.local[i].words
		slot.State.Store(0)
		slot.Owner.CompareAndSwap(uint64(v.incarnation), 0)
	}
	if slot := v.slots.scan.slot; slot != nil {
		slot.State.Store(0)
		slot.Owner.CompareAndSwap(uint64(v.incarnation), 0)
	}
}

// Reader is a claim on a version, for display.
type Reader struct {
	Owner format.Incarnation
	State format.Addr
	Since time.Time
}

// Readers lists the claims in the shared table, this process's included.
func (v *Live) Readers() []Reader {
	var list []Reader
	for i := range min(v.words.SlotsUsed.Load(), format.NumSlots) {
		slot := &v.words.Slots[i]
		owner, state := slot.Owner.Load(), slot.State.Load()
		if owner != 0 && state != 0 {
			list = append(list, Reader{format.Incarnation(owner), format.Addr(state), time.Unix(0, int64(slot.Since.Load()))})
		}
	}
	return list
}

// Protected is the set of versions that must stay readable.
type Protected struct {
	// Current is the newest version when the scan began: by this result a process may
	// reclaim only blocks that Current or an older version has freed.
	Current format.Version
	// Versions has the protected versions, ascending, Current included.
	Versions []format.Version
	// States has their state blocks, in the same order.
	States []format.Addr
	// Unknown says that there may be others: then no process may reclaim anything.
	Unknown bool
}

// Covers reports whether a protected version can see a block that version birth wrote and
// version freed freed, and returns such a version (I2 of the heap).
func (p *Protected) Covers(birth, freed format.Version) (format.Version, bool) {
	if p.Unknown {
		return p.Current, true
	}
	i, _ := slices.BinarySearch(p.Versions, birth)
	if i < len(p.Versions) && p.Versions[i] < freed {
		return p.Versions[i], true
	}
	return 0, false
}

// States reads state blocks. Some may no longer be state blocks.
type States interface {
	// VersionOf returns the version of the state block at a; 0 for an address where no state
	// block can be.
	VersionOf(a format.Addr) format.Version
	// Pins calls add with the checkpoints that the state at a lists, if there is a state.
	Pins(a format.Addr, add func(state format.Addr, version format.Version))
}

// Protected scans for the protected versions into p: versions that are held, versions of
// anchors, and the checkpoints that any of these lists.
//
// The order is that of L4 and L5: Current, then the reader slots, then the anchor slots. The
// scan holds Current while it reads it, by a slot kept for this (L12). Otherwise another
// state could reuse its block first, perhaps one that is being written, whose checkpoints
// cannot be read yet. A slot whose owner is 0 protects nothing. If a reader is still
// validating its slot, the state that the scan reads there may no longer be a state. Then
// the reader fails to validate, and the versions that the scan has read protect too much at
// worst: so nonsensical ones are harmless. A checkpoint made after the scan began pins a
// version that is not older than Current, and by the result no process reclaims anything
// that such a version needs.
func (v *Live) Protected(p *Protected, s States) {
	v.slots.scan.Lock() // one scan of the process at a time
	defer v.slots.scan.Unlock()
	var current format.Addr
	if v.guest != nil {
		hold, _ := v.guest.hold(v, nil)
		defer v.guest.release(v, hold.State)
		current = hold.State
	} else {
		current = v.validate(v.slots.scan.slot)
		defer v.slots.scan.slot.State.Store(0)
	}
	p.Current = s.VersionOf(current)
	p.Versions = append(p.Versions[:0], p.Current)
	p.States = append(p.States[:0], current)
	insert := func(state format.Addr, version format.Version) {
		i, found := slices.BinarySearch(p.Versions, version)
		if !found && version != 0 {
			p.Versions = slices.Insert(p.Versions, i, version)
			p.States = slices.Insert(p.States, i, state)
		}
	}
	add := func(state format.Addr, version format.Version) {
		insert(state, version)
		s.Pins(state, insert)
	}
	s.Pins(current, insert)
	for i := range min(v.words.SlotsUsed.Load(), format.NumSlots) {
		slot := &v.words.Slots[i]
		state := format.Addr(slot.State.Load())
		if state != 0 && slot.Owner.Load() != 0 {
			add(state, s.VersionOf(state))
		}
	}
	for _, a := range v.protectedAnchors() {
		add(a.state, a.version)
	}
	p.Unknown = !v.guests(func(state format.Addr) { add(state, s.VersionOf(state)) }) // last: K8
	v.Assure()
}
