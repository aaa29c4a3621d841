package layout

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"unsafe"
)

// A pointer can point into the middle of another part of the value, such as to an element of one of
// its slices. When stored, it would point to a copy: a change through the pointer would no longer
// change the element. So such a pointer is refused (LY10).
//
// Values of most types cannot have such pointers: no part that they reach contains, by value, the
// target type of one of their pointers. The package finds that out once for each type. For the other
// types Measure notes the parts that it has seen, and verifies afterwards that no part lies in
// another.

// enclosing says, for each part of values of a type, which pointer targets can lie inside it. A part
// goes by the type of its elements if it is a slice, and by the target's type if a pointer refers to
// it.
type enclosing struct {
	slice map[*Type]map[*Type]bool
	whole map[*Type]map[*Type]bool // the target itself is not inside
}

// nothingInside is remembered for types without interior pointers.
var nothingInside = &enclosing{}

// enclosing returns the parts that pointers in values of t can point into; nil if there are no such
// parts.
func (t *Type) enclosing() *enclosing {
	e := t.encloses.Load()
	if e == nil {
		e = t.findEnclosing()
		t.encloses.Store(e)
	}
	if e == nothingInside {
		return nil
	}
	return e
}

func (t *Type) findEnclosing() *enclosing {
	var all []*Type
	t.reaches(func(u *Type) bool { all = append(all, u); return false })
	targets := map[*Type]bool{}
	for _, u := range all {
		if u.kind == Pointer && u.elem.size > 0 {
			targets[u.elem] = true
		}
	}
	e := &enclosing{map[*Type]map[*Type]bool{}, map[*Type]map[*Type]bool{}}
	note := func(in map[*Type]map[*Type]bool, u *Type, itself bool) {
		seen := map[*Type]bool{}
		var visit func(*Type)
		visit = func(v *Type) {
			if seen[v] {
				return
			}
			seen[v] = true
			if targets[v] && (v != u || itself) {
				if in[u] == nil {
					in[u] = map[*Type]bool{}
				}
				in[u][v] = true
			}
			v.byValue(visit)
		}
		visit(u)
	}
	note(e.whole, t, false)
	for _, u := range all {
		switch u.kind {
		case Slice:
			note(e.slice, u.elem, true)
		case Pointer:
			note(e.whole, u.elem, false)
		}
	}
	if len(e.slice) == 0 && len(e.whole) == 0 {
		return nothingInside
	}
	return e
}

// extent is the memory of a part of a value: the elements of a slice, the target of a pointer, or the
// fixed part itself.
type extent struct {
	from, to uintptr
	typ      *Type // of one element
	pointer  bool  // the target of a pointer
	whole    bool  // it is one value of the type, and no slice
}

// search returns the target of a pointer that lies inside another extent, and that other extent; nil
// if no target does.
func (e *enclosing) search(list []extent) (in, of *extent) {
	slices.SortFunc(list, func(a, b extent) int {
		return cmp.Or(cmp.Compare(a.from, b.from), cmp.Compare(b.to, a.to))
	})
	for pass := range 2 { // if two are in the same place, either may be the outer one
		// The extents that reach beyond the current one: for each type the one that reaches furthest.
		var open []*extent
		for i := range list {
			x := &list[i]
			if pass == 1 {
				x = &list[len(list)-1-i]
			}
			open = slices.DeleteFunc(open, func(o *extent) bool { return pass == 0 && o.to <= x.from || pass == 1 && o.from != x.from })
			for _, o := range open {
				inside := e.slice[o.typ]
				if o.whole {
					inside = e.whole[o.typ]
				}
				if x.pointer && o.from <= x.from && x.to <= o.to && inside[x.typ] {
					return x, o
				}
			}
			if !x.whole && e.slice[x.typ] == nil || x.whole && e.whole[x.typ] == nil {
				continue
			}
			i := slices.IndexFunc(open, func(o *extent) bool { return o.typ == x.typ && o.whole == x.whole })
			if i < 0 {
				open = append(open, x)
			} else if open[i].to < x.to {
				open[i] = x
			}
		}
	}
	return nil, nil
}

// interior returns the error for the pointer to in, which lies inside the part of.
func (t *Type) interior(src unsafe.Pointer, in, of *extent) error {
	path, field := t.pathTo(src, in)
	where := "the value itself, which is copied"
	if uintptr(src) != of.from || !of.whole || of.typ != t {
		where, _ = t.pathTo(src, of)
	}
	name := in.typ.String()
	if field != nil {
		name = field.String()
	}
	return &UnstorableError{Type: t.String(), Path: path, Field: name,
		Advice: fmt.Sprintf("it points into %s, and would point to a copy once stored: store an index instead, or use pointers in both places", where)}
}

// pathTo returns the path and the type of the first pointer or slice of a value that refers to an
// extent.
func (t *Type) pathTo(src unsafe.Pointer, x *extent) (string, *Type) {
	type place struct {
		typ  *Type
		at   unsafe.Pointer
		path string
	}
	type key struct {
		addr uintptr
		typ  *Type
	}
	seen := map[key]bool{}
	for todo := []place{{t, src, ""}}; len(todo) > 0; {
		p := todo[0]
		todo = todo[1:]
		if !p.typ.owns || seen[key{uintptr(p.at), p.typ}] {
			continue
		}
		seen[key{uintptr(p.at), p.typ}] = true
		elements := func(e *Type, at unsafe.Pointer, n uintptr) {
			for i := range n {
				todo = append(todo, place{e, unsafe.Add(at, i*e.size), fmt.Sprintf("%s[%d]", p.path, i)})
			}
		}
		switch e := p.typ.elem; p.typ.kind {
		case Struct:
			for i := range p.typ.fields {
				f := &p.typ.fields[i]
				todo = append(todo, place{f.Type, unsafe.Add(p.at, f.Offset), p.path + "." + f.Name})
			}
		case Array:
			elements(e, p.at, p.typ.length)
		case Dict:
			todo = append(todo, place{p.typ.entries, unsafe.Add(p.at, dictEntries), p.path})
		case Table: // the copies of keys and values have the same pointers
			if at, err := p.typ.tableOf(p.typ.mapAt(p.at)); at != nil && err == nil {
				todo = append(todo, place{p.typ.table, at, p.path})
			}
		case Slice:
			h := *(*header)(p.at)
			if !x.whole && uintptr(h.data) == x.from && e == x.typ && h.len*e.size == x.to-x.from {
				return strings.TrimPrefix(p.path, "."), p.typ
			}
			if h.len > 0 {
				elements(e, h.data, h.len)
			}
		case Pointer:
			data := loadPointer(p.at)
			if x.whole && uintptr(data) == x.from && e == x.typ {
				return strings.TrimPrefix(p.path, "."), p.typ
			}
			if data != nil && e.size > 0 {
				todo = append(todo, place{e, data, p.path})
			}
		}
	}
	return "", nil
}
