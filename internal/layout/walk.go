package layout

import (
	"sync"
	"unsafe"
)

// walker visits each part of a stored value once, and checks it. Check, Handles, Judge, Attach, Move
// and AppendJSON use this walk.
type walker struct {
	b       Bounds
	budget  uintptr // bytes of owned parts that the walk may still visit (LY5)
	empty   uintptr // elements of size zero so far
	ids     *identity
	from    uintptr // if not 0: the addresses are those of a block that begins here, and the walk changes them
	to      uintptr // with from: to those of a block that begins here
	handle  func(kind HandleKind, id uint64) bool
	judge   func(handle *Type, id uint64) error
	stopped bool // by handle
	nested  int  // envelopes that the value is in
	shallow bool // the walk does not enter envelopes
	met     func(name string, concrete *Type)
}

// Check verifies the stored value at p, in the block b: addresses inside the block
// and aligned, lengths that fit, bools 0 or 1, times normalised. It needs no Go type
// and accepts any bytes; the error is a *DamageError.
func (t *Type) Check(p unsafe.Pointer, b Bounds) error {
	w := walker{b: b}
	return w.all(t, p)
}

// Handles calls fn for every handle in the stored value at p that is not nil, until fn returns false.
// It checks all that it visits.
func (t *Type) Handles(p unsafe.Pointer, b Bounds, fn func(kind HandleKind, id uint64) bool) error {
	if !t.handles {
		return nil
	}
	w := walker{b: b, handle: fn}
	return w.all(t, p)
}

// Judge calls fn for every handle in the stored value at p that is not nil, with the type
// of the handle, until fn returns an error, which Judge returns. It checks all that it visits.
func (t *Type) Judge(p unsafe.Pointer, b Bounds, fn func(handle *Type, id uint64) error) error {
	if !t.handles {
		return nil
	}
	w := walker{b: b, judge: fn}
	return w.all(t, p)
}

func (w *walker) all(t *Type, p unsafe.Pointer) error {
	if !w.b.holds(uintptr(p), t.size) || uintptr(p)%t.align != 0 {
		return damage(t, w.b, p, "the value lies outside its block")
	}
	w.budget = w.b.Hi - w.b.Lo
	if !t.graph {
		return w.value(t, p)
	}
	w.ids = newIdentity()
	defer w.ids.release()
	return w.walkGraph(t, p)
}

func (w *walker) walkGraph(t *Type, p unsafe.Pointer) error {
	if s := w.ids.root(p, t); s != nil {
		s.off = 1
	}
	err := w.value(t, p)
	for err == nil && !w.stopped {
		v, ok := w.ids.pop()
		if !ok {
			break
		}
		err = w.each(v.typ, v.src, v.n)
	}
	return err
}

// skip reports whether the walk has nothing to check in values of t.
func (w *walker) skip(t *Type) bool {
	return !t.checked && (w.handle == nil && w.judge == nil || !t.handles) || w.stopped
}

func (w *walker) each(t *Type, p unsafe.Pointer, n uintptr) error {
	if w.skip(t) || t.size == 0 {
		return nil
	}
	for i := uintptr(0); i < n && !w.stopped; i++ {
		if err := w.value(t, unsafe.Add(p, i*t.size)); err != nil {
			return err
		}
	}
	return nil
}

func (w *walker) value(t *Type, p unsafe.Pointer) error {
	if w.skip(t) {
		return nil
	}
	switch t.kind {
	case Bool:
		if *(*byte)(p) > 1 {
			return damage(t, w.b, p, "a bool that is neither 0 nor 1")
		}
	case Time:
		if !normalTime(p) {
			return damage(t, w.b, p, "a time that is not normalised")
		}
	case String:
		n := word(p, 8)
		if _, err := w.part(t, p, n, n, 1); err != nil {
			return err
		}
		return w.spend(t, p, n)
	case Slice:
		return w.slice(t, p)
	case Pointer:
		return w.pointer(t, p)
	case Dict:
		_, err := w.dict(t, p)
		return err
	case Table:
		return w.table(t, p)
	case Array:
		return w.each(t.elem, p, t.length)
	case Struct:
		for i := range t.fields {
			f := &t.fields[i]
			if err := w.value(f.Type, unsafe.Add(p, f.Offset)); err != nil {
				return err
			}
		}
	case Addr, AddrPort, Prefix, Binary, Text, Interface:
		return w.checkCoded(t, p)
	case Map, Sorted, List, Ref:
		id := *(*uint64)(p)
		switch {
		case id == 0:
		case w.judge != nil:
			return w.judge(t, id)
		case w.handle != nil && !w.handle(t.kind, id):
			w.stopped = true
		}
	}
	return nil
}

// part checks the address at p, of n elements in size bytes, changes it if need be, and returns the
// part's address; nil if the part has no address.
func (w *walker) part(t *Type, p unsafe.Pointer, n, size, align uintptr) (unsafe.Pointer, error) {
	addr := word(p, 0)
	moves := w.from != 0 && addr != 0
	if moves {
		if addr-w.from > w.b.Hi-w.b.Lo {
			return nil, damage(t, w.b, p, "an address outside the value")
		}
		addr += w.b.Lo - w.from
	}
	switch {
	case addr == 0 && n != 0:
		return nil, damage(t, w.b, p, "a length without an address")
	case addr != 0 && !w.b.holds(addr, size):
		return nil, damage(t, w.b, p, "an address outside the block")
	case size != 0 && addr%align != 0:
		return nil, damage(t, w.b, p, "an address that is not aligned")
	}
	if !moves {
		return loadPointer(p), nil
	}
	setWord(p, 0, addr-w.b.Lo+w.to)
	if size == 0 {
		return p, nil // the address may be the end of the block, and a Go pointer must not point there
	}
	return unsafe.Add(p, addr-uintptr(p)), nil // derived from p: it is the same memory
}

// spend takes n bytes from the budget.
func (w *walker) spend(t *Type, p unsafe.Pointer, n uintptr) error {
	if n > w.budget {
		return damage(t, w.b, p, "owned parts overlap")
	}
	w.budget -= n
	return nil
}

func (w *walker) slice(t *Type, p unsafe.Pointer) error {
	e, n := t.elem, word(p, 8)
	if n > maxOwned || word(p, 16) != n {
		return damage(t, w.b, p, "a slice with a wrong length")
	}
	at, err := w.part(t, p, n, n*e.size, e.align)
	if err != nil {
		return err
	}
	if e.size == 0 {
		if w.empty += n; w.empty > maxEmpty {
			return damage(t, w.b, p, "too many elements of size zero")
		}
		return nil
	}
	if n == 0 {
		return nil
	}
	if t.ident {
		s, isNew := w.ids.add(uintptr(at), t, n|sliceBit)
		if s.off++; !isNew {
			return nil
		}
		w.ids.push(work{src: at, n: n, typ: e})
		return w.spend(t, p, n*e.size)
	}
	if err := w.spend(t, p, n*e.size); err != nil {
		return err
	}
	return w.each(e, at, n)
}

func (w *walker) pointer(t *Type, p unsafe.Pointer) error {
	e := t.elem
	at, err := w.part(t, p, 0, e.size, e.align)
	if err != nil {
		return err
	}
	if at == nil || e.size == 0 {
		return nil
	}
	s, isNew := w.ids.add(uintptr(at), e, 1)
	if s.off++; !isNew {
		return nil
	}
	w.ids.push(work{src: at, n: 1, typ: e})
	return w.spend(t, p, e.size)
}

// slot is a part of a value that several pointers can refer to.
type slot struct {
	addr uintptr // in the source; 0: the slot is free
	typ  *Type
	n    uintptr        // elements, and sliceBit for a slice
	off  uintptr        // Flatten: where it is in the block. JSON: see shared
	ptr  unsafe.Pointer // CopyOut: the copy
}

// sliceBit distinguishes the elements of a slice of type T []T from a variable of type T at the same
// address, which is the first element.
const sliceBit = 1 << 63

// work is a part that has its place, but whose program has not run yet.
type work struct {
	src unsafe.Pointer
	dst unsafe.Pointer // CopyOut
	off uintptr        // Flatten
	n   uintptr
	typ *Type
}

// identity is the table of the parts seen so far, by address and type, with a stack of the parts
// still to be walked. The stack replaces recursion: a list of a million nodes needs no more of the
// goroutine's stack than one node.
type identity struct {
	slots []slot // open addressing; the length is a power of two
	used  int
	todo  []work

	mentions mentions // the maps that may contain themselves
}

const firstSlots = 16

// manySlots is the size from which the table is filled higher and grows by less: then it takes about
// as much memory as the value.
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
// It leaves out roots that are pointers or slices: JSON could not distinguish them.
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
