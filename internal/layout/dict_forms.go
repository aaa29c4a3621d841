package layout

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
	"unsafe"
)

// Dicts as JSON, in the compact form, and in conversions.

// maxNested bounds the depth of Dicts in Dicts that recursive code reads or writes.
const maxNested = 9000

// isNamed reports whether a Dict is written as a JSON object, with its keys as the names. A name that
// begins with a dollar sign rules that out: it would be read as $id, $ref or the like.
func (t *Type) isNamed(entries unsafe.Pointer, n uintptr) bool {
	if t.key.kind != String {
		return false
	}
	for i := range n {
		key := *(*string)(unsafe.Add(entries, i*t.entries.elem.size))
		if strings.HasPrefix(key, "$") || !utf8.ValidString(key) {
			return false
		}
	}
	return true
}

// mostWritten bounds the bytes written for one value. Entries that Dicts share are written once for
// each Dict, and each of n Dicts can contain the next one twice, which would be 2^n copies.
func mostWritten(dst []byte, b Bounds) int { return len(dst) + 1<<20 + 64*int(b.Hi-b.Lo) }

// dict writes the Dict at p.
func (w *printer) dict(t *Type, p unsafe.Pointer) error {
	if w.depth += 2; w.depth > maxDepth {
		return ErrTooDeep
	}
	_, entries, n := t.dict(p)
	if t.entries.ident && n > 0 && len(w.b) > w.most && w.ids.find(uintptr(entries), t.entries, n|sliceBit).off > 1 {
		return ErrTooShared
	}
	named := t.isNamed(entries, n)
	open, mid, end := `[`, `,`, `]`
	if named {
		open, mid, end = ``, `:`, ``
		w.b = append(w.b, '{')
	} else {
		w.b = append(w.b, '[')
	}
	e := t.entries.elem
	for i := range n {
		if i > 0 {
			w.b = append(w.b, ',')
		}
		at := unsafe.Add(entries, i*e.size)
		w.b = append(w.b, open...)
		if err := w.value(t.key, at); err != nil {
			return err
		}
		w.b = append(w.b, mid...)
		if err := w.value(t.elem, unsafe.Add(at, e.fields[1].Offset)); err != nil {
			return err
		}
		w.b = append(w.b, end...)
	}
	if named {
		w.b = append(w.b, '}')
	} else {
		w.b = append(w.b, ']')
	}
	w.depth -= 2
	return nil
}

// dict stores a Dict, from an object, an array of [key, value] arrays, or null for an empty Dict.
func (d *parser) dict(t *Type, off uintptr, v any) error {
	switch v := v.(type) {
	case nil:
		return nil
	case map[string]any:
		if t.key.kind != String && len(v) > 0 {
			return d.want("an array of arrays [key, value]", v)
		}
		at, err := d.placeDict(t, off, uintptr(len(v)))
		for _, name := range slices.Sorted(maps.Keys(v)) { // the order in which they were written, so that a $ref follows its $id
			if err == nil {
				err = d.string(at, name)
			}
			if err == nil {
				err = d.at("["+strconv.Quote(name)+"]", t.elem, at+t.entries.elem.fields[1].Offset, v[name])
			}
			at += t.entries.elem.size
		}
		d.depth--
		return err
	case []any:
		at, err := d.placeDict(t, off, uintptr(len(v)))
		for i, entry := range v {
			if err != nil {
				return err
			}
			pair, ok := entry.([]any)
			if !ok || len(pair) != 2 {
				return d.want("an array of arrays [key, value]", entry)
			}
			step := "[" + strconv.Itoa(i) + "]"
			if err = d.at(step+".key", t.key, at, pair[0]); err == nil {
				err = d.at(step, t.elem, at+t.entries.elem.fields[1].Offset, pair[1])
			}
			at += t.entries.elem.size
		}
		d.depth--
		return err
	}
	if t.key.kind == String {
		return d.want("an object", v)
	}
	return d.want("an array of arrays [key, value]", v)
}

// placeDict makes room for the n entries and the index of the Dict at an offset, and returns the
// offset of the entries.
func (d *parser) placeDict(t *Type, off, n uintptr) (uintptr, error) {
	if d.depth++; d.depth > maxNested {
		return 0, d.errorf("%v", ErrTooDeep)
	}
	if n == 0 {
		return 0, nil
	}
	e := t.entries.elem
	if e.size == 0 && n > 1 {
		return 0, d.errorf("%v", errTwice)
	}
	if e.size > 0 && n > maxOwned/e.size {
		return 0, d.errorf("%v", ErrTooLarge)
	}
	if slots := dictSlots(n); slots > 0 {
		at, err := d.alloc(4*slots, 4)
		if err != nil {
			return 0, err
		}
		d.putSlice(off, at, slots)
	}
	at, err := d.alloc(n*e.size, e.align)
	if err != nil {
		return 0, err
	}
	d.putSlice(off+dictEntries, at, n)
	d.dicts = append(d.dicts, unsettled{typ: t, at: off})
	return at, nil
}

// dict writes the Dict at p.
func (w *packer) dict(t *Type, p unsafe.Pointer) {
	switch w.depth++; {
	case w.err != nil:
		return
	case w.depth > maxNested:
		w.err = ErrTooDeep
		return
	case t.entries.ident && len(w.b) > w.most:
		w.err = ErrTooShared
		return
	}
	_, entries, n := t.dict(p)
	w.length(n)
	e := t.entries.elem
	for i := range n {
		at := unsafe.Add(entries, i*e.size)
		w.value(t.key, at)
		w.value(t.elem, unsafe.Add(at, e.fields[1].Offset))
		if w.err != nil {
			return
		}
	}
	w.depth--
}

// dict reads a Dict to the offset. Its entries may be in any order.
func (u *unpacker) dict(t *Type, off uintptr) error {
	n, err := u.length()
	if err != nil {
		return err
	}
	e := t.entries.elem
	if least := max(t.key.least()+t.elem.least(), 1); n > uintptr(len(u.b)-u.pos)/least && n > 1 {
		return u.errorf("want %d entries of at least %d bytes, got %d bytes", n, least, len(u.b)-u.pos)
	}
	at, err := u.d.placeDict(t, off, n)
	if err != nil {
		if e, ok := err.(*JSONError); ok {
			err = u.errorf("%s", e.What)
		}
		return err
	}
	for range n {
		if err := u.value(t.key, at); err != nil {
			return err
		}
		if err := u.value(t.elem, at+e.fields[1].Offset); err != nil {
			return err
		}
		at += e.size
	}
	u.d.depth--
	return nil
}

// dict compiles the conversion of the entries of Dicts: each is a struct of key and value.
func (m *matcher) dict(path string, p *seen, a, b *Type) *conv {
	key, value := m.part(p, path, ".key", a.key, b.key), m.part(p, path, ".value", a.elem, b.elem)
	ae, be := a.entries.elem, b.entries.elem
	entry := &conv{code: convStruct, from: ae, to: be}
	entry.steps = []convField{{key, 0, 0}, {value, ae.fields[1].Offset, be.fields[1].Offset}}
	entry.same = ae.size == be.size && ae.fields[1].Offset == be.fields[1].Offset
	entries := &conv{code: convSlice, from: a.entries, to: b.entries, elem: entry, same: true}
	for _, c := range []*conv{entry, entries} { // findSame visits them
		m.order = append(m.order, &seen{conv: c})
	}
	return entries
}

// dict converts a Dict, but for its index.
func (x *Converter) dict(c *conv, dst, src unsafe.Pointer) error {
	n := word(src, dictEntries+8)
	if n == 0 {
		return nil
	}
	if slots := dictSlots(n); slots > 0 {
		p, err := x.place(4 * slots)
		if err != nil {
			return err
		}
		setWord(dst, 0, uintptr(p))
		setWord(dst, 8, slots)
		setWord(dst, 16, slots)
	}
	x.dicts = append(x.dicts, unsettled{typ: c.to, p: dst})
	to, from := unsafe.Add(dst, dictEntries), unsafe.Add(src, dictEntries)
	return x.slice(c.elem, to, from)
}
