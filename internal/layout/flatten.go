package layout

import (
	"errors"
	"time"
	"unsafe"
)

// Target is the payload of a block that is being filled.
type Target struct {
	RW   uintptr // its address in the write view
	RO   uintptr // its address in the read view, which stored addresses refer to
	Size uintptr // its size in bytes
}

var errTarget = errors.New("everheap: internal: value does not fit the block that was allocated for it")

// flattener places the parts of a value in a block. It writes through the write view only, as bytes
// and words (LY2); it uses ro to compute the addresses to store.
type flattener struct {
	rw   unsafe.Pointer
	ro   uintptr
	cur  uintptr // offset of the next owned byte
	end  uintptr // of the owned part
	home uintptr // the address that empty, non-nil slices refer to
	ids  *identity

	codes *codes // nil: the source is in its stored form
}

// Flatten copies the value at src into a block: its fixed part to fixedOff, and the parts it owns to
// the ownedLen bytes at ownedOff, as Measure counted them. Both offsets are 8-aligned. If the value
// has changed since Measure, the error is ErrChanged and the contents of the two areas are undefined.
// Flatten writes nowhere else.
func (t *Type) Flatten(d Target, fixedOff, ownedOff, ownedLen uintptr, src unsafe.Pointer) error {
	if !(Bounds{0, d.Size}).holds(fixedOff, t.size) || !(Bounds{0, d.Size}).holds(ownedOff, ownedLen) {
		return errTarget
	}
	return t.flatten(pointerAt(d.RW), d.RO, fixedOff, ownedOff, ownedLen, src, nil)
}

// flatten is Flatten with the write view as a pointer, which may point to Go memory without pointers.
func (t *Type) flatten(rw unsafe.Pointer, ro, fixedOff, ownedOff, ownedLen uintptr, src unsafe.Pointer, codes *codes) error {
	move(unsafe.Add(rw, fixedOff), src, t.size)
	if len(t.ops) == 0 {
		return nil
	}
	f := flattener{rw: rw, ro: ro, cur: ownedOff, end: ownedOff + ownedLen, home: ro + fixedOff, codes: codes}
	var err error
	if t.graph {
		err = f.graph(t, src, fixedOff)
	} else {
		err = f.run(t, src, fixedOff)
	}
	if f.cur < f.end && err == nil {
		clearBytes(unsafe.Add(rw, f.cur), f.end-f.cur)
	}
	return err
}

func (f *flattener) graph(t *Type, src unsafe.Pointer, at uintptr) error {
	f.ids = newIdentity()
	if s := f.ids.root(src, t); s != nil {
		s.off = at
	}
	err := f.run(t, src, at)
	for err == nil {
		w, ok := f.ids.pop()
		if !ok {
			break
		}
		err = f.each(w.typ, w.src, w.off, w.n)
	}
	f.ids.release()
	return err
}

// reserve returns the offset of n bytes of the owned part. The gap before them is zeroed.
func (f *flattener) reserve(n, align uintptr) (uintptr, bool) {
	off := alignUp(f.cur, align)
	if off > f.end || n > f.end-off {
		return 0, false
	}
	for f.cur < off {
		*(*byte)(unsafe.Add(f.rw, f.cur)) = 0
		f.cur++
	}
	f.cur = off + n
	return off, true
}

func (f *flattener) each(t *Type, src unsafe.Pointer, at, n uintptr) error {
	for i := uintptr(0); i < n; i++ {
		if err := f.run(t, unsafe.Add(src, i*t.size), at+i*t.size); err != nil {
			return err
		}
	}
	return nil
}

// run executes the program of t, whose bytes were already moved to offset at.
// It reads each header once, so that it uses the words that it checked (LY3).
func (f *flattener) run(t *Type, src unsafe.Pointer, at uintptr) error {
	for i := range t.ops {
		o := &t.ops[i]
		p, to := unsafe.Add(src, o.off), unsafe.Add(f.rw, at+o.off)
		switch o.code {
		case opString:
			s := *(*string)(p)
			if len(s) == 0 {
				setWord(to, 0, 0)
				setWord(to, 8, 0)
				continue
			}
			n := uintptr(len(s))
			off, ok := f.reserve(n, 1)
			if !ok {
				return ErrChanged
			}
			setWord(to, 0, f.ro+off)
			setWord(to, 8, n)
			copy(bytesAt(unsafe.Add(f.rw, off), n), s)
		case opSlice:
			if !f.slice(o.typ, *(*header)(p), to) {
				return ErrChanged
			}
		case opPtr:
			if !f.pointer(o.typ, loadPointer(p), to) {
				return ErrChanged
			}
		case opTime:
			u := (*(*time.Time)(p)).UTC() // UTC also drops the monotonic reading
			*(*[3]uint64)(to) = *(*[3]uint64)(unsafe.Pointer(&u))
		case opPad:
			clearBytes(to, o.n)
		case opCoded:
			if !f.code(o.typ, p, to) {
				return ErrChanged
			}
		case opEach:
			if err := f.each(o.typ, p, at+o.off, o.n); err != nil {
				return err
			}
		}
	}
	return nil
}

// slice stores the header of h, after placing its elements. It reports false if there is no room.
func (f *flattener) slice(t *Type, h header, to unsafe.Pointer) bool {
	e := t.elem
	addr, n := f.home, h.len
	switch {
	case h.data == nil:
		addr, n = 0, 0
	case n == 0:
	case e.size == 0:
		if n > maxEmpty {
			return false
		}
	default:
		if n > maxOwned {
			return false
		}
		off, ok := f.elements(t, h.data, n)
		if !ok {
			return false
		}
		addr = f.ro + off
	}
	setWord(to, 0, addr)
	setWord(to, 8, n)
	setWord(to, 16, n)
	return true
}

// elements places the n elements at data, unless they have their place already, and returns their
// offset.
func (f *flattener) elements(t *Type, data unsafe.Pointer, n uintptr) (uintptr, bool) {
	e := t.elem
	if !t.ident {
		off, ok := f.reserve(n*e.size, e.align)
		if !ok {
			return 0, false
		}
		move(unsafe.Add(f.rw, off), data, n*e.size)
		if len(e.ops) != 0 && f.each(e, data, off, n) != nil {
			return 0, false
		}
		return off, true
	}
	s, isNew := f.ids.add(uintptr(data), t, n|sliceBit)
	if !isNew {
		return s.off, true
	}
	off, ok := f.reserve(n*e.size, e.align)
	if !ok {
		return 0, false
	}
	s.off = off
	move(unsafe.Add(f.rw, off), data, n*e.size)
	f.ids.push(work{src: data, off: off, n: n, typ: e})
	return off, true
}

// pointer stores the address of the copy of the target of data.
func (f *flattener) pointer(t *Type, data, to unsafe.Pointer) bool {
	e := t.elem
	if data == nil {
		setWord(to, 0, 0)
		return true
	}
	if e.size == 0 {
		setWord(to, 0, f.home)
		return true
	}
	s, isNew := f.ids.add(uintptr(data), e, 1)
	if isNew {
		off, ok := f.reserve(e.size, e.align)
		if !ok {
			return false
		}
		s.off = off
		move(unsafe.Add(f.rw, off), data, e.size)
		if len(e.ops) != 0 {
			f.ids.push(work{src: data, off: off, n: 1, typ: e})
		}
	}
	setWord(to, 0, f.ro+s.off)
	return true
}
