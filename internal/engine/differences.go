package engine

import (
	"fmt"
	"unsafe"

	"github.com/everheap/everheap/internal/btree"
	"github.com/everheap/everheap/internal/entry"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/layout"
	"github.com/everheap/everheap/internal/trie"
	"github.com/everheap/everheap/internal/vector"
)

// What differs between two versions is found by comparing addresses. Both versions are
// held, so none of their blocks changes, and what is at one address is the same in both:
// see trie.Differ. So the cost is that of what changed.

// pair is what one key has in two versions: payloads of blocks; nil is nothing.
type pair struct {
	index    uint64 // of the element of a list
	was, now unsafe.Pointer
}

// comparison finds the differences of one object between two versions, some at a time.
type comparison struct {
	was, now *Tx          // was is nil if there is no older version
	key      *layout.Type // nil: there are no keys
	value    *layout.Type
	keyOf    func(payload unsafe.Pointer) unsafe.Pointer // nil: the index is the key
	valueOf  func(payload unsafe.Pointer) unsafe.Pointer
	step     func(yield func(pair)) (more bool, err error)
}

// Subject is an object that can be watched, and how it is looked at.
type Subject interface {
	// compare returns what finds the differences of the object between two versions,
	// nil if there are none. Without an older version everything is new. It is an error
	// if the object is not there in the newer version, or has other types.
	compare(was, now *Tx) (*comparison, error)
}

// before returns the payload of an object in the older version; nil if there is none.
func before(was *Tx, index uint64, kind format.Kind) (unsafe.Pointer, error) {
	if was == nil {
		return nil, nil
	}
	return was.object(index, kind)
}

// readerOf returns the reader of the older version, or any if there is none.
func readerOf(was, now *Tx) *Tx {
	if was == nil {
		return now
	}
	return was
}

// compare implements Subject for maps, sorted or not.
func (of MapOf) compare(was, now *Tx) (*comparison, error) {
	m, object, err := now.Bind(of)
	if err != nil {
		return nil, err
	}
	return compareMaps(was, now, m, object)
}

// compareMaps compares a map with what it was.
func compareMaps(was, now *Tx, m *Map, object *format.MapObject) (*comparison, error) {
	p, err := before(was, m.index, m.kind)
	if err != nil || p == unsafe.Pointer(object) {
		return nil, err
	}
	old := format.MapObject{}
	if p != nil {
		old = *(*format.MapObject)(p)
	}
	c := &comparison{was: was, now: now, key: m.shape.Key, value: m.shape.Value, keyOf: m.shape.KeyOf, valueOf: m.shape.ValueOf}
	var step func(yield func(was, now unsafe.Pointer)) (bool, error)
	if m.sorted() {
		d, err := btree.NewDiffer(btree.Tree{Reader: readerOf(was, now).reader, Root: format.Link(old.Root), Count: old.Count},
			btree.Tree{Reader: now.reader, Root: format.Link(object.Root), Count: object.Count}, m.shape)
		if err != nil {
			return nil, err
		}
		step = d.Step
	} else {
		d, err := trie.NewDiffer(trie.Tree{Reader: readerOf(was, now).reader, Root: format.Link(old.Root), Count: old.Count},
			trie.Tree{Reader: now.reader, Root: format.Link(object.Root), Count: object.Count}, m.shape)
		if err != nil {
			return nil, err
		}
		step = d.Step
	}
	c.step = func(yield func(pair)) (bool, error) {
		return step(func(was, now unsafe.Pointer) { yield(pair{was: was, now: now}) })
	}
	return c, nil
}

// compare implements Subject.
func (of ListOf) compare(was, now *Tx) (*comparison, error) {
	object, t, err := now.list(of)
	if err != nil {
		return nil, err
	}
	return compareLists(was, now, of.ID.Index(), object, t.item)
}

// compareLists compares a list with what it was. Words beyond the length of a list are
// none of its elements.
func compareLists(was, now *Tx, index uint64, object *format.ListObject, cell *entry.Cell) (*comparison, error) {
	p, err := before(was, index, format.KindList)
	if err != nil || p == unsafe.Pointer(object) {
		return nil, err
	}
	old, is := format.ListObject{}, *object
	if p != nil {
		old = *(*format.ListObject)(p)
	}
	from := readerOf(was, now)
	d, err := vector.NewDiffer(from.reader, format.Link(old.Root), now.reader, format.Link(is.Root), max(old.Count, is.Count))
	if err != nil {
		return nil, err
	}
	key, err := layout.For[int]()
	c := &comparison{was: was, now: now, key: key, value: cell.Type, valueOf: cell.ValueOf}
	c.step = func(yield func(pair)) (more bool, err error) {
		var failed error
		more, err = d.Step(func(i, oldWord, newWord uint64) {
			d := pair{index: i}
			if failed == nil && i < old.Count {
				d.was, failed = from.reader.Payload(format.Addr(oldWord), format.KindItem)
			}
			if failed == nil && i < is.Count {
				d.now, failed = now.reader.Payload(format.Addr(newWord), format.KindItem)
			}
			if failed == nil && (d.was != nil || d.now != nil) {
				yield(d)
			}
		})
		return more, joinFailure(err, failed)
	}
	return c, err
}

// compare implements Subject.
func (of RefOf) compare(was, now *Tx) (*comparison, error) {
	p, t, err := now.value(of)
	if err != nil {
		return nil, err
	}
	return compareValues(was, now, of.ID.Index(), p, t.value)
}

// compareValues compares a single value with what it was.
func compareValues(was, now *Tx, index uint64, p unsafe.Pointer, cell *entry.Cell) (*comparison, error) {
	old, err := before(was, index, format.KindValue)
	if err != nil || old == p {
		return nil, err
	}
	c := &comparison{was: was, now: now, value: cell.Type, valueOf: cell.ValueOf}
	c.step = func(yield func(pair)) (bool, error) {
		yield(pair{was: old, now: p})
		return false, nil
	}
	return c, nil
}

// StoredOf names an object that is watched by its stored types alone. They are those
// that Tx.Stored returned.
type StoredOf struct {
	ID         format.ID
	Kind       string
	Key, Value *layout.Type
}

// compare implements Subject.
func (of StoredOf) compare(was, now *Tx) (*comparison, error) {
	s, err := now.Stored(of.ID)
	if err != nil {
		return nil, err
	}
	if s.Kind != of.Kind || !layout.Same(s.Value, of.Value) || s.Key != nil && !layout.Same(s.Key, of.Key) {
		return nil, fmt.Errorf("%w: the types of the %s have changed since it was looked up; look it up again", ErrTypeChanged, of.Kind)
	}
	switch a := s.StoredAccess.(type) {
	case *storedMap:
		object, err := now.entriesObject(a.m.index, a.m.kind)
		if err != nil {
			return nil, err
		}
		return compareMaps(was, now, a.m, object)
	case *storedList:
		object, err := now.listObject(a.index)
		if err != nil {
			return nil, err
		}
		return compareLists(was, now, a.index, object, a.cell)
	case *storedValue:
		p, err := now.object(a.index, format.KindValue)
		if err != nil {
			return nil, err
		}
		return compareValues(was, now, a.index, p, a.cell)
	}
	return nil, fmt.Errorf("everheap: internal: a %s cannot be watched", s.Kind)
}

// same reports whether both versions have the key, with equal values: it was set to
// what it was, or several times.
func (c *comparison) same(p pair) (bool, error) {
	if p.was == nil || p.now == nil {
		return false, nil
	}
	return c.value.SameStored(c.valueOf(p.was), c.was.Bounds(p.was), c.valueOf(p.now), c.now.Bounds(p.now))
}

// diffObjects calls each with the index of every object that is not the same block in
// two versions, and the addresses of its blocks, 0 where there is none, until each
// returns an error, which it returns. The cost is that of what changed. Both versions
// are held; the newer may be the one that a transaction is making.
func diffObjects(was, now *Tx, each func(index uint64, was, now format.Addr) error) error {
	n := max(was.state.NextIndex, now.state.NextIndex)
	d, err := vector.NewDiffer(was.reader, format.Link(was.state.Table), now.reader, format.Link(now.state.Table), n)
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

// KeyJSON renders the key; nil if there are none.
func (d *Difference) KeyJSON() ([]byte, error) { return partJSON(d.key, d.Key) }

// ValueJSON renders one of the values; nil if it is nil.
func (d *Difference) ValueJSON(p StoredPart) ([]byte, error) { return partJSON(d.value, p) }

func partJSON(t *layout.Type, p StoredPart) ([]byte, error) {
	if p.Pointer == nil {
		return nil, nil
	}
	return t.AppendJSON(nil, p.Pointer, p.Bounds)
}

// part returns the value in a block.
func (c *comparison) part(tx *Tx, payload unsafe.Pointer) StoredPart {
	if payload == nil {
		return StoredPart{}
	}
	return StoredPart{c.valueOf(payload), tx.Bounds(payload)}
}
