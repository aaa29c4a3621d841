package layout

import (
	"sync"
	"unsafe"
)

// slot is one part of a value that can be referred to more than once.
type slot struct {
	addr uintptr // where it is in the source; 0: a free slot
	typ  *Type
	n    uintptr        // elements, and sliceBit for a slice
	off  uintptr        // Flatten: where it is in the block. JSON: see shared
	ptr  unsafe.Pointer // CopyOut: the copy
}

// sliceBit keeps a slice apart from the variable of the slice type that it begins with.
const sliceBit = 1 << 63

// work is a part that was placed but whose program has not run yet.
type work struct {
	src unsafe.Pointer
	dst unsafe.Pointer // CopyOut
	off uintptr        // Flatten
	n   uintptr
	typ *Type
}

// identity is the table of the parts seen so far, by address and type, and the
// stack of those still to be walked. The stack replaces recursion, so a list of a
// million nodes needs no more of the goroutine's stack than one node.
type identity struct {
	slots []slot // open addressing; the length is a power of two
	used  int
	todo  []work

	mentions mentions // of maps that may contain themselves
}

const firstSlots = 16

// manySlots is the size from which the table is filled more and grows less, since it
// takes about as much memory as the value.
const manySlots = 1 << 16

var identities = sync.Pool{New: func() any {
	return &identity{slots: make([]slot, firstSlots)}
}}

func newIdentity() *identity { return identities.Get().(*identity) }

// release returns the table to the pool, unless it grew.
func (m *identity) release() {
	if len(m.slots) > 1024 || cap(m.todo) > 1024 {
		return
	}
	if m.used > 0 {
		clear(m.slots)
	}
	clear(m.todo[:cap(m.todo)])
	m.todo, m.used, m.mentions = m.todo[:0], 0, mentions{}
	identities.Put(m)
}

func (m *identity) find(addr uintptr, typ *Type, n uintptr) *slot {
	mask := uintptr(len(m.slots) - 1)
	h := (addr ^ n<<7) * 0x9e3779b97f4a7c15
	for i := h >> 32; ; i++ {
		s := &m.slots[i&mask]
		if s.addr == 0 || s.addr == addr && s.typ == typ && s.n == n {
			return s
		}
	}
}

// add returns the slot of a part, which is valid until the next add, and whether it is new.
func (m *identity) add(addr uintptr, typ *Type, n uintptr) (*slot, bool) {
	s := m.find(addr, typ, n)
	if s.addr != 0 {
		return s, false
	}
	if full := len(m.slots) / 2; m.used >= full && (len(m.slots) < manySlots || m.used >= full+full/2) {
		old := m.slots
		times := 4
		if len(old) >= manySlots {
			times = 2
		}
		m.slots = make([]slot, times*len(old))
		for i := range old {
			if old[i].addr != 0 {
				*m.find(old[i].addr, old[i].typ, old[i].n) = old[i]
			}
		}
		s = m.find(addr, typ, n)
	}
	m.used++
	*s = slot{addr: addr, typ: typ, n: n}
	return s, true
}

// root adds the fixed part itself, which pointers inside the value may refer to.
// Roots that are pointers or slices are left out: JSON could not tell them apart.
func (m *identity) root(p unsafe.Pointer, t *Type) *slot {
	if t.kind != Struct && t.kind != Array || t.size == 0 {
		return nil
	}
	s, _ := m.add(uintptr(p), t, 1)
	return s
}

func (m *identity) push(w work) { m.todo = append(m.todo, w) }

// pop returns the work pushed last.
func (m *identity) pop() (work, bool) {
	if len(m.todo) == 0 {
		return work{}, false
	}
	last := len(m.todo) - 1
	w := m.todo[last]
	m.todo[last] = work{}
	m.todo = m.todo[:last]
	return w, true
}
