package layout

import (
	"errors"
	"reflect"
	"time"
	"unsafe"
)

// copier makes a private copy of a stored value in the Go heap.
type copier struct {
	b      Bounds
	budget uintptr // bytes of owned parts that the copier may still read (LY5)
	empty  uintptr // elements of size zero so far
	arena  []byte  // the rest of the allocation for strings
	ids    *identity
	nested int // envelopes that the value is in
}

var errNoGoType = errors.New("everheap: internal: a value can only be copied out with a type compiled from Go")

// CopyOut copies the stored value at src, in the block b, with all that it owns, to the Go variable
// of the same type at dst. The strings of a value share one allocation. Damage is a *DamageError, and
// then dst is undefined but valid. The type must have been compiled from a Go type. CopyOut does not
// retain the address of dst: a pointer of the value to its own fixed part becomes a pointer to a
// second copy of that part.
func (t *Type) CopyOut(dst, src unsafe.Pointer, b Bounds) error {
	if !b.holds(uintptr(src), t.size) || uintptr(src)%t.align != 0 {
		return damage(t, b, src, "the value lies outside its block")
	}
	if len(t.ops) == 0 {
		move(dst, src, t.size)
		return nil
	}
	if t.rt == nil {
		return errNoGoType
	}
	return t.copyOut(dst, src, b, false)
}

// Clone returns a deep copy of the value at p, which may be an ordinary Go value or one borrowed from
// a space.
func Clone[T any](p *T) (*T, error) {
	t, err := For[T]()
	if err != nil {
		return nil, err
	}
	if t.enclosing() != nil {
		m := measurer{limit: maxOwned, b: everywhere, program: t.coded}
		if err := t.measureAll(&m, unsafe.Pointer(p)); err != nil {
			return nil, err
		}
	}
	c := new(T)
	return c, t.copyOut(unsafe.Pointer(c), unsafe.Pointer(p), everywhere, true)
}

// copyOut copies. known says that dst is in the Go heap, so that pointers to the fixed part may refer
// to it.
func (t *Type) copyOut(dst, src unsafe.Pointer, b Bounds, known bool) error {
	c := copier{b: b}
	return c.copyAll(t, dst, src, known)
}

func (c *copier) copyAll(t *Type, dst, src unsafe.Pointer, known bool) error {
	c.budget = c.b.Hi - c.b.Lo
	if t.graph {
		if !known {
			c.budget *= 2 // for the second copy of the fixed part, and of what it owns
		}
		return c.graph(t, dst, src, known)
	}
	if err := c.strings(t, src, 1); err != nil {
		return err
	}
	return c.run(t, dst, src)
}

func (c *copier) graph(t *Type, dst, src unsafe.Pointer, known bool) error {
	c.ids = newIdentity()
	if known {
		if s := c.ids.root(src, t); s != nil {
			s.ptr = dst
		}
	}
	err := c.strings(t, src, 1)
	if err == nil {
		err = c.run(t, dst, src)
	}
	for err == nil {
		w, ok := c.ids.pop()
		if !ok {
			break
		}
		if w.off == fillTable {
			err = c.fillLater(w)
		} else if err = c.strings(w.typ, w.src, w.n); err == nil {
			err = c.each(w.typ, w.dst, w.src, w.n)
		}
	}
	c.ids.release()
	return err
}

// strings makes room for the strings of n values of t, except in the parts that are walked
// separately. It walks the same parts as run does, with a budget of its own.
func (c *copier) strings(t *Type, src unsafe.Pointer, n uintptr) error {
	budget := c.budget
	total, err := c.sum(t, src, n, &budget)
	if err != nil || total <= uintptr(len(c.arena)) {
		return err
	}
	if t.graph && c.b != everywhere {
		// Many small parts may follow; they share the room that is left over.
		total = max(total, min(c.budget, 4096))
	}
	c.arena = make([]byte, total)
	return nil
}

func (c *copier) sum(t *Type, src unsafe.Pointer, n uintptr, budget *uintptr) (total uintptr, err error) {
	for i := uintptr(0); i < n; i++ {
		for j := range t.ops {
			o := &t.ops[j]
			p := unsafe.Add(src, i*t.size+o.off)
			var more uintptr
			switch {
			case !o.owned() || o.code == opPtr || o.code == opCoded:
				continue
			case o.code == opString:
				more = word(p, 8)
				if more > *budget {
					return 0, damage(t, c.b, p, "strings overlap")
				}
				*budget -= more
			case o.code == opEach:
				more, err = c.sum(o.typ, p, o.n, budget)
			case o.typ.elem.owns && !o.typ.ident && word(p, 0) != 0 && word(p, 8) != 0:
				e, k := o.typ.elem, word(p, 8)
				if k > *budget || k*e.size > *budget || !c.b.holds(word(p, 0), k*e.size) || word(p, 0)%e.align != 0 {
					return 0, damage(t, c.b, p, "a slice outside its block")
				}
				*budget -= k * e.size
				more, err = c.sum(e, loadPointer(p), k, budget)
			}
			if err != nil {
				return 0, err
			}
			total += more
		}
	}
	return total, nil
}

func (c *copier) each(t *Type, dst, src unsafe.Pointer, n uintptr) error {
	for i := uintptr(0); i < n; i++ {
		if err := c.run(t, unsafe.Add(dst, i*t.size), unsafe.Add(src, i*t.size)); err != nil {
			return err
		}
	}
	return nil
}

// run copies one fixed part: headers and pointers by typed stores, so that the garbage collector sees
// them, and everything between as bytes.
func (c *copier) run(t *Type, dst, src unsafe.Pointer) error {
	for _, m := range t.moves {
		move(unsafe.Add(dst, m.off), unsafe.Add(src, m.off), m.n)
	}
	for i := range t.ops {
		o := &t.ops[i]
		var err error
		to, p := unsafe.Add(dst, o.off), unsafe.Add(src, o.off)
		switch o.code {
		case opString:
			err = c.string(t, to, p)
		case opSlice:
			err = c.slice(o.typ, to, p)
		case opPtr:
			err = c.pointer(o.typ, to, p)
		case opTime:
			if c.b != everywhere && !normalTime(p) {
				return damage(t, c.b, p, "a time that is not normalised")
			}
			*(*time.Time)(to) = *(*time.Time)(p)
		case opCoded:
			err = c.code(o.typ, to, p)
		case opEach:
			err = c.each(o.typ, to, p, o.n)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// normalTime reports whether the words at p are a time as Flatten stores it.
func normalTime(p unsafe.Pointer) bool {
	return word(p, 0) < 1e9 && word(p, 16) == 0
}

func (c *copier) string(t *Type, to, p unsafe.Pointer) error {
	n := word(p, 8)
	if n == 0 {
		*(*string)(to) = ""
		return nil
	}
	if !c.b.holds(word(p, 0), n) || n > c.budget || n > uintptr(len(c.arena)) {
		return damage(t, c.b, p, "a string outside its block")
	}
	c.budget -= n
	s := c.arena[:n:n]
	c.arena = c.arena[n:]
	move(unsafe.Pointer(&s[0]), loadPointer(p), n)
	*(*string)(to) = unsafe.String(&s[0], n)
	return nil
}

func (c *copier) slice(t *Type, to, p unsafe.Pointer) error {
	e, n := t.elem, word(p, 8)
	if word(p, 0) == 0 {
		if n != 0 {
			return damage(t, c.b, p, "a nil slice with elements")
		}
		*(*header)(to) = header{}
		return nil
	}
	if n == 0 || e.size == 0 {
		if c.empty += n; n > maxEmpty || c.empty > maxEmpty {
			return damage(t, c.b, p, "too many elements of size zero")
		}
		*(*header)(to) = header{unsafe.Pointer(&zero), n, n}
		return nil
	}
	if n > maxOwned || !c.b.holds(word(p, 0), n*e.size) || word(p, 0)%e.align != 0 {
		return damage(t, c.b, p, "a slice outside its block")
	}
	src := loadPointer(p)
	if t.ident {
		s, isNew := c.ids.add(uintptr(src), t, n|sliceBit)
		if !isNew {
			*(*header)(to) = header{s.ptr, n, n}
			return nil
		}
		if err := c.spend(t, p, n*e.size); err != nil {
			return err
		}
		s.ptr = newElements(t, n)
		*(*header)(to) = header{s.ptr, n, n}
		c.ids.push(work{src: src, dst: s.ptr, n: n, typ: e})
		return nil
	}
	if err := c.spend(t, p, n*e.size); err != nil {
		return err
	}
	dst := newElements(t, n)
	*(*header)(to) = header{dst, n, n}
	if len(e.ops) == 0 {
		move(dst, src, n*e.size)
		return nil
	}
	return c.each(e, dst, src, n)
}

// spend takes n bytes from the budget.
func (c *copier) spend(t *Type, p unsafe.Pointer, n uintptr) error {
	if n > c.budget {
		return damage(t, c.b, p, "owned parts overlap")
	}
	c.budget -= n
	return nil
}

// newElements allocates the n elements of a slice of type t.
func newElements(t *Type, n uintptr) unsafe.Pointer {
	e := t.elem
	switch {
	case len(e.ops) == 0 && e.align == 1:
		return unsafe.Pointer(unsafe.SliceData(make([]byte, n*e.size)))
	case len(e.ops) == 0:
		return unsafe.Pointer(unsafe.SliceData(make([]uint64, (n*e.size+7)/8)))
	case e.kind == String:
		return unsafe.Pointer(unsafe.SliceData(make([]string, n)))
	}
	rt := t.rt
	if rt.Name() != "" {
		rt = reflect.SliceOf(e.rt)
	}
	return reflect.MakeSlice(rt, int(n), int(n)).UnsafePointer()
}

func (c *copier) pointer(t *Type, to, p unsafe.Pointer) error {
	e := t.elem
	if word(p, 0) == 0 {
		storePointer(to, nil)
		return nil
	}
	if e.size == 0 {
		storePointer(to, unsafe.Pointer(&zero))
		return nil
	}
	if !c.b.holds(word(p, 0), e.size) || word(p, 0)%e.align != 0 {
		return damage(t, c.b, p, "a pointer outside its block")
	}
	src := loadPointer(p)
	s, isNew := c.ids.add(uintptr(src), e, 1)
	if !isNew {
		storePointer(to, s.ptr)
		return nil
	}
	if err := c.spend(t, p, e.size); err != nil {
		return err
	}
	s.ptr = reflect.New(e.rt).UnsafePointer()
	storePointer(to, s.ptr)
	if len(e.ops) == 0 {
		move(s.ptr, src, e.size)
		return nil
	}
	c.ids.push(work{src: src, dst: s.ptr, n: 1, typ: e})
	return nil
}
