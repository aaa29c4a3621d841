// Package index defines what an index of a map is: which fields it is on, what it has of an entry,
// and in which order.
//
// Terms: an index is on one or more fields of the values, each named by a path. The field values of
// an entry are the values at these paths: a path through a slice gives one for each element, a path
// through a nil pointer none. A form is the ordered form (package layout) of the field values, one
// after another, followed by that of the key of the entry. The tree of an index is a sorted map
// from forms, as strings, to the places in them where the key begins. The registry is a sorted map
// from collections and names of indexes to their declarations; the catalog names it, and programs
// do not see it.
//
// Invariants:
//
//	IX1  The tree of an index has the forms of all entries of its map, and no others, in every
//	     version. Code that changes an entry changes the trees in the same transaction
//	     (edit.Map.set, edit.Map.remove); a conversion of a map builds its trees anew (recast,
//	     indexing.Rebuild); and no other code changes entries. Changes from a journal or a backup
//	     were made in this way, and contain the changes of the trees like those of any map.
//	IX2  The word that names the type of a map's keys says whether the map has indexes
//	     (format.Indexed). So a map without indexes costs no look into the registry. And a program
//	     that does not know indexes finds no such type: it can neither read nor change the map,
//	     nor collect or back up the space.
//	IX3  A cached declaration is that of one block of the registry's object, identified by address
//	     and birth, and never of a block that a transaction may still change: so a transaction
//	     reads the declarations of its own version.
//	IX4  The field values come first in a form, and each ends at a place that its own bytes
//	     determine. So entries with the same field value lie together, also entries with the same
//	     first of several field values, and the tree of a unique index needs no other form.
//	IX5  An index is unique if no two forms begin with the same field values. A change that would
//	     break this is refused before anything has changed.
//	IX6  One transaction declares the index and builds its tree: so a version has an index
//	     completely or not at all. No list of changes can say that a map has become indexed, so
//	     such a transaction forces an anchor, as a change of types does.
//	IX7  A declaration names its collection by an index, and does not keep it alive: the
//	     declarations of a dropped collection are removed by the next declaration or collection.
//	     Indexes of objects are never used again, so a declaration never becomes that of another
//	     collection.
//
// Start reading at Spec, then Index.Forms.
package index

import (
	"fmt"
	"slices"
	"strings"
	"time"
	"unsafe"

	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/layout"
)

// A Spec says which fields an index is on.
type Spec struct {
	Name   string
	Paths  []string // paths of the fields: names joined by dots
	Unique bool
}

// Path returns the fields as people write them.
func (s Spec) Path() string { return strings.Join(s.Paths, ",") }

// Same reports whether two specs are equal.
func (s Spec) Same(o Spec) bool {
	return s.Name == o.Name && s.Unique == o.Unique && slices.Equal(s.Paths, o.Paths)
}

// SplitPath splits fields as people write them.
func SplitPath(path string) []string {
	list := strings.Split(path, ",")
	for i := range list {
		list[i] = strings.TrimSpace(list[i])
	}
	return list
}

// RegistryName is the name of the registry in the catalog, which no program can use.
const RegistryName = "\x00indexes"

// Of names an index: it is the key of the registry.
type Of struct {
	Map  uint64 // index of the map's object
	Name string
}

// Declaration is the declaration of an index in the registry.
type Declaration struct {
	Paths  []string
	Unique bool
	Tree   Tree
}

// Tree is a handle on the tree of an index.
type Tree struct {
	_  layout.SortedOf[string, uint32]
	ID format.ID
}

// Index makes the forms of entries, and reads them. It is immutable.
type Index struct {
	Spec
	Tree format.ID
	Key  *layout.Type // of the map's keys

	parts []part
	many  bool // an entry may have several forms
	due   bool // the index of the instants at which entries expire: the zero time has no form
}

// Called returns the name of the index for messages.
func (x *Index) Called() string {
	if x.due {
		return "the index of the times at which entries expire"
	}
	return "the index " + x.Name
}

// part is the path to the values of one field.
type part struct {
	typ   *layout.Type // type of the field values
	steps []step
	text  bool // the field values are slices of bytes
}

// step goes from one variable to another.
type step struct {
	offset uintptr // offset of the next variable in this one
	follow follow
	elem   uintptr // size of the variable that a pointer or slice refers to
}

// follow says how a step ends.
type follow uint8

const (
	stay follow = iota
	target
	elements
)

// maxSteps bounds a path: types can contain themselves.
const maxSteps = 64

// An Error says why an index is impossible.
type Error struct {
	Index string
	Path  string
	What  string
}

// Error implements error.
func (e *Error) Error() string {
	return fmt.Sprintf("the index %s on %s: %s", e.Index, e.Path, e.What)
}

// Compile returns the index for maps with such keys and values.
func Compile(s Spec, key, value *layout.Type) (*Index, error) {
	x := &Index{Spec: s, Key: key}
	if err := key.OrderError(); err != nil {
		return nil, &Error{s.Name, s.Path(), "the keys of the map, of type " + key.String() + ", have no order"}
	}
	if len(s.Paths) == 0 || s.Name == "" || isOwn(s.Name) && s.Name != DueName {
		return nil, &Error{s.Name, s.Path(), "it needs a name and a field"}
	}
	for _, path := range s.Paths {
		p, many, what := compile(path, value)
		if what == "" && many && x.many {
			what = "only one field of an index can have several values"
		}
		if what != "" {
			return nil, &Error{s.Name, path, what}
		}
		x.parts, x.many = append(x.parts, p), x.many || many
	}
	return x, nil
}

// compile finds the path to a field.
func compile(path string, t *layout.Type) (p part, many bool, what string) {
	follows := func() {
		s := step{follow: target, elem: t.Elem().Size()}
		if t.Kind() == layout.Slice {
			s.follow, many = elements, true
		}
		p.steps, t = append(p.steps, s), t.Elem()
	}
	for _, name := range strings.Split(path, ".") {
		for isWay(t) && len(p.steps) < maxSteps {
			if t.Kind() == layout.Slice && many {
				return p, many, "it goes through slices of slices"
			}
			follows()
		}
		f := field(t, name)
		if f == nil {
			return p, many, fmt.Sprintf("%s has no field %s", t, name)
		}
		p.steps, t = append(p.steps, step{offset: f.Offset}), f.Type
	}
	for isWay(t) && len(p.steps) < maxSteps {
		if t.Kind() == layout.Slice && t.Elem().Kind() == layout.Uint8 {
			p.typ, p.text = t, true
			return p, many, ""
		}
		if t.Kind() == layout.Slice && many {
			return p, many, "it ends at slices of slices"
		}
		follows()
	}
	if p.typ = t; t.OrderError() != nil || len(p.steps) >= maxSteps {
		return p, many, fmt.Sprintf("values of type %s have no order; use a field of it", t)
	}
	return p, many, ""
}

// isWay reports whether values of the type refer to others.
func isWay(t *layout.Type) bool { return t.Kind() == layout.Pointer || t.Kind() == layout.Slice }

// field returns a field of a struct, nil if it has none with the name.
func field(t *layout.Type, name string) *layout.Field {
	if t.Kind() != layout.Struct {
		return nil
	}
	for i := range t.Fields() {
		if f := &t.Fields()[i]; f.Name == name {
			return f
		}
	}
	return nil
}

// Forms has the forms of one entry in one index, in order.
type Forms struct {
	buf  []byte
	list []form
	head []byte // beginning of the form that is being made
	last bounds
}

// form is the place of a form in the buffer.
type form struct{ from, key, to int }

type bounds = layout.Bounds

// Len returns how many forms there are.
func (f *Forms) Len() int { return len(f.list) }

// At returns a form, and the place in it where the key begins.
func (f *Forms) At(i int) (b []byte, key int) {
	at := f.list[i]
	return f.buf[at.from:at.to], at.key - at.from
}

// Values returns the field values of a form.
func (f *Forms) Values(i int) []byte { return f.buf[f.list[i].from:f.list[i].key] }

// Forget empties f.
func (f *Forms) Forget() { f.buf, f.list, f.head = f.buf[:0], f.list[:0], f.head[:0] }

// Same reports whether f and g have the same forms.
func (f *Forms) Same(g *Forms) bool {
	if len(f.list) != len(g.list) {
		return false
	}
	for i := range f.list {
		a, _ := f.At(i)
		if b, _ := g.At(i); string(a) != string(b) {
			return false
		}
	}
	return true
}

// Has reports whether f has a form.
func (f *Forms) Has(form []byte) bool {
	for i := range f.list {
		if b, _ := f.At(i); string(b) == string(form) {
			return true
		}
	}
	return false
}

// Forms replaces the contents of f by the forms of an entry, in order and without repetitions. Key
// and value are stored ones; everything that they refer to must lie within the bounds.
func (x *Index) Forms(f *Forms, key, value unsafe.Pointer, keyBounds, b layout.Bounds) error {
	f.Forget()
	f.last = keyBounds
	if err := x.walk(f, 0, x.parts[0].steps, value, value, key, b); err != nil {
		return err
	}
	if len(f.list) > 1 {
		compare := func(a, b form) int {
			return strings.Compare(string(f.buf[a.from:a.to]), string(f.buf[b.from:b.to]))
		}
		slices.SortFunc(f.list, compare)
		f.list = slices.CompactFunc(f.list, func(a, b form) bool { return compare(a, b) == 0 })
	}
	return nil
}

// walk follows the rest of the path to field i, from the variable at p, and then the paths to the
// fields after it, from the value.
func (x *Index) walk(f *Forms, i int, steps []step, p, value, key unsafe.Pointer, b layout.Bounds) error {
	for k, s := range steps {
		p = unsafe.Add(p, s.offset)
		if s.follow == stay {
			continue
		}
		n := uintptr(1)
		if s.follow == elements {
			n = *(*uintptr)(unsafe.Add(p, 8))
		}
		at := *(*uintptr)(p)
		if at == 0 || n == 0 {
			return nil
		}
		if !within(b, at, n, s.elem) {
			return &layout.DamageError{Type: x.Name, What: "an address outside its block"}
		}
		p = *(*unsafe.Pointer)(p)
		if s.follow == target {
			continue
		}
		for e := range n {
			mark := len(f.head)
			if err := x.walk(f, i, steps[k+1:], unsafe.Add(p, e*s.elem), value, key, b); err != nil {
				return err
			}
			f.head = f.head[:mark]
		}
		return nil
	}
	return x.arrive(f, i, p, value, key, b)
}

// within reports whether n variables of a size lie within bounds.
func within(b layout.Bounds, at, n, size uintptr) bool {
	return at >= b.Lo && at <= b.Hi && (size == 0 || n <= (b.Hi-at)/size)
}

// arrive adds the value of field i, which is at p.
func (x *Index) arrive(f *Forms, i int, p, value, key unsafe.Pointer, b layout.Bounds) (err error) {
	if x.due && (*(*time.Time)(p)).IsZero() {
		return nil
	}
	if part := &x.parts[i]; part.text {
		at, n := *(*uintptr)(p), *(*uintptr)(unsafe.Add(p, 8))
		if n > 0 && !within(b, at, n, 1) {
			return &layout.DamageError{Type: x.Name, What: "an address outside its block"}
		}
		f.head = layout.AppendOrderedBytes(f.head, unsafe.Slice(*(**byte)(p), n), layout.Inside)
	} else if f.head, err = part.typ.AppendOrdered(f.head, p, b, layout.Inside); err != nil {
		return err
	}
	if i+1 < len(x.parts) {
		return x.walk(f, i+1, x.parts[i+1].steps, value, value, key, b)
	}
	at := form{from: len(f.buf)}
	f.buf = append(f.buf, f.head...)
	at.key = len(f.buf)
	if f.buf, err = x.Key.AppendOrdered(f.buf, key, f.last, layout.Last); err != nil {
		return err
	}
	at.to = len(f.buf)
	f.list = append(f.list, at)
	return nil
}

// After returns the least string that is greater than every string that begins with b; nil if there
// is none. It may change b.
func After(b []byte) []byte {
	for i := len(b); i > 0; i-- {
		if b[i-1] != 0xff {
			b[i-1]++
			return b[:i]
		}
	}
	return nil
}
