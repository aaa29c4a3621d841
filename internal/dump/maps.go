package dump

import (
	"errors"
	"fmt"
	"unsafe"

	"github.com/everheap/everheap/internal/btree"
	"github.com/everheap/everheap/internal/entry"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/layout"
	"github.com/everheap/everheap/internal/trie"
)

// mapping tells of a map, sorted or not.
func (d *Dump) mapping(a format.Addr, kind format.Kind) error {
	payload, _ := d.payload(a)
	if len(payload) != int(unsafe.Sizeof(format.MapObject{})) {
		return errors.New("a map object of the wrong size")
	}
	object := *(*format.MapObject)(unsafe.Pointer(unsafe.SliceData(payload)))
	sh := d.Own
	own := d.object == d.State.Catalog || d.object == d.State.Types // every space has them
	if !own {
		key, value := d.types[object.Key], d.types[object.Value]
		if key == nil || value == nil {
			if d.pass == passContents {
				d.Missing += object.Count
			}
			return d.onlyOnce(fmt.Errorf("a map whose types, objects %d and %d, are not known", object.Key, object.Value))
		}
		if err := entry.CheckKeys(key, kind); err != nil {
			return d.onlyOnce(fmt.Errorf("a map with impossible keys: %w", err))
		}
		sh = d.Shape(key, value)
	}
	if d.pass == passContents {
		return d.mapEntries(a, kind, &object, sh)
	}
	d.Objects++
	if own {
		return nil
	}
	return d.tell(format.NewMapOp(kind), format.OpHead{Addr: object.Key, Arg: object.Value}, nil)
}

// mapEntries tells the entries of a map.
func (d *Dump) mapEntries(a format.Addr, kind format.Kind, object *format.MapObject, sh *entry.Shape) error {
	d.budget = BlockBudget(object.Count)
	sorted := kind == format.KindSorted
	var found uint64
	visit := func(a format.Addr, kind format.Kind) (bool, error) {
		descend, err := d.visit(a, kind)
		if !descend || kind != format.KindEntry {
			return descend, err
		}
		told, err := d.entry(a, sh, sorted)
		if told {
			found++
		}
		return false, d.damage(a, err)
	}
	var err error
	if sorted {
		err = btree.Blocks(d.Reader, format.Link(object.Root), visit)
	} else {
		err = trie.Blocks(d.Reader, format.Link(object.Root), visit)
	}
	if err = d.damage(a, err); err != nil || found == object.Count {
		return err
	}
	d.Missing += object.Count - min(found, object.Count)
	return fmt.Errorf("the map says %d entries, %d can be read", object.Count, found)
}

// entry tells one entry, and reports whether it is one that can be told.
func (d *Dump) entry(a format.Addr, sh *entry.Shape, sorted bool) (bool, error) {
	payload, h := d.payload(a)
	if len(payload) < sh.FixedSize() {
		return false, fmt.Errorf("an entry of %d bytes is shorter than its types", len(payload))
	}
	p := unsafe.Pointer(unsafe.SliceData(payload))
	bounds := entry.Bounds(d.Reader, p)
	if err := sh.Key.Check(sh.KeyOf(p), bounds); err != nil {
		return false, fmt.Errorf("the key of an entry: %w", err)
	}
	if err := sh.Value.Check(sh.ValueOf(p), bounds); err != nil {
		return false, fmt.Errorf("the value of an entry: %w", err)
	}
	if err := CheckKey(sh, sh.KeyOf(p), sorted); err != nil {
		return false, fmt.Errorf("the key of an entry: %w", err)
	}
	if sh == d.Own && d.There != nil {
		if err := CheckLead(sh, p, bounds, d.object == d.State.Types, d.types, d.There); err != nil {
			return false, err
		}
	}
	switch {
	case sh == d.Own && d.Name != nil && !d.Name(d.object, p, bounds):
		return true, nil
	case sh != d.Own && d.Meet != nil:
		d.Meet(d.object, sh.Key, sh.KeyOf(p), bounds)
		d.Meet(d.object, sh.Value, sh.ValueOf(p), bounds)
	}
	d.Entries++
	return true, d.tell(format.OpSet, h, payload)
}

// CheckKey returns an error for a key that has no place in a map, such as NaN.
func CheckKey(sh *entry.Shape, key unsafe.Pointer, sorted bool) error {
	if sorted {
		return sh.CheckOrder(key)
	}
	_, err := sh.Hash(key)
	return err
}

// CheckLead returns an error if an entry of one of the space's own maps does not lead to
// what it should: to a type with the digest, or to an object.
func CheckLead(own *entry.Shape, e unsafe.Pointer, b layout.Bounds, toType bool, types map[uint64]*layout.Type, there func(index uint64) bool) error {
	var name string
	if err := own.Key.CopyOut(unsafe.Pointer(&name), own.KeyOf(e), b); err != nil {
		return err
	}
	index := *layout.Cast[uint64](own.ValueOf(e))
	switch {
	case !toType && !there(index):
		return fmt.Errorf("the name %q leads to object %d, which is not there", name, index)
	case toType && (types[index] == nil || layout.Digest(types[index].Encode()) != name):
		return fmt.Errorf("a digest leads to object %d, which is not its type", index)
	}
	return nil
}
