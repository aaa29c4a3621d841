package watch

import (
	"unsafe"

	"github.com/everheap/everheap/internal/edit"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/layout"
	"github.com/everheap/everheap/internal/object"
)

// Difference has the values of one key in two versions. The pointers are valid until the function
// that gets it returns.
type Difference struct {
	Version format.Version
	More    bool            // the version has further differences
	Key     edit.StoredPart // nil if the object has no keys
	Was     edit.StoredPart // nil if the older version lacks the key
	Now     edit.StoredPart // nil if the newer version lacks the key
	index   int
	key     *layout.Type
	value   *layout.Type
	ed      *edit.Editor // reads the newer version
}

// CopyKey copies the key to the variable at dst.
func (d *Difference) CopyKey(dst unsafe.Pointer) error {
	return d.key.CopyOut(dst, d.Key.Pointer, d.Key.Bounds)
}

// CopyValue copies one of the values to the variable at dst.
func (d *Difference) CopyValue(dst unsafe.Pointer, p edit.StoredPart) error {
	return d.ed.Blame(p.Bounds, d.value.CopyOut(dst, p.Pointer, p.Bounds))
}

// Encoded renders the key and the values, in the compact form or as JSON; nil for a missing one.
func (d *Difference) Encoded(compact bool) (key, was, now []byte, err error) {
	part := func(t *layout.Type, p edit.StoredPart) (b []byte) {
		switch {
		case p.Pointer == nil || err != nil:
		case compact:
			b, err = t.AppendCompact(nil, p.Pointer, p.Bounds)
		default:
			b, err = t.AppendJSON(nil, p.Pointer, p.Bounds)
		}
		return b
	}
	key, was, now = part(d.key, d.Key), part(d.value, d.Was), part(d.value, d.Now)
	return key, was, now, err
}

// same reports whether both versions have the key with equal values: it was set to the same value,
// or several times.
func same(c *edit.Comparison, p object.Pair) (bool, error) {
	if p.Was == nil || p.Now == nil {
		return false, nil
	}
	return c.Value.SameStored(c.ValueOf(p.Was), c.Was.Bounds(p.Was), c.ValueOf(p.Now), c.Now.Bounds(p.Now))
}

// difference returns a pair as a Difference.
func difference(c *edit.Comparison, p object.Pair) *Difference {
	d := &Difference{Version: c.Now.Version(), index: int(p.Index), key: c.Key, value: c.Value, ed: c.Now}
	d.Was, d.Now = part(c, c.Was, p.Was), part(c, c.Now, p.Now)
	switch {
	case c.Key == nil:
	case c.KeyOf == nil:
		d.Key = edit.StoredPart{Pointer: unsafe.Pointer(&d.index), Bounds: layout.Bounds{Hi: ^uintptr(0)}}
	case p.Now != nil:
		d.Key = edit.StoredPart{Pointer: c.KeyOf(p.Now), Bounds: c.Now.Bounds(p.Now)}
	default:
		d.Key = edit.StoredPart{Pointer: c.KeyOf(p.Was), Bounds: c.Was.Bounds(p.Was)}
	}
	return d
}

// part returns the value in a block.
func part(c *edit.Comparison, ed *edit.Editor, payload unsafe.Pointer) edit.StoredPart {
	if payload == nil {
		return edit.StoredPart{}
	}
	return edit.StoredPart{Pointer: c.ValueOf(payload), Bounds: ed.Bounds(payload)}
}
