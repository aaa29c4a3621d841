package object

import (
	"slices"
	"unsafe"

	"github.com/everheap/everheap/internal/format"
)

// Paired is a kind whose changes follow from the pairs in which two versions of an object differ.
// An object of any other kind is made anew if it differs.
type Paired interface {
	// Changes calls put with the changes that make the newer version of an object out of the older
	// one. carried is the payload of the block that a change carries.
	Changes(was, now unsafe.Pointer, c *Comparison, put func(op format.OpKind, arg uint64, carried unsafe.Pointer) error) error
}

// each calls fn with all pairs of a comparison.
func (c *Comparison) each(fn func(p Pair) error) error {
	for more := true; more; {
		var failed, err error
		more, err = c.Step(func(p Pair) {
			if failed == nil {
				failed = fn(p)
			}
		})
		if err := join(err, failed); err != nil {
			return err
		}
	}
	return nil
}

// Changes implements Paired.
func (k mapKind) Changes(_, _ unsafe.Pointer, c *Comparison, put func(op format.OpKind, arg uint64, carried unsafe.Pointer) error) error {
	return c.each(func(p Pair) error {
		if p.Now == nil {
			return put(format.OpDelete, 0, p.Was)
		}
		return put(format.OpSet, 0, p.Now)
	})
}

// Changes implements Paired: it first truncates, and then puts the elements in order.
func (listKind) Changes(was, now unsafe.Pointer, c *Comparison, put func(op format.OpKind, arg uint64, carried unsafe.Pointer) error) error {
	old, is := (*format.ListObject)(was).Count, (*format.ListObject)(now).Count
	if is < old {
		if err := put(format.OpTruncate, is, nil); err != nil {
			return err
		}
	}
	var pairs []Pair
	err := c.each(func(p Pair) error {
		if p.Now != nil {
			pairs = append(pairs, p)
		}
		return nil
	})
	if err != nil {
		return err
	}
	slices.SortFunc(pairs, func(a, b Pair) int { return int(int64(a.Index) - int64(b.Index)) })
	for _, p := range pairs {
		op := format.OpSetItem
		if p.Index >= old {
			op = format.OpAppend
		}
		if err := put(op, p.Index, p.Now); err != nil {
			return err
		}
	}
	return nil
}

// Changes implements Paired.
func (valueKind) Changes(_, now unsafe.Pointer, _ *Comparison, put func(op format.OpKind, arg uint64, carried unsafe.Pointer) error) error {
	value, _ := format.ValueType((*format.ValueObject)(now).Type)
	return put(format.OpSetValue, value, now)
}
