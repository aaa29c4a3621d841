package layout

import (
	"encoding/binary"
	"fmt"
	"time"
	"unsafe"
)

// The compact form of a value is for programs in other languages: nothing of it depends on
// addresses, alignment or padding. All numbers are little-endian.
//
//	bool                 1 byte, 0 or 1
//	number               its bytes; complex: real, imaginary
//	string               length (4 bytes), bytes
//	time.Time            Unix seconds (8 bytes, signed), nanoseconds (4 bytes)
//	struct               its fields in order
//	array                its elements
//	slice                length (4 bytes), elements; nil: 0xffffffff
//	Dict                 length (4 bytes), the key and the value of each entry
//	built-in map         as a Dict; nil: 0xffffffff
//	handle               ID (8 bytes)
//	coded value          length (4 bytes), bytes; the zero value: 0xffffffff
//	interface            length of what follows (4 bytes), or 0xffffffff for nil; length of a name
//	                     (4 bytes) and the name of the concrete type; length of a descriptor (4
//	                     bytes) and the descriptor in its stored form; the value
//	pointer              number of a part (4 bytes); nil: 0
//
// A part is the target of a pointer. The value itself is part 1; a pointer can refer to it if it is a
// struct or an array. The other parts are numbered from 2 on, in the order of their first mention,
// and follow the value in that order. So shared pointers and cycles keep their shape, and a list of a
// million nodes is read and written without recursion. A slice that can reach itself, as of type T
// []T, is stored as a pointer to its elements: its part is a length and elements. A pointer to a type
// of size zero is 0 or 1, and has no part.

// nilLength stands for a nil slice, and for the zero value of a coded type.
const nilLength = 1<<32 - 1

// CompactError says why bytes are not the compact form of a value of a type.
type CompactError struct {
	Type   string
	Offset int // in the bytes
	What   string

	Unknown string // set if the error is an unknown concrete type: its name
}

// Error implements error.
func (e *CompactError) Error() string {
	return fmt.Sprintf("everheap: binary form of %s: at byte %d: %s", e.Type, e.Offset, e.What)
}

// packer writes the compact form of a value that was checked.
type packer struct {
	b     []byte
	ids   *identity
	count uint32 // parts
	later []laterPart
	depth int // of Dicts in Dicts
	most  int // bytes; see mostWritten
	err   error
}

// laterPart is a part that was mentioned and is still to be written.
type laterPart struct {
	t     *Type
	p     unsafe.Pointer
	elems bool // the elements of a slice of t
	n     uintptr
}

// AppendCompact appends the stored value at p, in the block b, to dst in the compact form.
// Damage is a *DamageError. ParseCompact of the result is an equal value.
func (t *Type) AppendCompact(dst []byte, p unsafe.Pointer, b Bounds) ([]byte, error) {
	if t.kind > Bool && t.kind <= Complex128 { // not every value that is looked up needs a packer
		return append(dst, bytesAt(p, t.size)...), nil
	}
	if err := t.Check(p, b); err != nil {
		return dst, err
	}
	return t.appendCompact(dst, p, b, mostWritten(dst, b))
}

// appendCompact is AppendCompact of a value that was checked, of which no more than most bytes
// may be written in full.
func (t *Type) appendCompact(dst []byte, p unsafe.Pointer, b Bounds, most int) ([]byte, error) {
	w := packer{b: dst, count: 1, most: most}
	if t.graph {
		w.ids = newIdentity()
		defer w.ids.release()
		if s := w.ids.root(p, t); s != nil {
			s.off = 1
		}
	}
	w.value(t, p)
	for i := 0; i < len(w.later); i++ {
		l := w.later[i]
		if l.elems {
			w.length(l.n)
			w.elements(l.t.elem, l.p, l.n)
		} else {
			w.value(l.t, l.p)
		}
	}
	return w.b, w.err
}

// BytesIn returns the bytes of the stored string or byte slice at p, in the block b, without copying
// them. Damage is a *DamageError.
func (t *Type) BytesIn(p unsafe.Pointer, b Bounds) ([]byte, error) {
	if t.kind != String && (t.kind != Slice || t.elem.kind != Uint8) {
		return nil, fmt.Errorf("cannot borrow the bytes of a %s: only strings and byte slices can be borrowed", t)
	}
	if err := t.Check(p, b); err != nil {
		return nil, err
	}
	if word(p, 8) == 0 {
		return []byte{}, nil
	}
	return bytesAt(loadPointer(p), word(p, 8)), nil
}

func (w *packer) length(n uintptr) { w.b = binary.LittleEndian.AppendUint32(w.b, uint32(n)) }

// value writes the value of t at p.
func (w *packer) value(t *Type, p unsafe.Pointer) {
	switch t.kind {
	case String:
		n := word(p, 8)
		w.length(n)
		w.b = append(w.b, bytesAt(loadPointer(p), n)...)
	case Time:
		v := *(*time.Time)(p)
		w.b = binary.LittleEndian.AppendUint64(w.b, uint64(v.Unix()))
		w.b = binary.LittleEndian.AppendUint32(w.b, uint32(v.Nanosecond()))
	case Struct:
		for i := range t.fields {
			w.value(t.fields[i].Type, unsafe.Add(p, t.fields[i].Offset))
		}
	case Array:
		w.elements(t.elem, p, t.length)
	case Slice:
		w.slice(t, p)
	case Pointer:
		w.pointer(t, p)
	case Dict:
		w.dict(t, p)
	case Table:
		w.table(t, p)
	case Interface:
		w.enveloped(p)
	case Addr, AddrPort, Prefix, Binary, Text:
		v := codedBytes(p)
		if v == nil {
			w.length(nilLength)
			return
		}
		w.length(uintptr(len(v)))
		w.b = append(w.b, v...)
	default:
		w.b = append(w.b, bytesAt(p, t.size)...)
	}
}

func (w *packer) elements(t *Type, p unsafe.Pointer, n uintptr) {
	if t.kind == Uint8 {
		w.b = append(w.b, bytesAt(p, n)...)
		return
	}
	for i := range n {
		w.value(t, unsafe.Add(p, i*t.size))
	}
}

func (w *packer) slice(t *Type, p unsafe.Pointer) {
	n := word(p, 8)
	switch {
	case t.ident && word(p, 0) == 0:
		w.length(0)
	case t.ident:
		w.part(laterPart{t, loadPointer(p), true, n}, n|sliceBit, n > 0)
	case word(p, 0) == 0:
		w.length(nilLength)
	default:
		w.length(n)
		w.elements(t.elem, loadPointer(p), n)
	}
}

func (w *packer) pointer(t *Type, p unsafe.Pointer) {
	switch {
	case word(p, 0) == 0:
		w.length(0)
	case t.elem.size == 0:
		w.length(1)
	default:
		w.part(laterPart{t.elem, loadPointer(p), false, 1}, 1, true)
	}
}

// part writes the number of a part, and queues the part to be written if it is new. An unshared part
// is always new.
func (w *packer) part(l laterPart, key uintptr, shared bool) {
	if shared {
		s, isNew := w.ids.add(uintptr(l.p), l.t, key)
		if !isNew {
			w.length(s.off)
			return
		}
		s.off = uintptr(w.count) + 1
	}
	w.count++
	w.length(uintptr(w.count))
	w.later = append(w.later, l)
}

// unpacker reads the compact form of a value into its detached form, which a parser builds.
type unpacker struct {
	d     parser
	b     []byte
	pos   int
	parts []packedPart // by number, from 1
}

// packedPart is a part whose number the unpacker has met.
type packedPart struct {
	t     *Type
	elems bool // the elements of a slice of t
	off   uintptr
	n     uintptr   // elements of a slice that was read
	read  bool      // a slice was read
	uses  []uintptr // offsets of the headers of a slice that was not read yet
}

// ParseCompact returns the value whose compact form is b. The error is a *CompactError. It
// accepts any bytes.
func (t *Type) ParseCompact(b []byte) (*Detached, error) {
	if v := t.parsePlain(b); v != nil {
		return v, nil
	}
	u := unpacker{d: parser{root: t}, b: b}
	return u.whole(true)
}

// mostPlain is the length of the longest string that parsePlain reads.
const mostPlain = 1 << 16

// plain is a Detached with room for a short string, so that both are one allocation.
type plain struct {
	Detached
	room [6]uint64
}

// parsePlain is ParseCompact for numbers and strings, the types of most keys. It writes the value to
// its final place, since nothing in it must be checked. The result is nil for other types, for long
// strings, and for malformed bytes: then ParseCompact takes the general way, which also explains the
// error.
func (t *Type) parsePlain(b []byte) *Detached {
	var text []byte
	switch {
	case t.kind == String:
		if len(b) < 4 || len(b) > 4+mostPlain || uint64(binary.LittleEndian.Uint32(b)) != uint64(len(b)-4) {
			return nil
		}
		text = b[4:]
	case t.kind < Bool || t.kind > Complex128 || uintptr(len(b)) != t.size || t.kind == Bool && b[0] > 1:
		return nil
	}
	fixed := alignUp(t.size, 8)
	v := new(plain)
	v.mem, v.size = v.room[:], fixed+uintptr(len(text))
	if v.size > unsafe.Sizeof(v.room) {
		v.mem = make([]uint64, (v.size+7)/8)
	}
	p := v.Pointer()
	if t.kind != String {
		copy(bytesAt(p, t.size), b)
	} else if len(text) > 0 {
		at := unsafe.Add(p, fixed)
		copy(bytesAt(at, uintptr(len(text))), text)
		v.mem[0], v.mem[1] = uint64(uintptr(at)), uint64(len(text))
	}
	return &v.Detached
}

// whole reads the value, which must end where the bytes end.
func (u *unpacker) whole(attach bool) (*Detached, error) {
	t := u.d.root
	u.d.img = make([]byte, alignUp(t.size, 8))
	u.parts = append(u.parts, packedPart{}, packedPart{t: t})
	if t.kind != Struct && t.kind != Array || t.size == 0 {
		u.parts[1].t = nil // nothing refers to it
	}
	if err := u.value(t, 0); err != nil {
		return nil, err
	}
	for i := 2; i < len(u.parts); i++ {
		if err := u.part(i); err != nil {
			return nil, err
		}
	}
	if u.pos != len(u.b) {
		return nil, u.errorf("%d surplus bytes follow the value", len(u.b)-u.pos)
	}
	v, err := t.attach(u.d.img, u.d.dicts, attach)
	if err != nil {
		return nil, u.errorf("%v", err)
	}
	return v, nil
}

func (u *unpacker) errorf(format string, args ...any) error {
	return &CompactError{Type: u.d.root.String(), Offset: u.pos, What: fmt.Sprintf(format, args...)}
}

// take returns the next n bytes.
func (u *unpacker) take(n uintptr) ([]byte, error) {
	if n > uintptr(len(u.b)-u.pos) {
		return nil, u.errorf("want %d bytes, got %d", n, len(u.b)-u.pos)
	}
	b := u.b[u.pos:][:n]
	u.pos += int(n)
	return b, nil
}

// length reads a length or a part's number.
func (u *unpacker) length() (uintptr, error) {
	b, err := u.take(4)
	if err != nil {
		return 0, err
	}
	return uintptr(binary.LittleEndian.Uint32(b)), nil
}

// value reads a value of t to the offset.
func (u *unpacker) value(t *Type, off uintptr) error {
	switch t.kind {
	case String:
		n, err := u.length()
		if err != nil {
			return err
		}
		b, err := u.take(n)
		if err != nil || n == 0 {
			return err
		}
		at, err := u.alloc(n, 1)
		if err != nil {
			return err
		}
		copy(u.d.img[at:], b)
		u.d.putHeader(off, at+1, n)
		return nil
	case Time:
		return u.time(off)
	case Struct:
		for i := range t.fields {
			if err := u.value(t.fields[i].Type, off+t.fields[i].Offset); err != nil {
				return err
			}
		}
		return nil
	case Array:
		return u.elements(t.elem, off, t.length)
	case Slice:
		return u.slice(t, off)
	case Pointer:
		return u.pointer(t, off)
	case Dict:
		return u.dict(t, off)
	case Table:
		return u.table(t, off)
	case Interface:
		return u.enveloped(off)
	case Addr, AddrPort, Prefix, Binary, Text:
		return u.coded(t, off)
	}
	b, err := u.take(t.size)
	if err != nil {
		return err
	}
	if t.kind == Bool && b[0] > 1 {
		u.pos--
		return u.errorf("want 0 or 1 for a bool, got %d", b[0])
	}
	copy(u.d.img[off:], b)
	return nil
}

func (u *unpacker) time(off uintptr) error {
	b, err := u.take(12)
	if err != nil {
		return err
	}
	sec, nsec := int64(binary.LittleEndian.Uint64(b)), binary.LittleEndian.Uint32(b[8:])
	if nsec >= 1e9 {
		u.pos -= 4
		return u.errorf("want less than 1,000,000,000 nanoseconds in a time, got %d", nsec)
	}
	for i, w := range timeWords(time.Unix(sec, int64(nsec))) {
		u.d.put(off+8*uintptr(i), 8, w)
	}
	return nil
}

func (u *unpacker) elements(t *Type, off, n uintptr) error {
	if t.kind == Uint8 {
		b, err := u.take(n)
		copy(u.d.img[off:], b)
		return err
	}
	for i := range n {
		if err := u.value(t, off+i*t.size); err != nil {
			return err
		}
	}
	return nil
}

// alloc makes room for n bytes.
func (u *unpacker) alloc(n, align uintptr) (uintptr, error) {
	off, err := u.d.alloc(n, align)
	if err != nil {
		return 0, u.errorf("%v", ErrTooLarge)
	}
	return off, nil
}

// room makes room for n elements. First it verifies that the bytes left can hold n elements:
// otherwise a few malformed bytes could make the program allocate much memory.
func (u *unpacker) room(t *Type, n uintptr) (uintptr, error) {
	least := t.least()
	switch {
	case least > 0 && n > uintptr(len(u.b)-u.pos)/least:
		return 0, u.errorf("want %d elements of at least %d bytes, got %d bytes", n, least, len(u.b)-u.pos)
	case least == 0:
		if u.d.empty += n; u.d.empty > maxEmpty {
			return 0, u.errorf("%v", ErrTooLarge)
		}
	}
	if t.size > 0 && n > maxOwned/t.size {
		return 0, u.errorf("%v", ErrTooLarge)
	}
	return u.alloc(n*t.size, t.align)
}

// least returns the size of the smallest compact form of a value of the type.
func (t *Type) least() (n uintptr) {
	switch t.kind {
	case String, Slice, Pointer, Addr, AddrPort, Prefix, Binary, Text, Dict, Table, Interface:
		return 4
	case Time:
		return 12
	case Struct:
		for i := range t.fields {
			n = min(n+t.fields[i].Type.least(), maxOwned)
		}
		return n
	case Array:
		least := t.elem.least()
		if least == 0 || t.length == 0 {
			return 0
		}
		if t.length > maxOwned/least {
			return maxOwned
		}
		return t.length * least
	}
	return t.size
}

func (u *unpacker) slice(t *Type, off uintptr) error {
	n, err := u.length()
	if err != nil {
		return err
	}
	if t.ident {
		return u.mention(t, true, off, n)
	}
	if n == nilLength {
		return nil
	}
	at, err := u.room(t.elem, n)
	if err != nil {
		return err
	}
	u.d.putSlice(off, at, n)
	return u.elements(t.elem, at, n)
}

func (u *unpacker) pointer(t *Type, off uintptr) error {
	n, err := u.length()
	if err != nil {
		return err
	}
	if t.elem.size > 0 {
		return u.mention(t.elem, false, off, n)
	}
	if n > 1 {
		return u.errorf("want 0 or 1 for a pointer to a %s, got %d", t.elem, n)
	}
	if n == 1 {
		at, err := u.alloc(0, t.elem.align)
		if err != nil {
			return err
		}
		u.d.put(off, 8, uint64(at+1))
	}
	return nil
}

// mention notes that the pointer, or the slice, at the offset refers to the part with the
// number n.
func (u *unpacker) mention(t *Type, elems bool, off, n uintptr) error {
	switch {
	case n == 0:
		return nil
	case n > uintptr(len(u.parts)):
		return u.errorf("want part %d or an earlier one, got part %d", len(u.parts), n)
	case n == uintptr(len(u.parts)):
		p := packedPart{t: t, elems: elems}
		if !elems {
			var err error
			if p.off, err = u.alloc(t.size, t.align); err != nil {
				return err
			}
		}
		u.parts = append(u.parts, p)
	case u.parts[n].t != t || u.parts[n].elems != elems:
		return u.errorf("part %d is mentioned as a %s, but has another type", n, t)
	}
	p := &u.parts[n]
	switch {
	case !elems:
		u.d.put(off, 8, uint64(p.off+1))
	case p.read:
		u.d.putSlice(off, p.off, p.n)
	default:
		p.uses = append(p.uses, off)
	}
	return nil
}

// part reads the part with a number.
func (u *unpacker) part(i int) error {
	p := &u.parts[i]
	if !p.elems {
		return u.value(p.t, p.off)
	}
	n, err := u.length()
	if err != nil {
		return err
	}
	at, err := u.room(p.t.elem, n)
	if err != nil {
		return err
	}
	p.off, p.n, p.read = at, n, true
	for _, off := range p.uses {
		u.d.putSlice(off, at, n)
	}
	p.uses = nil
	return u.elements(p.t.elem, at, n)
}

// coded reads the bytes of a coded value, as a part of the detached form.
func (u *unpacker) coded(t *Type, off uintptr) error {
	n, err := u.length()
	if err != nil || n == nilLength {
		return err
	}
	b, err := u.take(n)
	if err != nil {
		return err
	}
	if !t.codeFits(n) {
		return u.errorf("%d bytes are no %s", n, t)
	}
	at, err := u.alloc(codedHead+n, 8)
	if err != nil {
		return err
	}
	u.d.put(at, 8, uint64(n))
	copy(u.d.img[at+codedHead:], b)
	u.d.put(off, 8, uint64(at+1))
	return nil
}
