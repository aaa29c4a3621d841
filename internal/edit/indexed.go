package edit

import (
	"errors"
	"fmt"
	"sync/atomic"
	"unsafe"

	"github.com/everheap/everheap/internal/btree"
	"github.com/everheap/everheap/internal/entry"
	"github.com/everheap/everheap/internal/failure"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/index"
	"github.com/everheap/everheap/internal/layout"
	"github.com/everheap/everheap/internal/table"
)

// What keeps the indexes of a map while its entries change: see package index. A map that has
// none does not come here.

// indexing is what the editors of a space have in common about indexes.
type indexing struct {
	registry atomic.Uint64 // index of the registry when it was found last
	declared *entry.Shape  // of the registry
	tree     *entry.Shape  // of the trees
	of       [64]atomic.Pointer[Indexes]

	// Of the transaction that has the queue.
	was, now []index.Forms
	made     index.Forms
}

// Indexes are those of a map, as a block of the registry declares them (IX3). It is never changed.
type Indexes struct {
	List []*index.Index
	tree []*Map

	of         uint64
	key, value uint64
	block      format.Addr
	birth      format.Version
}

// openIndexes sets up what the store has for indexes.
func (s *Store) openIndexes() {
	of, _ := layout.For[index.Of]()
	declaration, _ := layout.For[index.Declaration]()
	text, _ := layout.For[string]()
	at, _ := layout.For[uint32]()
	s.index.declared, s.index.tree = s.Shape(of, declaration), s.Shape(text, at)
}

// Indexed reports whether the map has indexes (IX2).
func (m *Map) Indexed() bool { return m.key&format.Indexed != 0 }

// Registry returns the registry of indexes; nil if the version has none.
func (ed *Editor) Registry() (*Map, *format.MapObject, error) {
	s := ed.store
	index := s.index.registry.Load()
	var object *format.MapObject
	if index != 0 {
		object, _ = ed.entriesObject(index, format.KindSorted)
	}
	if object == nil { // else it is the one: a version has no other, and an index no other object
		var found bool
		var err error
		if index, found, err = ed.lookup(ed.State.Catalog, registryName); err != nil || !found {
			return nil, nil, err
		}
		if object, err = ed.entriesObject(index, format.KindSorted); err != nil {
			return nil, nil, err
		}
		if err := ed.registryFits(object); err != nil {
			return nil, nil, err
		}
		if ed.published(index) {
			s.index.registry.Store(index)
		}
	}
	return &Map{index: index, kind: format.KindSorted, key: object.Key, value: object.Value, shape: s.index.declared}, object, nil
}

const registryName = index.RegistryName

// registryFits returns an error if the registry has other types than this program knows.
func (ed *Editor) registryFits(object *format.MapObject) error {
	key, err := ed.StoredType(object.KeyType())
	if err != nil {
		return err
	}
	value, err := ed.StoredType(object.Value)
	if err != nil {
		return err
	}
	if sh := ed.store.index.declared; !layout.Same(key, sh.Key) || !layout.Same(value, sh.Value) {
		return &TypeError{Kind: ErrTypeChanged, Lines: []string{"  the declarations of indexes are those of another version of this library: use that one"}}
	}
	return nil
}

// MakeRegistry is Registry; it creates one if there is none.
func (ed *Editor) MakeRegistry() (*Map, *format.MapObject, error) {
	m, object, err := ed.Registry()
	if err != nil || m != nil {
		return m, object, err
	}
	of, err := ed.newMapOf(ed.store.index.declared)
	if err == nil {
		err = ed.enroll(ed.State.Catalog, registryName, of)
	}
	if err != nil {
		return nil, nil, err
	}
	return ed.Registry()
}

// NewIndexTree makes an empty tree of an index.
func (ed *Editor) NewIndexTree() (*Map, error) {
	of, err := ed.newMapOf(ed.store.index.tree)
	if err != nil {
		return nil, err
	}
	return ed.indexTree(of), nil
}

// newMapOf creates an empty sorted map with the types of a shape.
func (ed *Editor) newMapOf(sh *entry.Shape) (uint64, error) {
	key, err := ed.TypeIndex(sh.Key)
	if err != nil {
		return 0, err
	}
	value, err := ed.TypeIndex(sh.Value)
	if err != nil {
		return 0, err
	}
	return ed.newMap(format.KindSorted, key, value)
}

// indexTree returns the tree of an index by its own.
func (ed *Editor) indexTree(index uint64) *Map {
	return &Map{index: index, kind: format.KindSorted, shape: ed.store.index.tree}
}

// Indexes returns those of a map.
func (ed *Editor) Indexes(m *Map) (*Indexes, error) {
	if !m.Indexed() {
		return &Indexes{}, nil
	}
	registry, object, err := ed.Registry()
	if err != nil {
		return nil, err
	}
	if registry == nil { // a salvage can lose it
		return &Indexes{}, nil
	}
	block := blockAt(unsafe.Pointer(object))
	birth := ed.Reader.Birth(block)
	place := &ed.store.index.of[m.index%uint64(len(ed.store.index.of))]
	if x := place.Load(); x != nil && x.of == m.index && x.block == block && x.birth == birth && x.key == m.key && x.value == m.value {
		return x, nil
	}
	x := &Indexes{of: m.index, key: m.key, value: m.value, block: block, birth: birth}
	err = ed.EachDeclaration(m.index, func(name string, d *index.Declaration) error {
		i, err := index.Compile(index.Spec{Name: name, Paths: d.Paths, Unique: d.Unique}, m.shape.Key, m.shape.Value)
		if err != nil {
			return err
		}
		i.Tree = d.Tree.ID
		x.List = append(x.List, i)
		x.tree = append(x.tree, ed.indexTree(d.Tree.ID.Index()))
		return nil
	})
	if err != nil {
		return nil, err
	}
	if ed.of == nil && (ed.Write == nil || !ed.Write.Editable(block)) { // IX3
		place.Store(x)
	}
	return x, nil
}

// EachDeclaration calls each with the declarations of the indexes of a map, by name.
func (ed *Editor) EachDeclaration(of uint64, each func(name string, d *index.Declaration) error) error {
	m, object, err := ed.Registry()
	if err != nil || m == nil {
		return err
	}
	from, to := index.Of{Map: of}, index.Of{Map: of + 1}
	return ed.declarations(m, object, Bound{Key: unsafe.Pointer(&from)}, Bound{Key: unsafe.Pointer(&to)},
		func(of index.Of, d *index.Declaration) error { return each(of.Name, d) })
}

// AllDeclarations is EachDeclaration for all maps.
func (ed *Editor) AllDeclarations(each func(of index.Of, d *index.Declaration) error) error {
	m, object, err := ed.Registry()
	if err != nil || m == nil {
		return err
	}
	return ed.declarations(m, object, Bound{}, Bound{}, each)
}

func (ed *Editor) declarations(m *Map, object *format.MapObject, from, to Bound, each func(of index.Of, d *index.Declaration) error) error {
	var failed error
	err := m.walk(ed, object, from, to, false, func(e unsafe.Pointer) bool {
		var of index.Of
		var d index.Declaration
		if failed = m.shape.Key.CopyOut(unsafe.Pointer(&of), m.shape.KeyOf(e), ed.Bounds(e)); failed == nil {
			failed = m.shape.Value.CopyOut(unsafe.Pointer(&d), m.shape.ValueOf(e), ed.Bounds(e))
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

// MarkIndexed says whether the map with the index has indexes.
func (ed *Editor) MarkIndexed(of uint64, kind format.Kind, indexed bool) error {
	object, err := ed.EditMap(of, kind)
	if err != nil {
		return err
	}
	if object.Key &^= format.Indexed; indexed {
		object.Key |= format.Indexed
	}
	return nil
}

// setIndexed is set for a map with indexes.
func (m *Map) setIndexed(ed *Editor, key, value unsafe.Pointer) error {
	x, err := ed.Indexes(m)
	if err != nil {
		return err
	}
	object, err := ed.entriesObject(m.index, m.kind)
	if err != nil {
		return err
	}
	old, err := m.find(ed, object, key)
	if err != nil {
		return err
	}
	was, now := ed.store.index.forms(len(x.List))
	for i, of := range x.List {
		if err := m.formsOf(ed, of, &was[i], old); err != nil {
			return err
		}
		if err := of.Forms(&now[i], key, value, everywhere, everywhere); err != nil {
			return err
		}
		if of.Unique && !now[i].Same(&was[i]) {
			if err := ed.judgeUnique(of, x.tree[i], &now[i]); err != nil {
				return err
			}
		}
	}
	block, err := m.put(ed, key, value)
	if err != nil {
		return err
	}
	stored := unsafe.Add(unsafe.Pointer(nil), uintptr(block)+format.HeaderSize)
	made := &ed.store.index.made
	for i, of := range x.List {
		if err := m.formsOf(ed, of, made, stored); err != nil {
			return ed.Fail(err)
		}
		if !made.Same(&now[i]) {
			return ed.Fail(layout.ErrChanged) // the program did it, between the first look and the copy
		}
		if err := ed.changeForms(of, x.tree[i], &was[i], &now[i]); err != nil {
			return err
		}
	}
	return nil
}

// removeIndexed is remove for a map with indexes.
func (m *Map) removeIndexed(ed *Editor, key unsafe.Pointer) (bool, error) {
	x, err := ed.Indexes(m)
	if err != nil {
		return false, err
	}
	object, err := ed.entriesObject(m.index, m.kind)
	if err != nil {
		return false, err
	}
	old, err := m.find(ed, object, key)
	if err != nil || old == nil {
		return false, err
	}
	was, now := ed.store.index.forms(len(x.List))
	for i, of := range x.List {
		if err := m.formsOf(ed, of, &was[i], old); err != nil {
			return false, err
		}
	}
	removed, err := m.takeOut(ed, key)
	if err != nil || !removed {
		return removed, err
	}
	for i, of := range x.List {
		if err := ed.changeForms(of, x.tree[i], &was[i], &now[i]); err != nil {
			return false, err
		}
	}
	return true, nil
}

// forms returns room for the forms of an entry before and after a change.
func (s *indexing) forms(n int) (was, now []index.Forms) {
	for len(s.was) < n {
		s.was, s.now = append(s.was, index.Forms{}), append(s.now, index.Forms{})
	}
	for i := range n {
		s.was[i].Forget()
		s.now[i].Forget()
	}
	return s.was, s.now
}

// formsOf makes f the forms of a stored entry; none if it is nil.
func (m *Map) formsOf(ed *Editor, of *index.Index, f *index.Forms, e unsafe.Pointer) error {
	if f.Forget(); e == nil {
		return nil
	}
	b := ed.Bounds(e)
	return of.Forms(f, m.shape.KeyOf(e), m.shape.ValueOf(e), b, b)
}

// judgeUnique returns an error if another entry has field values that one is about to get (IX5).
func (ed *Editor) judgeUnique(of *index.Index, tree *Map, now *index.Forms) error {
	object, err := ed.entriesObject(tree.index, format.KindSorted)
	if err != nil {
		return err
	}
	for i := range now.Len() {
		form, at := now.At(i)
		values := unsafe.String(unsafe.SliceData(form), at)
		e, err := btree.AtLeast(ed.Reader, format.Link(object.Root), tree.shape, layout.NoEscape(&values))
		if err != nil {
			return err
		}
		if e == nil {
			continue
		}
		other, begins, err := tree.form(ed, e)
		if err != nil {
			return err
		}
		if begins == at && other[:at] == values && other != string(form) {
			return Duplicate(of, form, []byte(other))
		}
	}
	return nil
}

// Duplicate is the error for two forms with the same field values.
func Duplicate(of *index.Index, form, other []byte) error {
	d := &failure.DuplicateError{Index: of.Name, Path: of.Path()}
	d.Value, d.Key = of.Text(form)
	_, d.Other = of.Text(other)
	return d
}

// form returns the form in an entry of a tree, and where the key begins in it.
func (m *Map) form(ed *Editor, e unsafe.Pointer) (form string, at int, err error) {
	key, err := m.shape.StoredKey(ed.Reader, e)
	if err != nil {
		return "", 0, err
	}
	form = *(*string)(key)
	if at = int(*(*uint32)(m.shape.ValueOf(e))); at > len(form) {
		return "", 0, &format.DamageError{File: "heap", What: "the tree of an index has an entry without a key"}
	}
	return form, at, nil
}

// changeForms makes the forms of an entry others. After an error the transaction can only abort.
func (ed *Editor) changeForms(of *index.Index, tree *Map, was, now *index.Forms) error {
	if was.Same(now) {
		return nil
	}
	for i := range was.Len() {
		form, _ := was.At(i)
		if now.Has(form) {
			continue
		}
		text := unsafe.String(unsafe.SliceData(form), len(form))
		removed, err := tree.remove(ed, layout.NoEscape(&text))
		if err == nil && !removed {
			err = &format.DamageError{File: "heap", What: fmt.Sprintf("the index %s lacks an entry", of.Name)}
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
		if err := tree.PutForm(ed, form, at); err != nil {
			return err
		}
	}
	return nil
}

// PutForm adds a form to a tree. After an error the transaction can only abort.
func (m *Map) PutForm(ed *Editor, form []byte, at int) error {
	text, begins := unsafe.String(unsafe.SliceData(form), len(form)), uint32(at)
	if err := m.set(ed, layout.NoEscape(&text), layout.NoEscape(&begins)); err != nil {
		return ed.Fail(err)
	}
	return nil
}

// Tree returns the tree of one of the indexes, and its object.
func (x *Indexes) Tree(ed *Editor, i int) (*Map, *format.MapObject, error) {
	object, err := ed.entriesObject(x.tree[i].index, format.KindSorted)
	if err != nil {
		return nil, nil, fmt.Errorf("the tree of the index %s: %w", x.List[i].Name, err)
	}
	return x.tree[i], object, nil
}

// What package indexing needs of a map.

// MapByID returns a map by its stored types.
func (ed *Editor) MapByID(id format.ID) (*Map, *format.MapObject, error) { return ed.untypedMap(id) }

// ID returns the identity of the map.
func (m *Map) ID(ed *Editor) format.ID { return format.MakeID(ed.store.header.Tag, m.index) }

// Index returns the index of the map in the object table.
func (m *Map) Index() uint64 { return m.index }

// Kind returns what the map's object is.
func (m *Map) Kind() format.Kind { return m.kind }

// Shape returns the layout of the entries.
func (m *Map) Shape() *entry.Shape { return m.shape }

// Each walks the entries as they are when the walk starts.
func (m *Map) Each(ed *Editor, object *format.MapObject, yield func(entry unsafe.Pointer) bool) error {
	return m.all(ed, object, yield)
}

// Between is Each for a part of a sorted map.
func (m *Map) Between(ed *Editor, object *format.MapObject, from, to Bound, back bool, yield func(entry unsafe.Pointer) bool) error {
	return m.walk(ed, object, from, to, back, yield)
}

// Find returns the entry with a key; nil if there is none.
func (m *Map) Find(ed *Editor, object *format.MapObject, key unsafe.Pointer) (unsafe.Pointer, error) {
	return m.find(ed, object, key)
}

// Form returns the form in an entry of a tree, and where the key begins in it.
func (m *Map) Form(ed *Editor, e unsafe.Pointer) (form string, at int, err error) {
	return m.form(ed, e)
}

// HandOut copies the key of an entry to the variable at dst, and returns the value as Peek does.
func (m *Map) HandOut(ed *Editor, e, dst unsafe.Pointer) (unsafe.Pointer, error) {
	ed.borrow(e)
	return ed.handOut(m, e, dst)
}

// IsGone reports whether the version lacks an object.
func (ed *Editor) IsGone(of uint64) bool {
	_, _, err := table.Any(ed.Reader, format.Link(ed.State.Table), of)
	return errors.Is(err, table.ErrNoObject)
}

// KindOf returns the kind of an object; KindNone if there is none.
func (ed *Editor) KindOf(id format.ID) format.Kind {
	kind, _, err := table.Any(ed.Reader, format.Link(ed.State.Table), id.Index())
	if err != nil {
		return format.KindNone
	}
	return kind
}
