package edit

import (
	"fmt"
	"unsafe"

	"github.com/everheap/everheap/internal/failure"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/layout"
	"github.com/everheap/everheap/internal/object"
	"github.com/everheap/everheap/internal/vector"
)

// What differs between two versions is found by comparing addresses. Both versions are
// held, so none of their blocks changes, and what is at one address is the same in both:
// see trie.Differ. So the cost is that of what changed.

// pair is what one key has in two versions.
type pair = object.Pair

// Comparison finds the differences of one object between two versions, some at a time.
type Comparison struct {
	was, now *Editor // was is nil if there is no older version
	*object.Comparison
	expired *expired // nil: nothing can
}

// Subject is an object that can be watched, and how it is looked at.
type Subject interface {
	// Compare returns what finds the differences of the object between two versions,
	// each as it is at an instant, nil if there are none. Without an older version everything
	// is new. It is an error if the object is not there in the newer version, or has other types.
	Compare(was, now *Editor, at Instants) (*Comparison, error)
	// NextInstant returns the first instant after another at which a part of the object
	// expires in a version, nanoseconds since 1970; 0: none.
	NextInstant(ed *Editor, after int64) (int64, error)
}

// CompareObject compares an object, whose payload is p, with what it was; nil if it has
// not changed.
func CompareObject(was, now *Editor, kind format.Kind, index uint64, p unsafe.Pointer, l object.Layout) (*Comparison, error) {
	from := object.Version{Reader: now.Reader}
	if was != nil {
		old, err := was.object(index, kind)
		if err != nil || old == p {
			return nil, err
		}
		from = object.Version{Reader: was.Reader, Payload: old}
	}
	c, err := object.Of(kind).Compare(from, object.Version{Reader: now.Reader, Payload: p}, l)
	if err != nil {
		return nil, err
	}
	return &Comparison{was: was, now: now, Comparison: c}, nil
}

// Compare implements Subject for maps, sorted or not.
func (of MapOf) Compare(was, now *Editor, at Instants) (*Comparison, error) {
	m, entries, err := now.Bind(of)
	if err != nil {
		return nil, err
	}
	return compareMap(was, now, m, entries, at)
}

// Compare implements Subject.
func (of ListOf) Compare(was, now *Editor, _ Instants) (*Comparison, error) {
	list, t, err := now.list(of)
	if err != nil {
		return nil, err
	}
	return CompareObject(was, now, format.KindList, of.ID.Index(), unsafe.Pointer(list), object.Layout{Cell: t.item})
}

// Compare implements Subject.
func (of RefOf) Compare(was, now *Editor, _ Instants) (*Comparison, error) {
	p, t, err := now.value(of)
	if err != nil {
		return nil, err
	}
	return CompareObject(was, now, format.KindValue, of.ID.Index(), p, object.Layout{Cell: t.value})
}

// StoredOf names an object that is watched by its stored types alone. They are those
// that Editor.Stored returned.
type StoredOf struct {
	ID         format.ID
	Kind       string
	Key, Value *layout.Type
}

// Compare implements Subject.
func (of StoredOf) Compare(was, now *Editor, at Instants) (*Comparison, error) {
	s, err := now.Stored(of.ID)
	if err != nil {
		return nil, err
	}
	if s.Kind != of.Kind || !layout.Same(s.Value, of.Value) || s.Key != nil && !layout.Same(s.Key, of.Key) {
		return nil, fmt.Errorf("%w: the types of the %s have changed since it was looked up; look it up again", failure.ErrTypeChanged, of.Kind)
	}
	p, err := now.object(of.ID.Index(), s.kind)
	if err != nil {
		return nil, err
	}
	if s, ok := s.StoredAccess.(*storedMap); ok {
		return compareMap(was, now, s.m, (*format.MapObject)(p), at)
	}
	return CompareObject(was, now, s.kind, of.ID.Index(), p, s.layout)
}

// Same reports whether both versions have the key, with equal values: it was set to
// what it was, or several times.
func (c *Comparison) Same(p pair) (bool, error) {
	if p.Was == nil || p.Now == nil {
		return false, nil
	}
	return c.Value.SameStored(c.ValueOf(p.Was), c.was.Bounds(p.Was), c.ValueOf(p.Now), c.now.Bounds(p.Now))
}

// Difference returns what a pair says.
func (c *Comparison) Difference(p pair) *Difference {
	d := &Difference{Version: c.now.Version(), index: int(p.Index), key: c.Key, value: c.Value}
	d.Was, d.Now = c.part(c.was, p.Was), c.part(c.now, p.Now)
	switch {
	case c.Key == nil:
	case c.KeyOf == nil:
		d.Key = StoredPart{unsafe.Pointer(&d.index), everywhere}
	case p.Now != nil:
		d.Key = StoredPart{c.KeyOf(p.Now), c.now.Bounds(p.Now)}
	default:
		d.Key = StoredPart{c.KeyOf(p.Was), c.was.Bounds(p.Was)}
	}
	return d
}

// part returns the value in a block.
func (c *Comparison) part(ed *Editor, payload unsafe.Pointer) StoredPart {
	if payload == nil {
		return StoredPart{}
	}
	return StoredPart{c.ValueOf(payload), ed.Bounds(payload)}
}

// DiffObjects calls each with the index of every object that is not the same block in
// two versions, and the addresses of its blocks, 0 where there is none, until each
// returns an error, which it returns. The cost is that of what changed. Both versions
// are held; the newer may be the one that a transaction is making.
func DiffObjects(was, now *Editor, each func(index uint64, was, now format.Addr) error) error {
	n := max(was.State.NextIndex, now.State.NextIndex)
	d, err := vector.NewDiffer(was.Reader, format.Link(was.State.Table), now.Reader, format.Link(now.State.Table), n)
	for more := err == nil; more && err == nil; {
		var failed error
		more, err = d.Step(func(i, was, now uint64) {
			if failed == nil {
				failed = each(i, format.Addr(was), format.Addr(now))
			}
		})
		if failed != nil {
			return failed
		}
	}
	return err
}

// Difference is what one key has in two versions. The pointers are valid until the
// function that it is passed to returns.
type Difference struct {
	Version format.Version
	More    bool       // there are more of this version
	Key     StoredPart // nil: there are no keys
	Was     StoredPart // nil: the key was not there
	Now     StoredPart // nil: the key is not there
	index   int
	key     *layout.Type
	value   *layout.Type
}

// CopyKey copies the key to the variable at dst.
func (d *Difference) CopyKey(dst unsafe.Pointer) error {
	return d.key.CopyOut(dst, d.Key.Pointer, d.Key.Bounds)
}

// CopyValue copies one of the values to the variable at dst.
func (d *Difference) CopyValue(dst unsafe.Pointer, p StoredPart) error {
	return d.value.CopyOut(dst, p.Pointer, p.Bounds)
}

// Encoded renders the key and the values, in the compact form or as JSON; nil where there are
// none.
func (d *Difference) Encoded(compact bool) (key, was, now []byte, err error) {
	part := func(t *layout.Type, p StoredPart) (b []byte) {
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
