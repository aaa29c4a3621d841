package layout

import "unsafe"

const (
	maxOwned = 1<<31 - 1 // bytes that one value may own
	maxEmpty = 1 << 20   // elements of size zero in the slices of one value
)

// measurer adds up what Flatten will place, in the same order.
type measurer struct {
	n     uintptr // bytes so far; the owned part starts at a multiple of 8
	limit uintptr
	empty uintptr
	b     Bounds // of the source
	ids   *identity

	program bool   // the source is a value of the program; else it is in its stored form
	codes   *codes // of the coded values of the program, so far
	nest    *nesting

	inside  *enclosing // nil: no pointer can point into another part
	extents []extent   // the parts so far that inside is about
}

// Measure returns the size of the owned part of the value at src, counted from an
// 8-aligned start. Errors: ErrTooLarge; an *UnstorableError if a pointer points into the middle of
// another part instead of to its beginning.
func (t *Type) Measure(src unsafe.Pointer) (owned uintptr, err error) {
	if !t.owns {
		return 0, nil
	}
	m := measurer{limit: maxOwned, b: everywhere}
	err = t.measureAll(&m, src)
	return m.n, err
}

// measureAll measures a trusted value, and refuses pointers into the middle of its parts (LY10).
func (t *Type) measureAll(m *measurer, src unsafe.Pointer) error {
	if !t.graph {
		return m.run(t, src)
	}
	if m.inside = t.enclosing(); m.inside == nil {
		return m.all(t, src)
	}
	if t.kind == Struct || t.kind == Array {
		m.extents = append(m.extents, extent{uintptr(src), uintptr(src) + t.size, t, false, true})
	}
	if err := m.all(t, src); err != nil {
		return err
	}
	if in, of := m.inside.search(m.extents); in != nil {
		return t.interior(src, in, of)
	}
	return nil
}

// measureIn is Measure of a stored value, which is not trusted.
func (t *Type) measureIn(src unsafe.Pointer, b Bounds) (owned uintptr, err error) {
	if !b.holds(uintptr(src), t.size) || uintptr(src)%t.align != 0 {
		return 0, damage(t, b, src, "the value lies outside its block")
	}
	if !t.owns {
		return 0, nil
	}
	// Alignment may differ by up to 7 bytes for each part of at least 1 byte.
	m := measurer{limit: min(8*(b.Hi-b.Lo), maxOwned), b: b}
	err = m.all(t, src)
	if err == ErrTooLarge {
		err = damage(t, b, src, "owned parts overlap")
	}
	return m.n, err
}

func (m *measurer) all(t *Type, src unsafe.Pointer) error {
	if !t.graph {
		return m.run(t, src)
	}
	m.ids = newIdentity()
	m.ids.root(src, t)
	err := m.run(t, src)
	for err == nil {
		w, ok := m.ids.pop()
		if !ok {
			break
		}
		err = m.each(w.typ, w.src, w.n)
	}
	m.ids.release()
	return err
}

func (m *measurer) each(t *Type, src unsafe.Pointer, n uintptr) error {
	for i := uintptr(0); i < n; i++ {
		if err := m.run(t, unsafe.Add(src, i*t.size)); err != nil {
			return err
		}
	}
	return nil
}

func (m *measurer) run(t *Type, src unsafe.Pointer) error {
	for i := range t.ops {
		o := &t.ops[i]
		p := unsafe.Add(src, o.off)
		switch o.code {
		case opString:
			n := word(p, 8)
			if n == 0 {
				continue
			}
			if !m.b.holds(word(p, 0), n) {
				return damage(t, m.b, p, "a string outside its block")
			}
			if n > m.limit {
				return ErrTooLarge
			}
			m.n += n
		case opSlice:
			if err := m.slice(o.typ, p); err != nil {
				return err
			}
		case opPtr:
			if err := m.pointer(o.typ, p); err != nil {
				return err
			}
		case opCoded:
			if err := m.code(o.typ, p); err != nil {
				return err
			}
		case opEach:
			if o.typ.owns {
				if err := m.each(o.typ, p, o.n); err != nil {
					return err
				}
			}
		}
		if m.n > m.limit {
			return ErrTooLarge
		}
	}
	return nil
}

func (m *measurer) slice(t *Type, p unsafe.Pointer) error {
	e, n := t.elem, word(p, 8)
	if n == 0 {
		return nil
	}
	if e.size == 0 {
		if m.empty += n; n > maxEmpty || m.empty > maxEmpty {
			return ErrTooLarge
		}
		return nil
	}
	if n > m.limit || n*e.size > m.limit {
		return ErrTooLarge
	}
	if !m.b.holds(word(p, 0), n*e.size) || word(p, 0)&(e.align-1) != 0 {
		return damage(t, m.b, p, "a slice outside its block")
	}
	data := loadPointer(p)
	if t.ident {
		if _, isNew := m.ids.add(uintptr(data), t, n|sliceBit); !isNew {
			return nil
		}
	}
	m.n = alignUp(m.n, e.align) + n*e.size
	if m.inside != nil && m.inside.slice[e] != nil {
		m.extents = append(m.extents, extent{uintptr(data), uintptr(data) + n*e.size, e, false, false})
	}
	if !e.owns {
		return nil
	}
	if t.ident {
		m.ids.push(work{src: data, n: n, typ: e})
		return nil
	}
	return m.each(e, data, n)
}

func (m *measurer) pointer(t *Type, p unsafe.Pointer) error {
	e := t.elem
	if word(p, 0) == 0 || e.size == 0 {
		return nil
	}
	if !m.b.holds(word(p, 0), e.size) || word(p, 0)&(e.align-1) != 0 {
		return damage(t, m.b, p, "a pointer outside its block")
	}
	data := loadPointer(p)
	if _, isNew := m.ids.add(uintptr(data), e, 1); !isNew {
		return nil
	}
	m.n = alignUp(m.n, e.align) + e.size
	if m.inside != nil {
		m.extents = append(m.extents, extent{uintptr(data), uintptr(data) + e.size, e, true, true})
	}
	if e.owns {
		m.ids.push(work{src: data, n: 1, typ: e})
	}
	return nil
}

// damage returns the error for the value at p in the block b.
func damage(t *Type, b Bounds, p unsafe.Pointer, what string) error {
	return &DamageError{t.String(), uintptr(p) - b.Lo, what}
}
