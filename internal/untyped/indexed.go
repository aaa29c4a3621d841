package untyped

import (
	"fmt"
	"runtime"
	"slices"

	"github.com/everheap/everheap/internal/edit"
	"github.com/everheap/everheap/internal/index"
	"github.com/everheap/everheap/internal/indexing"
)

// Indexed walks entries in the order of an index, or in reverse order if back is set: those whose
// first fields have the values in equal, and whose next field lies between two bounds.
func (f *Form) Indexed(ed *edit.Editor, st *edit.Stored, name string, equal [][]byte, from, to Bound, back bool, yield Yield) error {
	l, err := indexing.OpenStored(ed, f.ID, name)
	if err != nil {
		return err
	}
	lo, hi, err := f.ends(&l, equal, from, to)
	if err != nil {
		return err
	}
	var on sheet
	return l.Between(lo, hi, back, func(form string, at int) (bool, error) {
		entry, err := l.Entry(form, at)
		if err != nil {
			return false, err
		}
		key, value := l.Parts(entry)
		k, v, err := f.appendEntry(&on, st, key, value)
		return err == nil && yield(k, v), err
	})
}

// ends is indexing.Lookup.Ends for encoded values.
func (f *Form) ends(l *indexing.Lookup, equal [][]byte, from, to Bound) (lo, hi []byte, err error) {
	add := func(dst []byte, i int, b []byte) ([]byte, error) {
		if i >= l.Fields() {
			return nil, fmt.Errorf("the index %s has only %d fields", l.Name, l.Fields())
		}
		v, err := f.parse("value", l.FieldType(i), b)
		if err != nil {
			return nil, err
		}
		dst, err = l.AppendField(dst, i, v.Pointer())
		runtime.KeepAlive(v)
		return dst, err
	}
	var head []byte
	for i, b := range equal {
		if head, err = add(head, i, b); err != nil {
			return nil, nil, err
		}
	}
	lo, hi = slices.Clone(head), index.After(slices.Clone(head))
	if from.Kind != edit.Unbounded {
		if lo, err = add(lo, len(equal), from.Text); err == nil && from.Kind == edit.Excluding {
			lo = index.After(lo)
		}
	}
	if to.Kind != edit.Unbounded && err == nil {
		if hi, err = add(slices.Clone(head), len(equal), to.Text); err == nil && to.Kind == edit.Including {
			hi = index.After(hi)
		}
	}
	if lo == nil && from.Kind != edit.Unbounded { // no value is greater
		return []byte{1}, []byte{0}, err
	}
	return lo, hi, err
}
