package layout

import (
	"bytes"
	"encoding/binary"
	"runtime"
	"time"
	"unsafe"
)

// Detach returns the position-independent form of the stored value at p, in the block
// b: the fixed part, padded to 8 bytes, then the parts it owns, with offset+1 for each address. Equal
// values give equal bytes. Damage is a *DamageError.
func (t *Type) Detach(p unsafe.Pointer, b Bounds) ([]byte, error) {
	n, err := t.DetachedSize(p, b)
	if err != nil {
		return nil, err
	}
	buf := make([]byte, n)
	return buf, t.DetachTo(buf, p, b)
}

// DetachedSize returns the number of bytes that Detach would return.
func (t *Type) DetachedSize(p unsafe.Pointer, b Bounds) (int, error) {
	owned, err := t.measureIn(p, b)
	return int(alignUp(t.size, 8) + owned), err
}

// DetachTo writes what Detach returns to buf, which has the length that DetachedSize returned.
func (t *Type) DetachTo(buf []byte, p unsafe.Pointer, b Bounds) error {
	fixed := alignUp(t.size, 8)
	if uintptr(len(buf)) < fixed {
		return errTarget
	}
	if fixed == 0 {
		return nil
	}
	clear(buf[t.size:fixed])
	// A read view that begins at 1 makes every stored address its offset+1.
	err := t.flatten(unsafe.Pointer(&buf[0]), 1, 0, fixed, uintptr(len(buf))-fixed, p, nil)
	runtime.KeepAlive(buf)
	return err
}

// SameStored reports whether two stored values, each in its block, are equal with all that they own,
// and share parts and have cycles in the same places. It compares bytes (LY4), so the two zeros of a
// float differ, and a NaN equals itself. Damage is a *DamageError.
func (t *Type) SameStored(a unsafe.Pointer, ab Bounds, b unsafe.Pointer, bb Bounds) (bool, error) {
	n, err := t.DetachedSize(a, ab)
	if err != nil {
		return false, err
	}
	m, err := t.DetachedSize(b, bb)
	if err != nil || n != m {
		return false, err
	}
	if !t.graph {
		return t.sameParts(a, b), nil
	}
	half := int(alignUp(uintptr(n), 8))
	buf := make([]byte, 2*half)
	one, other := buf[:n], buf[half:half+n]
	if err := t.DetachTo(one, a, ab); err != nil {
		return false, err
	}
	if err := t.DetachTo(other, b, bb); err != nil {
		return false, err
	}
	return bytes.Equal(one, other), nil
}

// sameParts compares two measured values whose parts cannot be shared. It goes part by part, and so
// needs no memory. Padding is zero.
func (t *Type) sameParts(a, b unsafe.Pointer) bool {
	if len(t.ops) == 0 {
		return t.size == 0 || equalBytes(a, b, t.size)
	}
	for _, m := range t.moves {
		if !equalBytes(unsafe.Add(a, m.off), unsafe.Add(b, m.off), m.n) {
			return false
		}
	}
	for i := range t.ops {
		o := &t.ops[i]
		p, q := unsafe.Add(a, o.off), unsafe.Add(b, o.off)
		same := true
		switch o.code {
		case opString:
			same = *(*string)(p) == *(*string)(q)
		case opTime:
			same = equalBytes(p, q, 24)
		case opCoded:
			same = o.typ.sameCodes(p, q)
		case opSlice:
			same = sameSlices(o.typ.elem, p, q)
		case opEach:
			same = o.typ.sameRow(p, q, o.n)
		}
		if !same {
			return false
		}
	}
	return true
}

// sameSlices is sameParts for slices of elements of type e, nil and empty ones included.
func sameSlices(e *Type, p, q unsafe.Pointer) bool {
	n := word(p, 8)
	if n != word(q, 8) || (word(p, 0) == 0) != (word(q, 0) == 0) {
		return false
	}
	return n == 0 || e.size == 0 || e.sameRow(loadPointer(p), loadPointer(q), n)
}

// sameRow is sameParts for n consecutive values.
func (t *Type) sameRow(a, b unsafe.Pointer, n uintptr) bool {
	if len(t.ops) == 0 {
		return t.size == 0 || equalBytes(a, b, n*t.size)
	}
	for i := range n {
		if !t.sameParts(unsafe.Add(a, i*t.size), unsafe.Add(b, i*t.size)) {
			return false
		}
	}
	return true
}

// Detached is a value in a Go allocation of its own, without pointers that the garbage collector
// knows. Addresses in it point into that allocation; they are valid while d is alive.
type Detached struct {
	mem  []uint64
	size uintptr
}

// Pointer returns the value. The caller keeps d alive (runtime.KeepAlive) while it uses it.
func (d *Detached) Pointer() unsafe.Pointer { return unsafe.Pointer(unsafe.SliceData(d.mem)) }

// Bounds returns the addresses that the value and its parts occupy.
func (d *Detached) Bounds() Bounds {
	lo := uintptr(d.Pointer())
	return Bounds{lo, lo + d.size}
}

// Room is memory for one value that is read from its compact form, and then for the next one:
// flat values that are read one after the other share it. The zero value is empty.
type Room struct {
	text  string    // the value of a string, of the bytes that it was read from
	words [2]uint64 // the value of a number
	mem   []uint64  // any other flat value, with all of its parts (LY12)
	held  *Detached // one of another type
}

// mostRoom is how many bytes a room keeps when it is empty.
const mostRoom = 1 << 14

// Hold puts a value into the room, and returns it.
func (r *Room) Hold(v *Detached) unsafe.Pointer {
	r.held = v
	return v.Pointer()
}

// Empty drops the value.
func (r *Room) Empty() {
	r.text, r.held = "", nil
	if len(r.mem) > mostRoom/8 {
		r.mem = nil
	}
}

// ReadCompact returns the value whose compact form is b. It is nil for a type or bytes that only
// ParseCompact reads, or explains. The value is valid until the room holds another one, as long as
// the caller keeps the room and b alive, and does not change b.
func (r *Room) ReadCompact(t *Type, b []byte) unsafe.Pointer {
	switch {
	case t.kind == String:
		if len(b) < 4 || len(b) > 4+mostPlain || uint64(binary.LittleEndian.Uint32(b)) != uint64(len(b)-4) {
			return nil
		}
		r.text = ""
		if len(b) > 4 {
			r.text = unsafe.String(&b[4], len(b)-4)
		}
		return NoEscapeKey(&r.text)
	case t.kind >= Bool && t.kind <= Complex128:
		if uintptr(len(b)) != t.size || t.kind == Bool && b[0] > 1 {
			return nil
		}
		p := NoEscapeKey(&r.words)
		copy(bytesAt(p, t.size), b)
		return p
	case !t.flat || len(b) > mostPlain:
		return nil
	}
	fixed := alignUp(t.size, 8)
	for size := max(fixed+uintptr(len(b))+64, uintptr(len(r.mem))*8); size <= maxFlat; size *= 2 {
		if size > uintptr(len(r.mem))*8 {
			r.mem = make([]uint64, size/8)
		}
		f := flatReader{b: b, mem: unsafe.Pointer(unsafe.SliceData(r.mem)), at: fixed, size: uintptr(len(r.mem)) * 8}
		clearBytes(f.mem, fixed)
		if f.value(t, f.mem) && len(f.b) == 0 {
			return f.mem
		}
		if !f.short {
			break
		}
	}
	return nil
}

// maxFlat is how many bytes a value has at most that is read into a room.
const maxFlat = 1 << 20

// flatReader reads the compact form of a flat value to where it stays: what it reads needs no
// other check than that it is there.
type flatReader struct {
	b     []byte         // what is left
	mem   unsafe.Pointer // of size bytes, of which those from at on are free
	at    uintptr
	size  uintptr
	short bool // the memory is too small
}

// value reads a value of t to p, which is clear, and reports whether it could.
func (f *flatReader) value(t *Type, p unsafe.Pointer) bool {
	switch t.kind {
	case String:
		n, ok := f.length()
		if !ok || n > uintptr(len(f.b)) {
			return false
		}
		if n == 0 {
			return true
		}
		at := f.room(n, 1)
		if at == nil {
			return false
		}
		copy(bytesAt(at, n), f.b)
		f.b = f.b[n:]
		setWord(p, 0, uintptr(at))
		setWord(p, 8, n)
		return true
	case Time:
		if len(f.b) < 12 {
			return false
		}
		sec, nsec := int64(binary.LittleEndian.Uint64(f.b)), binary.LittleEndian.Uint32(f.b[8:])
		if nsec >= 1e9 {
			return false
		}
		*(*[3]uint64)(p) = timeWords(time.Unix(sec, int64(nsec)))
		f.b = f.b[12:]
		return true
	case Struct:
		for i := range t.fields {
			if !f.value(t.fields[i].Type, unsafe.Add(p, t.fields[i].Offset)) {
				return false
			}
		}
		return true
	case Array:
		return f.elements(t.elem, p, t.length)
	case Slice:
		return f.slice(t.elem, p)
	}
	if uintptr(len(f.b)) < t.size || t.kind == Bool && f.b[0] > 1 {
		return false
	}
	move(p, unsafe.Pointer(unsafe.SliceData(f.b)), t.size)
	f.b = f.b[t.size:]
	return true
}

// slice reads a slice of elements of type e to p.
func (f *flatReader) slice(e *Type, p unsafe.Pointer) bool {
	n, ok := f.length()
	least := e.least()
	switch {
	case !ok || least == 0 && n != nilLength:
		return false
	case n == nilLength:
		return true
	case n > uintptr(len(f.b))/least:
		return false
	}
	at := f.room(n*e.size, e.align)
	if at == nil {
		return false
	}
	clearBytes(at, n*e.size)
	setWord(p, 0, uintptr(at))
	setWord(p, 8, n)
	setWord(p, 16, n)
	return f.elements(e, at, n)
}

// elements reads n values of t to p.
func (f *flatReader) elements(t *Type, p unsafe.Pointer, n uintptr) bool {
	if t.kind == Uint8 {
		if n > uintptr(len(f.b)) {
			return false
		}
		copy(bytesAt(p, n), f.b)
		f.b = f.b[n:]
		return true
	}
	for i := range n {
		if !f.value(t, unsafe.Add(p, i*t.size)) {
			return false
		}
	}
	return true
}

// length reads a length.
func (f *flatReader) length() (uintptr, bool) {
	if len(f.b) < 4 {
		return 0, false
	}
	n := uintptr(binary.LittleEndian.Uint32(f.b))
	f.b = f.b[4:]
	return n, true
}

// room takes n bytes of the free memory; nil if it has not as many.
func (f *flatReader) room(n, align uintptr) unsafe.Pointer {
	at := alignUp(f.at, align)
	if at+n > f.size {
		f.short = true
		return nil
	}
	f.at = at + n
	return unsafe.Add(f.mem, at)
}

// Relocate makes a copied value usable. The caller has copied its block byte for byte into Go memory
// without pointers, aligned to 8 bytes: b are the limits of the copy, p is the value in it, and from
// is the address where the original block began. Relocate accepts any bytes, and checks them; the
// error is a *DamageError if they are not a value of t.
func (t *Type) Relocate(p unsafe.Pointer, b Bounds, from uintptr) error {
	w := walker{b: b, from: from, to: b.Lo}
	err := w.all(t, p)
	if err == nil && t.owns { // the walk may have changed overlapping parts after it checked them
		err = t.Check(p, b)
	}
	return err
}

// Move changes the addresses in a stored value for a block that moves. block is a copy of the block's
// payload, in memory without pointers, aligned to 8 bytes, that no other goroutine uses; at is the
// offset of the value. from is the address where the payload began before, and to is the address
// where it will begin. Move accepts any bytes, and checks them; the error is a *DamageError if they
// are not a value of t.
//
// Move first changes each address to the one in the copy, and then to the final one. The copy lies in
// neither place. So when parts overlap and the walk reaches a word twice, the second visit finds an
// address that is out of bounds.
func (t *Type) Move(block []byte, at, from, to uintptr) error {
	if at > uintptr(len(block)) || t.size > uintptr(len(block))-at {
		return &DamageError{t.String(), at, "the bytes are shorter than the type"}
	}
	if !t.checked || len(block) == 0 {
		return nil
	}
	lo := unsafe.Pointer(unsafe.SliceData(block))
	b := Bounds{uintptr(lo), uintptr(lo) + uintptr(len(block))}
	w := walker{b: b, from: from, to: b.Lo}
	err := w.all(t, unsafe.Add(lo, at))
	if err == nil && t.owns {
		w = walker{b: b, from: b.Lo, to: to}
		err = w.all(t, unsafe.Add(lo, at))
	}
	runtime.KeepAlive(block)
	return err
}

// Attach turns the bytes that Detach made into a value again. It accepts any bytes, and copies them;
// the error is a *DamageError if they are not a value of t.
func (t *Type) Attach(img []byte) (*Detached, error) { return t.attach(img, nil, true) }

// attach is Attach for an image with unsettled Dicts, whose errors are not *DamageErrors. whole asks
// for a second check, of what overlapping parts may have spoilt, and of the values in envelopes.
func (t *Type) attach(img []byte, dicts []unsettled, whole bool) (*Detached, error) {
	fixed := alignUp(t.size, 8)
	if uintptr(len(img)) < fixed || len(img) > maxFixed+maxOwned {
		return nil, &DamageError{t.String(), 0, "the bytes are shorter than the type"}
	}
	d := &Detached{make([]uint64, max((len(img)+7)/8, 1)), uintptr(len(img))}
	copy(bytesAt(d.Pointer(), d.size), img)
	if !t.checked {
		return d, nil
	}
	w := walker{b: d.Bounds(), from: 1, to: d.Bounds().Lo}
	err := w.all(t, d.Pointer())
	if err == nil {
		err = settleAll(dicts, func(u unsettled) unsafe.Pointer { return unsafe.Add(d.Pointer(), u.at) })
	}
	if err == nil && t.owns && whole {
		// The walk may have changed overlapping parts after it checked them.
		err = t.Check(d.Pointer(), d.Bounds())
	}
	runtime.KeepAlive(d)
	if err != nil {
		return nil, err
	}
	return d, nil
}
