// Package indexing declares indexes, builds them from the entries of a map, drops them, verifies
// them, and looks values up in them. Package index defines what an index is; package edit calls
// this package's Keeper while entries change.
//
// To build a tree, the package first makes and sorts the forms of all entries, in memory: so if two
// entries have the same field values in a unique index, it refuses the index before anything has
// changed.
//
// Start reading at Declare, then forms.build.
package indexing

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"time"
	"unsafe"

	"github.com/everheap/everheap/internal/edit"
	"github.com/everheap/everheap/internal/failure"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/index"
	"github.com/everheap/everheap/internal/layout"
)

// Progress is called with how many of all entries are done; it may be nil.
type Progress func(done, total int)

// interval is how often Progress is called.
const interval = 100 * time.Millisecond

// Has reports whether a map has the index of a spec. If the spec is named after its fields, an
// index on the same fields with another name counts too. The error is ErrExists if the name belongs
// to a different index.
func Has(ed *edit.Editor, of uint64, spec index.Spec) (has bool, err error) {
	err = eachIndex(ed, of, func(name string, d *index.Declaration) error {
		s := index.Spec{Name: name, Paths: d.Paths, Unique: d.Unique}
		switch {
		case s.Same(spec), spec.Name == spec.Path() && s.Unique == spec.Unique && slices.Equal(s.Paths, spec.Paths):
			has = true
		case name == spec.Name:
			return fmt.Errorf("%w: an index %s, %s; drop it first if it is to be %s", failure.ErrExists, name, describe(s), describe(spec))
		}
		return nil
	})
	return has, err
}

// Missing returns the indexes that a map lacks. With replace, an index also counts as missing if
// its name belongs to a different one.
func Missing(ed *edit.Editor, of uint64, specs []index.Spec, replace bool) (missing []index.Spec, err error) {
	for _, spec := range specs {
		has, err := Has(ed, of, spec)
		if errors.Is(err, failure.ErrExists) && replace {
			has, err = false, nil
		}
		if err != nil {
			return nil, err
		}
		if !has {
			missing = append(missing, spec)
		}
	}
	return missing, nil
}

// DeclareMissing declares the indexes that Missing returns. With replace, it first drops the
// different index.
func DeclareMissing(ed *edit.Editor, id format.ID, specs []index.Spec, replace bool, tell Progress) error {
	list, err := Missing(ed, id.Index(), specs, replace)
	for i := 0; err == nil && i < len(list); i++ {
		if replace {
			_, err = Drop(ed, id, list[i].Name)
		}
		if err == nil {
			err = Declare(ed, id, list[i], tell)
		}
	}
	return err
}

// describe describes an index for messages.
func describe(s index.Spec) string {
	if s.Unique {
		return "unique on " + s.Path()
	}
	return "on " + s.Path()
}

// Declare gives a map an index, unless it has that index already, and builds it. The error is
// ErrUnstorable if the fields cannot have an index, and ErrDuplicate if the index is unique and two
// entries have the same field values; then nothing has changed.
func Declare(ed *edit.Editor, id format.ID, spec index.Spec, tell Progress) error {
	m, object, err := ed.MapByID(id)
	if err != nil {
		return err
	}
	if has, err := Has(ed, m.Index(), spec); has || err != nil {
		return err
	}
	if ed.Write == nil {
		return fmt.Errorf("%w: use an Update to declare an index", failure.ErrReadOnly)
	}
	x, err := compile(spec, m)
	if err != nil {
		return err
	}
	if spec.Unique { // expired entries must not conflict with others
		if _, _, err := RemoveGone(ed, id, nil); err != nil {
			return err
		}
		if m, object, err = ed.MapByID(id); err != nil {
			return err
		}
	}
	if err := ed.BeginChange(); err != nil {
		return err
	}
	defer ed.EndChange()
	var f forms
	if err := f.collect(ed, x, m, object, tell); err != nil {
		return err
	}
	ed.Write.Unlist() // IX6
	if err := f.enter(ed, x.Name, x.Paths, x.Unique, m, tell); err != nil {
		return ed.Fail(err)
	}
	if err := ed.MarkIndexed(m.Index(), m.Kind(), true, m.Expires()); err != nil {
		return err
	}
	_, err = Purge(ed)
	return err
}

// compile is index.Compile for a map.
func compile(spec index.Spec, m *edit.Map) (*index.Index, error) {
	x, err := index.Compile(spec, m.Shape().Key, m.Shape().Value)
	return x, unstorable(err)
}

// unstorable turns an error of package index into the public error.
func unstorable(err error) error {
	if e := (*index.Error)(nil); errors.As(err, &e) {
		return &failure.TypeError{Kind: failure.ErrUnstorable, Lines: []string{err.Error()}}
	}
	return err
}

// Drop drops an index, and reports whether the map had it.
func Drop(ed *edit.Editor, id format.ID, name string) (bool, error) {
	m, _, err := ed.MapByID(id)
	if of := (index.Of{Name: name}); err != nil || !m.Indexed() || of.IsOwn() {
		return false, err
	}
	registry, _, err := registryOf(ed)
	if err != nil || registry == nil {
		return false, err
	}
	if ed.Write == nil {
		return false, fmt.Errorf("%w: use an Update to drop an index", failure.ErrReadOnly)
	}
	if err := ed.BeginChange(); err != nil {
		return false, err
	}
	defer ed.EndChange()
	removed, err := registry.Delete(ed, unsafe.Pointer(&index.Of{Map: m.Index(), Name: name}))
	if err != nil || !removed {
		return removed, err
	}
	left := 0
	err = eachDeclaration(ed, m.Index(), func(string, *index.Declaration) error { left++; return nil })
	if err == nil && left == 0 {
		ed.Write.Unlist() // IX6
		err = ed.MarkIndexed(m.Index(), m.Kind(), false, false)
	}
	return true, err
}

// Info is an index that a map has.
type Info struct {
	index.Spec
	Count uint64 // number of forms
}

// List returns the indexes of a map, by name.
func List(ed *edit.Editor, id format.ID) (list []Info, err error) {
	m, _, err := ed.MapByID(id)
	if err != nil || !m.Indexed() {
		return nil, err
	}
	err = eachIndex(ed, m.Index(), func(name string, d *index.Declaration) error {
		l, err := OpenStored(ed, id, name)
		i := Info{Spec: index.Spec{Name: name, Paths: d.Paths, Unique: d.Unique}}
		if err == nil {
			i.Count, err = l.Rank(nil)
		}
		list = append(list, i)
		return err
	})
	return list, err
}

// Purge removes the declarations of collections that do not exist any more (IX7), and reports
// whether there were any.
func Purge(ed *edit.Editor) (bool, error) {
	var gone []index.Of
	err := declarations(ed, edit.Bound{}, edit.Bound{}, func(of index.Of, _ *index.Declaration) error {
		if ed.IsGone(of.Map) {
			gone = append(gone, of)
		}
		return nil
	})
	if err != nil || len(gone) == 0 {
		return false, err
	}
	registry, _, err := registryOf(ed)
	if err != nil {
		return false, err
	}
	for i := range gone {
		if _, err := registry.Delete(ed, unsafe.Pointer(&gone[i])); err != nil {
			return false, err
		}
	}
	return true, nil
}

// Rebuild rebuilds the indexes of a map for its present types and entries (IX1). The error is
// ErrTypeChanged if the values lack a field of an index, and ErrDuplicate if two entries now have
// the same field values in a unique index.
func Rebuild(ed *edit.Editor, id format.ID, tell Progress) error {
	return rebuild(ed, id, tell, false)
}

// rebuild is Rebuild. If lenient is set, it makes a unique index with equal field values one that
// is not unique, and drops an index that is impossible.
func rebuild(ed *edit.Editor, id format.ID, tell Progress, lenient bool) error {
	m, object, err := ed.MapByID(id)
	if err != nil || !m.Indexed() {
		return err
	}
	if m.Expires() {
		if err := rebuildExpiry(ed, m, tell, lenient); err != nil {
			return err
		}
		if m, object, err = ed.MapByID(id); err != nil {
			return err
		}
	}
	var specs []index.Spec
	err = eachIndex(ed, m.Index(), func(name string, d *index.Declaration) error {
		specs = append(specs, index.Spec{Name: name, Paths: d.Paths, Unique: d.Unique}.Follow(m.Shape().Value))
		return nil
	})
	if err != nil {
		return err
	}
	for _, spec := range specs {
		x, err := index.Compile(spec, m.Shape().Key, m.Shape().Value)
		if err != nil && lenient {
			registry, _, err := registryOf(ed)
			if err == nil {
				_, err = registry.Delete(ed, unsafe.Pointer(&index.Of{Map: m.Index(), Name: spec.Name}))
			}
			if err != nil {
				return err
			}
			continue
		}
		if err != nil {
			return &failure.TypeError{Kind: failure.ErrTypeChanged, Lines: []string{"  " + err.Error(), "  drop the index first, or name the former field with a tag was="}}
		}
		var f forms
		err = f.collect(ed, x, m, object, tell)
		if errors.Is(err, failure.ErrDuplicate) && lenient {
			x.Unique = false
			err = f.collect(ed, x, m, object, tell)
		}
		if err != nil {
			return err
		}
		if err := f.enter(ed, x.Name, x.Paths, x.Unique, m, tell); err != nil {
			return err
		}
	}
	return nil
}

// RebuildAll rebuilds the indexes of all maps of a space that may have lost parts of them. A unique
// index in which two entries have the same field values becomes one that is not unique, and an
// index that is impossible is dropped.
func RebuildAll(ed *edit.Editor) error {
	if _, err := Purge(ed); err != nil {
		return err
	}
	maps := map[uint64]bool{}
	err := declarations(ed, edit.Bound{}, edit.Bound{}, func(of index.Of, _ *index.Declaration) error { maps[of.Map] = true; return nil })
	for of := range maps {
		if err == nil {
			err = rebuild(ed, format.MakeID(ed.Tag(), of), nil, true)
		}
	}
	return err
}

// forms has the forms of all entries of a map.
type forms struct {
	buf  []byte
	list []place
}

// place is the place of a form in the buffer, and of the key in the form.
type place struct {
	from     uint64
	key, len uint32
}

func (f *forms) at(i int) []byte {
	p := &f.list[i]
	return f.buf[p.from : p.from+uint64(p.len) : p.from+uint64(p.len)]
}

// collect makes the forms of all entries, sorted.
func (f *forms) collect(ed *edit.Editor, x *index.Index, m *edit.Map, object *format.MapObject, tell Progress) error {
	f.buf, f.list = f.buf[:0], f.list[:0]
	var one index.Forms
	var failed error
	done, told, total := 0, time.Now(), int(object.Count)
	sh := m.Shape()
	err := m.Each(ed, object, func(e unsafe.Pointer) bool {
		b := ed.Bounds(e)
		if failed = x.Forms(&one, sh.KeyOf(e), sh.ValueOf(e), b, b); failed != nil {
			return false
		}
		for i := range one.Len() {
			form, key := one.At(i)
			f.add(form, key)
		}
		if done++; tell != nil && done%1024 == 0 && time.Since(told) > interval {
			tell(done/2, total)
			told = time.Now()
		}
		return true
	})
	if failed != nil {
		return failed
	}
	if err != nil {
		return err
	}
	f.sort()
	for i := 1; x.Unique && i < len(f.list); i++ {
		a, b := f.at(i-1), f.at(i)
		if bytes.Equal(a[:f.list[i-1].key], b[:f.list[i].key]) {
			return duplicate(x, b, a)
		}
	}
	return nil
}

// enter makes a tree of the forms, and enters the declaration of the index.
func (f *forms) enter(ed *edit.Editor, name string, paths []string, unique bool, m *edit.Map, tell Progress) error {
	registry, err := makeRegistry(ed)
	if err != nil {
		return err
	}
	tree, err := ed.NewSorted(keeperOf(ed).tree)
	if err != nil {
		return err
	}
	told := time.Now()
	for i := range f.list {
		if err := putForm(ed, tree, f.at(i), int(f.list[i].key)); err != nil {
			return err
		}
		if tell != nil && i%1024 == 0 && time.Since(told) > interval {
			tell((len(f.list)+i)/2, len(f.list))
			told = time.Now()
		}
	}
	of := index.Of{Map: m.Index(), Name: name}
	d := index.Declaration{Paths: paths, Unique: unique, Tree: index.Tree{ID: tree.ID(ed)}}
	if err := registry.Set(ed, unsafe.Pointer(&of), unsafe.Pointer(&d)); err != nil {
		return err
	}
	if tell != nil {
		tell(len(f.list), len(f.list))
	}
	return nil
}

// Verify compares all indexes with the entries of their maps, and calls find with each object that
// disagrees, and how (IX1).
func Verify(ed *edit.Editor, find func(object uint64, what string)) error {
	maps := map[uint64]bool{}
	err := declarations(ed, edit.Bound{}, edit.Bound{}, func(of index.Of, _ *index.Declaration) error {
		maps[of.Map] = true
		return nil
	})
	for of := range maps {
		if err != nil {
			return err
		}
		if !ed.IsGone(of) {
			err = verify(ed, format.MakeID(ed.Tag(), of), find)
		}
	}
	return err
}

func verify(ed *edit.Editor, id format.ID, find func(object uint64, what string)) error {
	m, object, err := ed.MapByID(id)
	if err != nil {
		return err
	}
	if !m.Indexed() {
		find(m.Index(), "the registry has an index of the map, but the map is not marked as indexed")
		return nil
	}
	indexes, err := indexesOf(ed, m)
	if err != nil {
		return err
	}
	if ttl := indexes.ttl(); ttl != nil {
		if err := verifyTimes(ed, m, object, ttl, find); err != nil {
			return err
		}
	}
	for i, x := range indexes.list {
		tree, root, err := indexes.object(ed, i)
		if err != nil {
			find(m.Index(), err.Error())
			continue
		}
		var one index.Forms
		count, missing := uint64(0), 0
		var failed error
		err = m.Each(ed, object, func(e unsafe.Pointer) bool {
			b := ed.Bounds(e)
			if failed = x.Forms(&one, m.Shape().KeyOf(e), m.Shape().ValueOf(e), b, b); failed != nil {
				return false
			}
			for k := range one.Len() {
				form, at := one.At(k)
				text := string(form)
				var found unsafe.Pointer
				if found, failed = tree.Find(ed, root, layout.NoEscape(&text)); failed != nil {
					return false
				}
				count++
				if found == nil || *(*uint32)(tree.Shape().ValueOf(found)) != uint32(at) {
					if missing++; missing <= 3 {
						values, key := x.Text(form)
						find(m.Index(), fmt.Sprintf("%s lacks %s of the key %s", x.Called(), values, key))
					}
				}
			}
			return true
		})
		if err = errors.Join(failed, err); err != nil {
			return err
		}
		if missing > 3 {
			find(m.Index(), fmt.Sprintf("%s lacks %d of %d entries", x.Called(), missing, count))
		}
		if missing == 0 && root.Count != count {
			find(m.Index(), fmt.Sprintf("%s has %d entries, and the map %d for it", x.Called(), root.Count, count))
		}
	}
	return nil
}
