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

// This file declares how the entries of a map expire, and builds, rebuilds and drops the trees that
// find due entries (EX7 of package expiry).

// Expiry returns how the entries of a map expire; the zero Expiry if they do not.
func Expiry(ed *edit.Editor, id format.ID) (x index.Expiry, err error) {
	m, _, err := ed.MapByID(id)
	if err != nil || !m.Expires() {
		return x, err
	}
	return expiryOf(ed, m)
}

func expiryOf(ed *edit.Editor, m *edit.Map) (x index.Expiry, err error) {
	err = eachDeclaration(ed, m.Index(), func(name string, d *index.Declaration) error {
		if name == index.DueName {
			x, _ = index.ExpiryOf(d.Paths)
		}
		return nil
	})
	return x, err
}

// HasExpiry reports whether the entries of a map expire as wanted. The error is ErrExists if they
// expire in another way.
func HasExpiry(ed *edit.Editor, id format.ID, want index.Expiry) (bool, error) {
	has, err := Expiry(ed, id)
	if err != nil || has == want || has == (index.Expiry{}) {
		return has == want, err
	}
	return false, fmt.Errorf("%w: the entries expire %s; drop that first (DropExpiry), or open with Evolve, if they are to expire %s", failure.ErrExists, has, want)
}

// DeclareExpiry declares how the entries of a map expire from now on, and builds the trees for the
// existing entries. Entries that have expired so far are removed. If a time to live replaces
// another, it counts from the same moment as the other did; otherwise it counts from now. Errors:
// ErrUnstorable if the field is not a time, or the keys have no order.
func DeclareExpiry(ed *edit.Editor, id format.ID, want index.Expiry, tell Progress) error {
	m, _, err := ed.MapByID(id)
	if err != nil {
		return err
	}
	if ed.Write == nil {
		return fmt.Errorf("%w: use an Update to declare how entries expire", failure.ErrReadOnly)
	}
	at, err := compileExpiry(want, m)
	if err != nil {
		return unstorable(err)
	}
	if _, _, err := RemoveGone(ed, id, nil); err != nil { // EX7
		return err
	}
	if err := ed.BeginChange(); err != nil {
		return err
	}
	defer ed.EndChange()
	ed.Write.Unlist() // IX6
	if err := buildExpiry(ed, m, want, at, tell); err != nil {
		return ed.Fail(err)
	}
	return ed.MarkIndexed(m.Index(), m.Kind(), true, true)
}

// compileExpiry returns the index of the field; nil for a time to live.
func compileExpiry(x index.Expiry, m *edit.Map) (*index.Index, error) {
	if x.Path != "" {
		return index.CompileDue(x.Path, m.Shape().Key, m.Shape().Value)
	}
	if err := m.Shape().Key.OrderError(); err != nil {
		return nil, &index.Error{Index: "of the times at which entries expire", Path: "", What: "the keys of the map, of type " + m.Shape().Key.String() + ", have no order"}
	}
	return nil, nil
}

// buildExpiry makes the trees of a declaration from the entries, and enters the declaration.
func buildExpiry(ed *edit.Editor, m *edit.Map, want index.Expiry, at *index.Index, tell Progress) error {
	object, err := m.Object(ed)
	if err != nil {
		return err
	}
	var due, until forms
	if at != nil {
		if err := due.collect(ed, at, m, object, tell); err != nil {
			return err
		}
		if err := dropDeclaration(ed, m, index.UntilName); err != nil {
			return err
		}
		return due.enter(ed, at.Name, want.Paths(), false, m, tell)
	}
	x := &declared{}
	if m.Indexed() {
		if x, err = timesOf(ed, m); err != nil {
			return err
		}
	}
	if err := collectTimes(ed, m, object, want, x.ttl(), &due, &until); err != nil {
		return err
	}
	if err := due.enter(ed, index.DueName, want.Paths(), false, m, tell); err != nil {
		return err
	}
	return until.enter(ed, index.UntilName, want.Paths(), false, m, nil)
}

// timesOf returns the registry's time to live for a map, without indexes, which may be about to be
// rebuilt.
func timesOf(ed *edit.Editor, m *edit.Map) (*declared, error) {
	x := &declared{}
	err := eachDeclaration(ed, m.Index(), func(name string, d *index.Declaration) error {
		e, ok := index.ExpiryOf(d.Paths)
		if name != index.DueName && name != index.UntilName || !ok || e.Path != "" {
			return nil
		}
		return x.addExpiry(keeperOf(ed), m, name, d)
	})
	return x, err
}

// collectTimes makes the forms of the entries in the two trees of a time to live. The time counts
// from the same moment as before for entries that had one, and from now for the others.
func collectTimes(ed *edit.Editor, m *edit.Map, object *format.MapObject, want index.Expiry, old *expiring, due, until *forms) error {
	var t index.Times
	var b []byte
	var failed error
	begun := time.Unix(0, ed.Time())
	sh := m.Shape()
	err := m.Each(ed, object, func(e unsafe.Pointer) bool {
		bounds := ed.Bounds(e)
		if failed = t.Of(sh.Key, sh.KeyOf(e), bounds); failed != nil {
			return false
		}
		at := begun.Add(want.TTL)
		if old != nil {
			var was time.Time
			if was, failed = old.instantOf(ed, &t); failed != nil {
				return false
			}
			if !was.IsZero() {
				at = was.Add(want.TTL - old.TTL)
			}
		}
		if b, failed = sh.Key.AppendOrdered(index.AppendInstant(b[:0], at), sh.KeyOf(e), bounds, layout.Last); failed != nil {
			return false
		}
		due.add(b, index.InstantSize)
		until.add(t.Until(at), len(t.Key()))
		return true
	})
	due.sort()
	until.sort()
	return errors.Join(failed, err)
}

// add adds a form; the key begins in it at the place key.
func (f *forms) add(form []byte, key int) {
	f.list = append(f.list, place{uint64(len(f.buf)), uint32(key), uint32(len(form))})
	f.buf = append(f.buf, form...)
}

// sort sorts the forms.
func (f *forms) sort() {
	slices.SortFunc(f.list, func(a, b place) int {
		return bytes.Compare(f.buf[a.from:a.from+uint64(a.len)], f.buf[b.from:b.from+uint64(b.len)])
	})
}

// dropDeclaration removes the declaration that the registry has under a name.
func dropDeclaration(ed *edit.Editor, m *edit.Map, name string) error {
	registry, _, err := registryOf(ed)
	if err == nil && registry != nil {
		_, err = registry.Delete(ed, unsafe.Pointer(&index.Of{Map: m.Index(), Name: name}))
	}
	return err
}

// DropExpiry ends the expiry of a map's entries, and reports whether they had one. Entries that
// have expired so far are removed (EX7).
func DropExpiry(ed *edit.Editor, id format.ID) (bool, error) {
	m, _, err := ed.MapByID(id)
	if err != nil || !m.Expires() {
		return false, err
	}
	if ed.Write == nil {
		return false, fmt.Errorf("%w: use an Update to end the expiry of entries", failure.ErrReadOnly)
	}
	if _, _, err := RemoveGone(ed, id, nil); err != nil {
		return false, err
	}
	if err := ed.BeginChange(); err != nil {
		return false, err
	}
	defer ed.EndChange()
	for _, name := range [2]string{index.DueName, index.UntilName} {
		if err := dropDeclaration(ed, m, name); err != nil {
			return false, err
		}
	}
	left := 0
	if err := eachDeclaration(ed, m.Index(), func(string, *index.Declaration) error { left++; return nil }); err != nil {
		return false, err
	}
	ed.Write.Unlist() // IX6
	return true, ed.MarkIndexed(m.Index(), m.Kind(), left > 0, false)
}

// rebuildExpiry rebuilds the trees that find due entries of a map, for its present types. It
// removes expired entries, but not their forms in the indexes, which are rebuilt after it: so
// expired entries conflict with no unique index. If lenient is set, it ends an expiry that is
// impossible.
func rebuildExpiry(ed *edit.Editor, m *edit.Map, tell Progress, lenient bool) error {
	x, err := expiryOf(ed, m)
	if err != nil {
		return err
	}
	x = x.Follow(m.Shape().Value)
	at, err := compileExpiry(x, m)
	if x == (index.Expiry{}) || err != nil && lenient { // a salvage has lost the expiry
		return endExpiry(ed, m)
	}
	if err != nil {
		return &failure.TypeError{Kind: failure.ErrTypeChanged, Lines: []string{"  " + err.Error(), "  end the expiry first (DropExpiry), or name the former field with a tag was="}}
	}
	if err := buildExpiry(ed, m, x, at, tell); err != nil {
		return err
	}
	now := &declared{}
	err = eachDeclaration(ed, m.Index(), func(name string, d *index.Declaration) error {
		if name == index.DueName || name == index.UntilName {
			return now.addExpiry(keeperOf(ed), m, name, d)
		}
		return nil
	})
	if err != nil {
		return err
	}
	var l lifetime
	_, _, err = now.expiry.remove(ed, m, nil, func(key unsafe.Pointer) (bool, error) {
		if now.expiry.at == nil {
			if err := l.begin(ed, m, now.expiry, key, key); err != nil {
				return false, err
			}
			if err := l.end(ed); err != nil {
				return false, err
			}
			return m.RemoveAlone(ed, key)
		}
		object, err := m.Object(ed)
		if err != nil {
			return false, err
		}
		e, err := m.Find(ed, object, key)
		if err != nil || e == nil {
			return false, err
		}
		var f index.Forms
		if err := formsOf(ed, m, now.expiry.at, &f, e); err != nil {
			return false, err
		}
		for i := range f.Len() {
			form, _ := f.At(i)
			if err := dropForm(ed, now.expiry.due, form); err != nil {
				return false, err
			}
		}
		return m.RemoveAlone(ed, key)
	})
	return err
}

// endExpiry ends the expiry of a map's entries.
func endExpiry(ed *edit.Editor, m *edit.Map) error {
	for _, name := range [2]string{index.DueName, index.UntilName} {
		if err := dropDeclaration(ed, m, name); err != nil {
			return err
		}
	}
	return ed.MarkIndexed(m.Index(), m.Kind(), true, false)
}
