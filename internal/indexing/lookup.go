package indexing

import (
	"errors"
	"fmt"
	"sync/atomic"
	"unsafe"

	"github.com/everheap/everheap/internal/btree"
	"github.com/everheap/everheap/internal/edit"
	"github.com/everheap/everheap/internal/failure"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/index"
	"github.com/everheap/everheap/internal/layout"
)

// A Lookup is an index of one version in which a program looks values up.
type Lookup struct {
	*index.View
	ed     *edit.Editor
	m      *edit.Map
	object format.MapObject // as it was when the lookup was opened, whatever a loop changes
	tree   *edit.Map
	root   format.MapObject
	gone   func(e unsafe.Pointer) (bool, error) // nil if entries do not expire
}

// Open opens the index of a map by its name, or by its fields as people write them, for field
// values of a Go type. It caches the view in last. The error is ErrNotFound if the map has no such
// index, and ErrTypeChanged if its field values have another type.
func Open(ed *edit.Editor, of edit.MapOf, name string, t layout.Identity, last *atomic.Pointer[index.View]) (l Lookup, err error) {
	l.ed = ed
	m, object, err := ed.Bind(of)
	if err != nil {
		return l, err
	}
	l.m, l.object = m, *object
	indexes, err := indexesOf(ed, l.m)
	if err != nil {
		return l, err
	}
	at, err := indexes.named(name)
	if err != nil {
		return l, err
	}
	if l.View = last.Load(); l.View == nil || l.View.Index != indexes.list[at] {
		typ, err := layout.Of(t.GoType())
		if err != nil {
			return l, err
		}
		if l.View, err = indexes.list[at].ViewAs(typ); err != nil {
			return l, &failure.TypeError{Kind: failure.ErrTypeChanged, Lines: []string{err.Error()}}
		}
		last.Store(l.View)
	}
	tree, root, err := indexes.object(ed, at)
	if err == nil {
		l.tree, l.root = tree, *root
		if m := l.m; m.Expires() {
			l.gone, err = keeperOf(ed).Judge(ed, m)
		}
	}
	return l, err
}

// OpenStored is Open by the stored types of the map. The View of the lookup then has only its
// Index.
func OpenStored(ed *edit.Editor, id format.ID, name string) (l Lookup, err error) {
	l.ed = ed
	m, object, err := ed.MapByID(id)
	if err != nil {
		return l, err
	}
	l.m, l.object = m, *object
	indexes, err := indexesOf(ed, m)
	if err != nil {
		return l, err
	}
	at, err := indexes.named(name)
	if err != nil {
		return l, err
	}
	l.View = &index.View{Index: indexes.list[at]}
	tree, root, err := indexes.object(ed, at)
	if err == nil {
		l.tree, l.root = tree, *root
		if m := l.m; m.Expires() {
			l.gone, err = keeperOf(ed).Judge(ed, m)
		}
	}
	return l, err
}

// named finds the index with a name, or on fields that are written in that way.
func (x *declared) named(name string) (at int, err error) {
	at = -1
	for i, x := range x.list {
		if of := (index.Of{Name: x.Name}); of.IsOwn() {
			continue
		}
		if x.Name == name || at < 0 && x.Path() == name {
			at = i
		}
	}
	if at < 0 {
		return at, fmt.Errorf("%w: the map has no index %s", failure.ErrNotFound, name)
	}
	return at, nil
}

// First returns the first form that begins with b.
func (l *Lookup) First(b []byte) (form string, at int, ok bool, err error) {
	if l.gone == nil {
		form, at, err = atLeast(l.ed, l.tree, &l.root, b)
		return form, at, err == nil && form != "" && len(form) >= len(b) && form[:len(b)] == string(b), err
	}
	err = l.Walk(b, index.After(append([]byte{}, b...)), false, func(f string, a int) bool {
		form, at, ok = f, a, true
		return false
	})
	return form, at, ok, err
}

// Entry returns the entry of a form.
func (l *Lookup) Entry(form string, at int) (unsafe.Pointer, error) {
	e, err := entryOf(l.ed, l.m, &l.object, form, at)
	if err == nil && e == nil {
		err = &format.DamageError{File: "heap", What: fmt.Sprintf("the index %s has a key that the map lacks; drop the index and declare it again", l.Name)}
	}
	return e, err
}

// Parts returns the key and the value of an entry.
func (l *Lookup) Parts(e unsafe.Pointer) (key, value edit.StoredPart) {
	b, sh := l.ed.Bounds(e), l.m.Shape()
	return edit.StoredPart{Pointer: sh.KeyOf(e), Bounds: b}, edit.StoredPart{Pointer: sh.ValueOf(e), Bounds: b}
}

// Entries walks the entries between two forms; see Between. It copies each key to the variable
// whose address next returns, and passes the value to yield.
func (l *Lookup) Entries(lo, hi []byte, back bool, next func() unsafe.Pointer, yield func(value unsafe.Pointer) bool) error {
	return l.Between(lo, hi, back, func(form string, at int) (bool, error) {
		e, err := l.Entry(form, at)
		if err != nil {
			return false, err
		}
		v, err := l.HandOut(e, next())
		return err == nil && yield(v), err
	})
}

// HandOut copies the key of an entry to the variable at dst, and returns the value as Peek does.
func (l *Lookup) HandOut(e, dst unsafe.Pointer) (unsafe.Pointer, error) {
	return l.m.HandOut(l.ed, e, dst)
}

// CopyOut copies the value of an entry to the variable at dst.
func (l *Lookup) CopyOut(e, dst unsafe.Pointer) error {
	b := l.ed.Bounds(e)
	return l.ed.Blame(b, l.m.Shape().Value.CopyOut(dst, l.m.Shape().ValueOf(e), b))
}

// CopyKey copies the key in a form to the variable at dst.
func (l *Lookup) CopyKey(form string, at int, dst unsafe.Pointer) error {
	return layout.ReadOrdered(unsafe.Slice(unsafe.StringData(form), len(form))[at:]).CopyOrdered(l.m.Shape().Key, dst, layout.Last)
}

// Walk calls yield with the forms that are not less than from and less than to, in order or from
// the last one back. A nil bound is none.
func (l *Lookup) Walk(from, to []byte, back bool, yield func(form string, at int) bool) error {
	if l.gone == nil {
		return walkForms(l.ed, l.tree, &l.root, from, to, back, yield)
	}
	var failed error
	err := walkForms(l.ed, l.tree, &l.root, from, to, back, func(form string, at int) bool {
		var e unsafe.Pointer
		if e, failed = l.Entry(form, at); failed != nil {
			return false
		}
		var gone bool
		gone, failed = l.gone(e)
		return failed == nil && (gone || yield(form, at))
	})
	return errors.Join(failed, err)
}

// Bound is one end of a range of values, as a program gives it.
type Bound struct {
	Value unsafe.Pointer
	Kind  edit.BoundKind
}

// Ends returns the form at which a range begins, and the form before which it ends; nil if it has
// no such end. For an empty range the two are in the wrong order.
func (l *Lookup) Ends(from, to Bound, prefix bool) (lo, hi []byte, err error) {
	if from.Kind != edit.Unbounded {
		if lo, err = l.Append(nil, from.Value, prefix); err != nil {
			return nil, nil, err
		}
		if from.Kind == edit.Excluding {
			if lo = index.After(lo); lo == nil {
				return []byte{1}, []byte{0}, nil
			}
		}
	}
	if to.Kind != edit.Unbounded {
		if hi, err = l.Append(nil, to.Value, prefix); err == nil && to.Kind == edit.Including {
			hi = index.After(hi)
		}
	}
	return lo, hi, err
}

// FirstEntry returns the first entry with a value; nil if there is none.
func (l *Lookup) FirstEntry(value unsafe.Pointer) (unsafe.Pointer, error) {
	var room [64]byte
	b, err := l.Append(room[:0], value, false)
	if err != nil {
		return nil, err
	}
	form, at, ok, err := l.First(b)
	if err != nil || !ok {
		return nil, err
	}
	return l.Entry(form, at)
}

// Between walks the forms between two ends. It stops at an error of yield.
func (l *Lookup) Between(lo, hi []byte, back bool, yield func(form string, at int) (bool, error)) error {
	if lo != nil && hi != nil && string(lo) >= string(hi) {
		return nil
	}
	var failed error
	err := l.Walk(lo, hi, back, func(form string, at int) (more bool) {
		more, failed = yield(form, at)
		return more && failed == nil
	})
	return errors.Join(failed, err)
}

// Count returns how many forms lie between two ends.
func (l *Lookup) Count(lo, hi []byte) (n uint64, err error) {
	var first, last uint64
	if lo != nil {
		first, err = l.Rank(lo)
	}
	if err == nil {
		last, err = l.Rank(hi)
	}
	return max(last, first) - first, err
}

// Rank returns how many forms are less than b; the number of all forms if b is nil.
func (l *Lookup) Rank(b []byte) (n uint64, err error) {
	n = l.root.Count
	text := unsafe.String(unsafe.SliceData(b), len(b))
	if b != nil {
		n, _, err = btree.Rank(l.ed.Reader, format.Link(l.root.Root), l.tree.Shape(), layout.NoEscape(&text))
	}
	if err != nil || l.gone == nil {
		return n, err
	}
	var f index.Forms
	var failed error
	err = eachGone(l.ed, l.m, func(e unsafe.Pointer) bool {
		if failed = formsOf(l.ed, l.m, l.Index, &f, e); failed != nil {
			return false
		}
		for i := range f.Len() {
			if form, _ := f.At(i); b == nil || string(form) < text {
				n--
			}
		}
		return true
	})
	return n, errors.Join(failed, err)
}
