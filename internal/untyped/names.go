package untyped

import (
	"cmp"
	"slices"
	"unsafe"

	"github.com/everheap/everheap/internal/edit"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/index"
	"github.com/everheap/everheap/internal/indexing"
	"github.com/everheap/everheap/internal/layout"
)

// NamedObject is an entry of the catalog.
type NamedObject struct {
	Name  string
	ID    format.ID
	Kind  string
	Key   *layout.Type // nil: the object has no keys
	Value *layout.Type
	Count uint64
}

// Names lists the catalog, in no particular order.
func Names(ed *edit.Editor) ([]NamedObject, error) {
	var list []NamedObject
	var err error
	sh := ed.Store().Catalog
	walkErr := ed.OwnEntries(ed.State.Catalog, func(entry unsafe.Pointer) bool {
		var name string
		if err = sh.Key.CopyOut(unsafe.Pointer(&name), sh.KeyOf(entry), ed.Bounds(entry)); err != nil {
			return false
		}
		if name == index.RegistryName {
			return true
		}
		var o NamedObject
		if o, err = describe(ed, name, *layout.Cast[uint64](sh.ValueOf(entry))); err != nil {
			return false
		}
		list = append(list, o)
		return true
	})
	if err == nil {
		err = walkErr
	}
	return list, err
}

// Described is an entry of the catalog, with its indexes and its expiry.
type Described struct {
	NamedObject
	Indexes []indexing.Info
	Expiry  string // "": its entries do not expire
}

// Describe lists the catalog by name.
func Describe(ed *edit.Editor) (list []Described, err error) {
	names, err := Names(ed)
	for _, n := range names {
		d := Described{NamedObject: n}
		if d.Indexes, err = Indexes(ed, n.ID); err == nil && isMap(ed, n.ID) {
			var x index.Expiry
			x, err = indexing.Expiry(ed, n.ID)
			d.Expiry = x.String()
		}
		if err != nil {
			return nil, err
		}
		list = append(list, d)
	}
	slices.SortFunc(list, func(a, b Described) int { return cmp.Compare(a.Name, b.Name) })
	return list, err
}

// Indexes lists the indexes of a collection, by name.
func Indexes(ed *edit.Editor, id format.ID) ([]indexing.Info, error) {
	if !isMap(ed, id) {
		return nil, nil
	}
	return indexing.List(ed, id)
}

// isMap reports whether a collection can have indexes, and entries that expire.
func isMap(ed *edit.Editor, id format.ID) bool {
	kind := ed.KindOf(id)
	return kind == format.KindMap || kind == format.KindSorted
}

// describe reads the kind and the types of a named object.
func describe(ed *edit.Editor, name string, at uint64) (NamedObject, error) {
	id := format.MakeID(ed.Tag(), at)
	st, err := ed.Stored(id)
	if err != nil {
		return NamedObject{Name: name, ID: id}, err
	}
	return NamedObject{Name: name, ID: id, Kind: st.Kind, Key: st.Key, Value: st.Value, Count: st.Count}, nil
}
