// Package delta emits the logical changes that turn one version of a space into another. It serves
// versions that do not list their changes, because they changed types, declared an index, restored a
// checkpoint, or made too many changes to list.
//
// Both versions are held, so equal addresses mean equal blocks, which the walk skips (package trie):
// the work is proportional to the difference. Delta compares the object tables first. It drops an
// object that is only in the older version. It creates an object that is only in the newer version,
// or has other types there, as a backup does (package dump). For every other object it emits the
// entries that differ.
//
// Invariants:
//
//	DL1  The changes, applied in their order to the older version, make a version with the same dump
//	     as the newer one: same objects under the same indexes, same types, same entries, same marks,
//	     lists in the same order.
//	DL2  No change names an object that comes later: first come the drops, then the new types, then
//	     the other new objects, then contents. So objects may refer to each other in any way, cycles
//	     included.
//
// Start reading at Delta.Run.
package delta

import (
	"fmt"
	"unsafe"

	"github.com/everheap/everheap/internal/dump"
	"github.com/everheap/everheap/internal/entry"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/heap"
	"github.com/everheap/everheap/internal/layout"
	"github.com/everheap/everheap/internal/object"
	"github.com/everheap/everheap/internal/vector"
)

// A Version is a version that is held, or is about to be published.
type Version struct {
	Reader *heap.Reader
	State  *format.State
}

// A Delta emits the changes that turn one version into another.
type Delta struct {
	Was, Now Version
	Own      *entry.Shape // of the space's own maps
	Shape    func(key, value *layout.Type) *entry.Shape
	Put      func(h format.OpHead, payload []byte) error // takes a change; an error ends the delta

	gone    []uint64 // objects
	fresh   map[uint64]bool
	changed []changed
	dump    dump.Dump
}

// changed is an object that is in both versions and differs.
type changed struct {
	index    uint64
	was, now format.Addr
}

// Run emits all changes. Errors: of Put, and of blocks that cannot be read.
func (d *Delta) Run() error {
	if d.Was.State.Table == d.Now.State.Table {
		return nil
	}
	d.fresh = map[uint64]bool{}
	if err := d.compare(); err != nil {
		return err
	}
	if err := d.drop(); err != nil {
		return err
	}
	if err := d.make(); err != nil {
		return err
	}
	for _, c := range d.changed {
		if err := d.change(c); err != nil {
			return fmt.Errorf("object %d: %w", c.index, err)
		}
	}
	return nil
}

// compare finds the objects that differ.
func (d *Delta) compare() error {
	was, now := d.Was.State, d.Now.State
	differ, err := vector.NewDiffer(d.Was.Reader, format.Link(was.Table), d.Now.Reader, format.Link(now.Table), max(was.NextIndex, now.NextIndex))
	if err != nil {
		return err
	}
	for more := true; more; {
		var failed error
		more, err = differ.Step(func(i, before, after uint64) {
			if failed == nil && before != after {
				failed = d.sort(i, format.Addr(before), format.Addr(after))
			}
		})
		if err != nil || failed != nil {
			return fmt.Errorf("comparing objects: %w", firstOf(err, failed))
		}
	}
	return nil
}

func firstOf(a, b error) error {
	if a != nil {
		return a
	}
	return b
}

// sort decides whether an object is dropped, created or changed.
func (d *Delta) sort(index uint64, was, now format.Addr) error {
	switch {
	case was == 0:
		d.fresh[index] = true
	case now == 0:
		d.gone = append(d.gone, index)
	default:
		same, err := d.sameTypes(was, now)
		if err != nil {
			return err
		}
		if same {
			d.changed = append(d.changed, changed{index, was, now})
		} else {
			d.gone = append(d.gone, index)
			d.fresh[index] = true
		}
	}
	return nil
}

// sameTypes reports whether an object has the same kind and types in both versions, and a kind whose
// differences the delta can emit.
func (d *Delta) sameTypes(was, now format.Addr) (bool, error) {
	k, old, err := d.kindOf(d.Was.Reader, was)
	if err != nil {
		return false, err
	}
	l, is, err := d.kindOf(d.Now.Reader, now)
	if err != nil || k != l {
		return false, err
	}
	key, value, _ := k.Contents(old)
	newKey, newValue, _ := k.Contents(is)
	_, paired := k.(object.Paired)
	return paired && key == newKey && value == newValue, nil
}

// kindOf returns the kind and the payload of an object.
func (d *Delta) kindOf(r *heap.Reader, a format.Addr) (object.Kind, unsafe.Pointer, error) {
	kind := format.KindNone
	if r.Plausible(a) {
		kind = r.Kind(a)
	}
	k := object.Of(kind)
	if k == nil {
		return nil, nil, fmt.Errorf("an object cannot be a %s block", kind)
	}
	p, err := r.Payload(a, kind)
	return k, p, err
}

// drop emits the drops of objects, up to 64 in a change.
func (d *Delta) drop() error {
	for len(d.gone) > 0 {
		first, mask, n := d.gone[0], uint64(0), 0
		for n < len(d.gone) && d.gone[n] >= first && d.gone[n] < first+64 {
			mask |= 1 << (d.gone[n] - first)
			n++
		}
		d.gone = d.gone[n:]
		if err := d.Put(format.OpHead{What: format.MakeWhat(format.OpDrop, first), Arg: mask}, nil); err != nil {
			return err
		}
	}
	return nil
}

// make emits the new objects, and finds the types of all objects.
func (d *Delta) make() error {
	d.dump = dump.Dump{Reader: d.Now.Reader, State: d.Now.State, Own: d.Own, Shape: d.Shape, Put: d.Put}
	d.dump.Only = func(index uint64) bool { return d.fresh[index] }
	d.dump.Verify = d.verify
	d.dump.Lost = func(_ uint64, _ format.Addr, err error) error { return err }
	return d.dump.Run()
}

// verify checks a block by its header, since a block of the newer version may not be sealed yet.
func (d *Delta) verify(a format.Addr, kind format.Kind) error {
	if r := d.Now.Reader; !r.Plausible(a) || r.Kind(a) != kind {
		return &format.DamageError{File: "heap", Offset: d.Now.Reader.Offset(a), What: fmt.Sprintf("this is not a %s block", kind)}
	}
	return nil
}

// change emits the differences in an object.
func (d *Delta) change(c changed) error {
	k, was, err := d.kindOf(d.Was.Reader, c.was)
	if err != nil {
		return err
	}
	_, now, err := d.kindOf(d.Now.Reader, c.now)
	if err != nil {
		return err
	}
	if is, old := d.marks(k, now), d.marks(k, was); is != old {
		if err := d.Put(format.OpHead{What: format.MakeWhat(format.OpMark, c.index), Arg: is}, nil); err != nil {
			return err
		}
	}
	l := object.Layout{Shape: d.Own}
	if key, value, _ := k.Contents(now); value != 0 {
		l = k.Layout(d.dump.TypeOf(key), d.dump.TypeOf(value), object.Maker{Shape: d.Shape})
	}
	compared, err := k.Compare(object.Version{Reader: d.Was.Reader, Payload: was}, object.Version{Reader: d.Now.Reader, Payload: now}, l)
	if err != nil {
		return err
	}
	return k.(object.Paired).Changes(was, now, compared, func(op format.OpKind, arg uint64, carried unsafe.Pointer) error {
		h := format.OpHead{What: format.MakeWhat(op, c.index), Arg: arg}
		if carried == nil {
			return d.Put(h, nil)
		}
		h.Addr = uint64(uintptr(carried))
		return d.Put(h, unsafe.Slice((*byte)(carried), d.Now.Reader.Size(format.Addr(h.Addr-format.HeaderSize))))
	})
}

// marks returns the marks of the keys of a map.
func (d *Delta) marks(k object.Kind, p unsafe.Pointer) uint64 {
	if kind := k.About().Kind; kind == format.KindMap || kind == format.KindSorted {
		return (*format.MapObject)(p).Key & format.KeyMarks
	}
	return 0
}
