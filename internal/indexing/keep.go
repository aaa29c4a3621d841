package indexing

import (
	"fmt"
	"sync/atomic"
	"unsafe"

	"github.com/everheap/everheap/internal/edit"
	"github.com/everheap/everheap/internal/entry"
	"github.com/everheap/everheap/internal/failure"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/index"
	"github.com/everheap/everheap/internal/layout"
)

// Keeper changes the indexes of a space together with its entries; see edit.Keeper. A process has
// one Keeper a space.
type Keeper struct {
	registry atomic.Uint64 // index of the registry's object when it was last found
	declared *entry.Shape  // shape of the registry
	tree     *entry.Shape  // shape of the trees
	of       [64]atomic.Pointer[declared]

	// Only the transaction that has the queue uses these.
	was, now []index.Forms
	made     index.Forms
	life     lifetime
}

// declared has the indexes of a map, as a block of the registry declares them (IX3). It is never
// changed.
type declared struct {
	list []*index.Index
	tree []*edit.Map

	expiry *expiring // nil if entries do not expire

	of         uint64
	key, value uint64
	block      format.Addr
	birth      format.Version
}

// Attach gives a store a Keeper.
func Attach(s *edit.Store) {
	of, _ := layout.For[index.Of]()
	declaration, _ := layout.For[index.Declaration]()
	text, _ := layout.For[string]()
	at, _ := layout.For[uint32]()
	s.Keep(&Keeper{declared: s.Shape(of, declaration), tree: s.Shape(text, at)})
}

// keeperOf returns the keeper of an editor's space.
func keeperOf(ed *edit.Editor) *Keeper { return ed.Store().Keeper().(*Keeper) }

// registryOf returns the registry of indexes; nil if the version has none.
func registryOf(ed *edit.Editor) (*edit.Map, *format.MapObject, error) {
	k := keeperOf(ed)
	if index := k.registry.Load(); index != 0 {
		m := edit.SortedAt(index, k.declared)
		if object, err := m.Object(ed); err == nil { // it is the registry: a version has one at most, and its index is never another object's
			return m, object, nil
		}
	}
	index, err := ed.Registry()
	if err != nil || index == 0 {
		return nil, nil, err
	}
	m := edit.SortedAt(index, k.declared)
	object, err := m.Object(ed)
	if err != nil {
		return nil, nil, err
	}
	if err := k.fits(ed, object); err != nil {
		return nil, nil, err
	}
	if ed.Lasts(unsafe.Pointer(object)) {
		k.registry.Store(index)
	}
	return m, object, nil
}

// fits returns an error if the registry has types that this program does not know.
func (k *Keeper) fits(ed *edit.Editor, object *format.MapObject) error {
	key, err := ed.StoredType(object.KeyType())
	if err != nil {
		return err
	}
	value, err := ed.StoredType(object.Value)
	if err != nil {
		return err
	}
	if !layout.Same(key, k.declared.Key) || !layout.Same(value, k.declared.Value) {
		return &failure.TypeError{Kind: failure.ErrTypeChanged, Lines: []string{"  another version of this library wrote the declarations of indexes: use that version"}}
	}
	return nil
}

// makeRegistry is registryOf, but creates the registry if there is none.
func makeRegistry(ed *edit.Editor) (*edit.Map, error) {
	m, _, err := registryOf(ed)
	if err != nil || m != nil {
		return m, err
	}
	if m, err = ed.NewSorted(keeperOf(ed).declared); err == nil {
		err = ed.PutRegistry(m)
	}
	return m, err
}

// indexesOf returns the indexes of a map.
func indexesOf(ed *edit.Editor, m *edit.Map) (*declared, error) {
	if !m.Indexed() {
		return &declared{}, nil
	}
	registry, object, err := registryOf(ed)
	if err != nil {
		return nil, err
	}
	if registry == nil { // a salvage can lose the registry
		return &declared{}, nil
	}
	k := keeperOf(ed)
	key, value := m.Types()
	block, birth := ed.Written(unsafe.Pointer(object))
	place := &k.of[m.Index()%uint64(len(k.of))]
	if x := place.Load(); x != nil && x.of == m.Index() && x.block == block && x.birth == birth && x.key == key && x.value == value {
		return x, nil
	}
	x := &declared{of: m.Index(), key: key, value: value, block: block, birth: birth}
	err = eachDeclaration(ed, m.Index(), func(name string, d *index.Declaration) error {
		if of := (index.Of{Name: name}); of.IsOwn() {
			return x.addExpiry(k, m, name, d)
		}
		i, err := index.Compile(index.Spec{Name: name, Paths: d.Paths, Unique: d.Unique}, m.Shape().Key, m.Shape().Value)
		if err != nil {
			return err
		}
		x.list = append(x.list, i)
		x.tree = append(x.tree, edit.SortedAt(d.Tree.ID.Index(), k.tree))
		return nil
	})
	if err != nil {
		return nil, err
	}
	if ed.Lasts(unsafe.Pointer(object)) { // IX3
		place.Store(x)
	}
	return x, nil
}

// eachDeclaration calls each with the declarations of the indexes of a map, by name.
func eachDeclaration(ed *edit.Editor, of uint64, each func(name string, d *index.Declaration) error) error {
	from, to := index.Of{Map: of}, index.Of{Map: of + 1}
	return declarations(ed, edit.Bound{Key: unsafe.Pointer(&from)}, edit.Bound{Key: unsafe.Pointer(&to)},
		func(of index.Of, d *index.Declaration) error { return each(of.Name, d) })
}

// eachIndex is eachDeclaration without the declaration of an expiry.
func eachIndex(ed *edit.Editor, of uint64, each func(name string, d *index.Declaration) error) error {
	return eachDeclaration(ed, of, func(name string, d *index.Declaration) error {
		if of := (index.Of{Name: name}); of.IsOwn() {
			return nil
		}
		return each(name, d)
	})
}

// declarations calls each with the declarations between two bounds.
func declarations(ed *edit.Editor, from, to edit.Bound, each func(of index.Of, d *index.Declaration) error) error {
	m, object, err := registryOf(ed)
	if err != nil || m == nil {
		return err
	}
	var failed error
	sh := m.Shape()
	err = m.Between(ed, object, from, to, false, func(e unsafe.Pointer) bool {
		var of index.Of
		var d index.Declaration
		if failed = sh.Key.CopyOut(unsafe.Pointer(&of), sh.KeyOf(e), ed.Bounds(e)); failed == nil {
			failed = sh.Value.CopyOut(unsafe.Pointer(&d), sh.ValueOf(e), ed.Bounds(e))
		}
		if failed == nil {
			failed = each(of, &d)
		}
		return failed == nil
	})
	if failed != nil {
		return failed
	}
	return err
}

// everywhere are the bounds for values in Go memory.
var everywhere = layout.Bounds{Hi: ^uintptr(0)}

// Set implements edit.Keeper. It makes the forms of the program's value first, to check them before
// anything changes, and then those of the stored value: so the indexes have the forms of the copy.
func (k *Keeper) Set(ed *edit.Editor, m *edit.Map, key, value unsafe.Pointer) error {
	x, err := indexesOf(ed, m)
	if err != nil {
		return err
	}
	object, err := m.Object(ed)
	if err != nil {
		return err
	}
	old, err := m.Find(ed, object, key)
	if err != nil {
		return err
	}
	was, now := k.forms(len(x.list))
	for i, of := range x.list {
		if err := formsOf(ed, m, of, &was[i], old); err != nil {
			return err
		}
		if err := of.Forms(&now[i], key, value, everywhere, everywhere); err != nil {
			return err
		}
		if of.Unique && !now[i].Same(&was[i]) {
			if removed, err := k.checkUnique(ed, m, object, x, i, &now[i]); err != nil {
				return err
			} else if removed {
				return k.Set(ed, m, key, value) // a removal has changed the map: begin again
			}
		}
	}
	if err := k.life.begin(ed, m, x.ttl(), key, old); err != nil {
		return err
	}
	if k.life.of != nil {
		k.life.set(ed.Time())
	}
	stored, err := m.SetAlone(ed, key, value)
	if err != nil {
		return err
	}
	for i, of := range x.list {
		if err := formsOf(ed, m, of, &k.made, stored); err != nil {
			return ed.Fail(err)
		}
		if !k.made.Same(&now[i]) {
			return ed.Fail(layout.ErrChanged) // the program changed the value between the first look and the copy
		}
		if err := changeForms(ed, of, x.tree[i], &was[i], &now[i]); err != nil {
			return err
		}
	}
	return k.life.end(ed)
}

// Remove implements edit.Keeper.
func (k *Keeper) Remove(ed *edit.Editor, m *edit.Map, key unsafe.Pointer) (bool, error) {
	there, gone, err := k.remove(ed, m, key)
	return there && !gone, err
}

// remove removes an entry, and reports whether it existed, and whether it had expired.
func (k *Keeper) remove(ed *edit.Editor, m *edit.Map, key unsafe.Pointer) (there, gone bool, err error) {
	x, err := indexesOf(ed, m)
	if err != nil {
		return false, false, err
	}
	object, err := m.Object(ed)
	if err != nil {
		return false, false, err
	}
	old, err := m.Find(ed, object, key)
	if err != nil || old == nil {
		return false, false, err
	}
	if x.expiry.whole() {
		if gone, err = x.expiry.gone(ed, m, old, ed.Time()); err != nil {
			return false, false, err
		}
	}
	was, now := k.forms(len(x.list))
	for i, of := range x.list {
		if err := formsOf(ed, m, of, &was[i], old); err != nil {
			return false, false, err
		}
	}
	if err := k.life.begin(ed, m, x.ttl(), key, old); err != nil {
		return false, false, err
	}
	removed, err := m.RemoveAlone(ed, key)
	if err != nil || !removed {
		return removed, gone, err
	}
	for i, of := range x.list {
		if err := changeForms(ed, of, x.tree[i], &was[i], &now[i]); err != nil {
			return false, false, err
		}
	}
	return true, gone, k.life.end(ed)
}

// forms returns scratch space for the forms of an entry before and after a change.
func (k *Keeper) forms(n int) (was, now []index.Forms) {
	for len(k.was) < n {
		k.was, k.now = append(k.was, index.Forms{}), append(k.now, index.Forms{})
	}
	for i := range n {
		k.was[i].Forget()
		k.now[i].Forget()
	}
	return k.was, k.now
}

// formsOf makes f the forms of a stored entry; none if e is nil.
func formsOf(ed *edit.Editor, m *edit.Map, of *index.Index, f *index.Forms, e unsafe.Pointer) error {
	if f.Forget(); e == nil {
		return nil
	}
	b := ed.Bounds(e)
	return of.Forms(f, m.Shape().KeyOf(e), m.Shape().ValueOf(e), b, b)
}

// checkUnique returns an error if an index has another entry with the field values that one entry
// is about to get (IX5). If that other entry has expired, checkUnique removes it instead, and the
// caller begins again.
func (k *Keeper) checkUnique(ed *edit.Editor, m *edit.Map, entries *format.MapObject, x *declared, at int, now *index.Forms) (removed bool, err error) {
	of, tree := x.list[at], x.tree[at]
	object, err := tree.Object(ed)
	if err != nil {
		return false, err
	}
	for i := range now.Len() {
		form, at := now.At(i)
		values := unsafe.String(unsafe.SliceData(form), at)
		other, begins, err := atLeast(ed, tree, object, form[:at])
		if err != nil {
			return false, err
		}
		if other == "" || begins != at || other[:at] != values || other == unsafe.String(unsafe.SliceData(form), len(form)) {
			continue
		}
		if x.expiry.whole() {
			e, err := entryOf(ed, m, entries, other, at)
			if err != nil {
				return false, err
			}
			if e != nil {
				if gone, err := x.expiry.gone(ed, m, e, ed.Time()); err != nil {
					return false, err
				} else if gone {
					ed.BorrowPart(edit.StoredPart{Pointer: e, Bounds: ed.Bounds(e)}) // remove reads its key while it removes it
					_, _, err := k.remove(ed, m, m.Shape().KeyOf(e))
					return true, err
				}
			}
		}
		return false, duplicate(of, form, []byte(other))
	}
	return false, nil
}

// duplicate is the error for two forms with the same field values.
func duplicate(of *index.Index, form, other []byte) error {
	d := &failure.DuplicateError{Index: of.Name, Path: of.Path()}
	d.Value, d.Key = of.Text(form)
	_, d.Other = of.Text(other)
	return d
}

// formIn returns the form in an entry of a tree, and the place in it where the key begins.
func formIn(ed *edit.Editor, tree *edit.Map, e unsafe.Pointer) (form string, at int, err error) {
	key, err := tree.Shape().StoredKey(ed.Reader, e)
	if err != nil {
		return "", 0, err
	}
	form = *(*string)(key)
	if at = int(*(*uint32)(tree.Shape().ValueOf(e))); at > len(form) {
		return "", 0, &format.DamageError{File: "heap", What: "the tree of an index has an entry without a key"}
	}
	return form, at, nil
}

// changeForms replaces the forms of an entry in a tree. After an error the transaction can only
// abort.
func changeForms(ed *edit.Editor, of *index.Index, tree *edit.Map, was, now *index.Forms) error {
	if was.Same(now) {
		return nil
	}
	for i := range was.Len() {
		form, _ := was.At(i)
		if now.Has(form) {
			continue
		}
		text := unsafe.String(unsafe.SliceData(form), len(form))
		removed, err := tree.RemoveAlone(ed, layout.NoEscape(&text))
		if err == nil && !removed {
			err = &format.DamageError{File: "heap", What: of.Called() + " lacks an entry"}
		}
		if err != nil {
			return ed.Fail(err)
		}
	}
	for i := range now.Len() {
		form, at := now.At(i)
		if was.Has(form) {
			continue
		}
		if err := putForm(ed, tree, form, at); err != nil {
			return err
		}
	}
	return nil
}

// putForm adds a form to a tree. After an error the transaction can only abort.
func putForm(ed *edit.Editor, tree *edit.Map, form []byte, at int) error {
	text, begins := unsafe.String(unsafe.SliceData(form), len(form)), uint32(at)
	if err := tree.PutAlone(ed, layout.NoEscape(&text), layout.NoEscape(&begins)); err != nil {
		return ed.Fail(err)
	}
	return nil
}

// object returns the tree of one of the indexes, and its object.
func (x *declared) object(ed *edit.Editor, i int) (*edit.Map, *format.MapObject, error) {
	object, err := x.tree[i].Object(ed)
	if err != nil {
		return nil, nil, fmt.Errorf("the tree of the index %s: %w", x.list[i].Name, err)
	}
	return x.tree[i], object, nil
}
