package engine

import (
	"errors"
	"fmt"
	"unsafe"

	"github.com/everheap/everheap/internal/btree"
	"github.com/everheap/everheap/internal/entry"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/heap"
	"github.com/everheap/everheap/internal/layout"
	"github.com/everheap/everheap/internal/table"
	"github.com/everheap/everheap/internal/trie"
)

// A dump tells one version as the logical changes that make it from an empty space;
// the applier takes them. It goes over the objects three times, in the order of their
// indexes: first it tells the types, then that each other object is there, empty, and
// then what each one holds. So no change speaks of an object that comes later, whatever
// handles the values hold, and although a collection that has evolved is older than
// its types.
//
// Nothing is looked into before it was verified, and no damage leads astray or in
// circles: the depth of a tree is bounded, and so is the number of its blocks, by
// what the object says that it holds.
//
// A kind of object has one function here, for both passes. It is the place to add
// one; with it go a case in the applier, and, for what can be got out of damaged
// spaces, in salvage.noteTold and salvage.fits.
type dump struct {
	r     *heap.Reader
	state *format.State
	own   *entry.Shape // of the space's own maps
	shape func(key, value *layout.Type) *entry.Shape

	verify func(a format.Addr, kind format.Kind) error         // a block; only then is it read
	put    func(h format.OpHead, payload []byte) error         // takes a change
	lost   func(object uint64, a format.Addr, err error) error // told of damage; an error ends the dump

	// Each may be nil.
	meet  func(object uint64, t *layout.Type, p unsafe.Pointer, b layout.Bounds) // is shown each key and each value before it is told
	name  func(object uint64, e unsafe.Pointer, b layout.Bounds) bool            // whether to tell an entry of one of the space's own maps
	there func(index uint64) bool                                                // whether there is such an object: names must lead to one
	guard func(fn func() error) error                                            // runs the telling of one object

	pass    pass
	object  uint64 // being told
	budget  uint64 // blocks of it that may still be visited
	types   map[uint64]*layout.Type
	failed  error  // of put
	objects uint64 // told, the space's own maps included
	entries uint64 // told
	last    uint64 // the greatest index that was met
	missing uint64 // entries that maps say to have, and that cannot be told
}

var errCircles = errors.New("its links lead in circles, or to more than it can hold")

// A pass is one walk of a dump over all objects.
type pass int

const (
	passTypes    pass = iota // tells types; what is damaged the next one tells
	passObjects              // tells that there are objects
	passContents             // tells what they hold
)

// run tells the whole version.
func (d *dump) run() error {
	d.types = map[uint64]*layout.Type{}
	for d.pass = passTypes; d.pass <= passContents; d.pass++ {
		d.object, d.budget = 0, blockBudget(d.state.Objects)
		root := format.Link(d.state.Table)
		err := table.Walk(d.r, root, d.visit, d.one)
		if err = d.damage(root.Addr(), err); err != nil {
			return err
		}
	}
	return nil
}

// one tells of the object with an index, whose block the object table names.
func (d *dump) one(index uint64, a format.Addr) error {
	if d.budget == 0 {
		return errCircles
	}
	budget := d.budget - 1
	d.object, d.last = index, max(d.last, index)
	var err error
	switch {
	case index >= d.state.NextIndex:
		err = d.damage(a, d.onlyOnce(errors.New("an object beyond the last index")))
	case d.guard != nil:
		err = d.damage(a, d.guard(func() error { return d.any(a) }))
	default:
		err = d.any(a)
	}
	d.object, d.budget = 0, budget
	return err
}

// blockBudget returns more blocks than a tree with so many things in it has.
func blockBudget(things uint64) uint64 { return (min(things, 1<<48) + 1) * 16 }

// visit verifies a block that is met on the way, and says whether to look into it.
func (d *dump) visit(a format.Addr, kind format.Kind) (bool, error) {
	if d.budget == 0 {
		return false, errCircles
	}
	d.budget--
	if err := d.verify(a, kind); err != nil {
		return false, d.damage(a, err)
	}
	return true, nil
}

// damage tells of an error, unless it is one of put, and returns what to do about it.
func (d *dump) damage(a format.Addr, err error) error {
	if err == nil || d.failed != nil {
		return err
	}
	if d.pass == passTypes {
		return nil // it is found again
	}
	return d.lost(d.object, a, err)
}

// tell tells a change.
func (d *dump) tell(kind format.OpKind, h format.OpHead, payload []byte) error {
	h.What = format.MakeWhat(kind, d.object)
	d.failed = d.put(h, payload)
	return d.failed
}

// payload returns the payload of a verified block as bytes, and its address.
func (d *dump) payload(a format.Addr) ([]byte, format.OpHead) {
	at := uintptr(a) + format.HeaderSize
	return unsafe.Slice((*byte)(unsafe.Add(unsafe.Pointer(nil), at)), d.r.Size(a)), format.OpHead{Addr: uint64(at)}
}

// any tells of an object, of whatever kind: the header of its block says which.
func (d *dump) any(a format.Addr) error {
	kind := format.KindMap
	if d.r.Plausible(a) {
		kind = d.r.Kind(a)
	}
	if d.pass == passTypes && kind != format.KindType {
		return nil
	}
	if ok, err := d.visit(a, kind); !ok {
		return err
	}
	var err error
	switch kind {
	case format.KindType:
		err = d.descriptor(a)
	case format.KindMap, format.KindSorted:
		err = d.mapping(a, kind)
	case format.KindList:
		err = d.list(a)
	case format.KindValue:
		err = d.value(a)
	default:
		err = fmt.Errorf("an object cannot be a %s block", kind)
	}
	return d.damage(a, err)
}

// descriptor tells of a type.
func (d *dump) descriptor(a format.Addr) error {
	if d.pass == passContents {
		return nil
	}
	payload, h := d.payload(a)
	const head = int(unsafe.Sizeof(format.TypeObject{}))
	if len(payload) < head {
		return errors.New("a type descriptor is too short")
	}
	t, err := layout.Decode(append([]byte(nil), payload[head:]...))
	if err != nil {
		return fmt.Errorf("a type descriptor: %w", err)
	}
	if d.pass == passObjects {
		return nil // it was told
	}
	d.types[d.object] = t
	d.objects++
	return d.tell(format.OpNewType, h, payload)
}

// mapping tells of a map, sorted or not.
func (d *dump) mapping(a format.Addr, kind format.Kind) error {
	payload, _ := d.payload(a)
	if len(payload) != int(unsafe.Sizeof(format.MapObject{})) {
		return errors.New("a map object of the wrong size")
	}
	object := *(*format.MapObject)(unsafe.Pointer(unsafe.SliceData(payload)))
	sh := d.own
	own := d.object == d.state.Catalog || d.object == d.state.Types // every space has them
	if !own {
		key, value := d.types[object.Key], d.types[object.Value]
		if key == nil || value == nil {
			if d.pass == passContents {
				d.missing += object.Count
			}
			return d.onlyOnce(fmt.Errorf("a map whose types, objects %d and %d, are not known", object.Key, object.Value))
		}
		if err := entry.CheckKeys(key, kind); err != nil {
			return d.onlyOnce(fmt.Errorf("a map with impossible keys: %w", err))
		}
		sh = d.shape(key, value)
	}
	if d.pass == passContents {
		return d.mapEntries(a, kind, &object, sh)
	}
	d.objects++
	if own {
		return nil
	}
	return d.tell(format.NewMapOp(kind), format.OpHead{Addr: object.Key, Arg: object.Value}, nil)
}

// onlyOnce returns the error but for the last pass: an object that was not told has no
// contents.
func (d *dump) onlyOnce(err error) error {
	if d.pass == passContents {
		return nil
	}
	return err
}

// mapEntries tells the entries of a map.
func (d *dump) mapEntries(a format.Addr, kind format.Kind, object *format.MapObject, sh *entry.Shape) error {
	d.budget = blockBudget(object.Count)
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
		err = btree.Blocks(d.r, format.Link(object.Root), visit)
	} else {
		err = trie.Blocks(d.r, format.Link(object.Root), visit)
	}
	if err = d.damage(a, err); err != nil || found == object.Count {
		return err
	}
	d.missing += object.Count - min(found, object.Count)
	return fmt.Errorf("the map says %d entries, %d can be read", object.Count, found)
}

// entry tells one entry, and reports whether it is one that can be told.
func (d *dump) entry(a format.Addr, sh *entry.Shape, sorted bool) (bool, error) {
	payload, h := d.payload(a)
	if len(payload) < sh.FixedSize() {
		return false, fmt.Errorf("an entry of %d bytes is shorter than its types", len(payload))
	}
	p := unsafe.Pointer(unsafe.SliceData(payload))
	bounds := entry.Bounds(d.r, p)
	if err := sh.Key.Check(sh.KeyOf(p), bounds); err != nil {
		return false, fmt.Errorf("the key of an entry: %w", err)
	}
	if err := sh.Value.Check(sh.ValueOf(p), bounds); err != nil {
		return false, fmt.Errorf("the value of an entry: %w", err)
	}
	if err := placeable(sh, sh.KeyOf(p), sorted); err != nil {
		return false, fmt.Errorf("the key of an entry: %w", err)
	}
	if sh == d.own && d.there != nil {
		if err := leads(sh, p, bounds, d.object == d.state.Types, d.types, d.there); err != nil {
			return false, err
		}
	}
	switch {
	case sh == d.own && d.name != nil && !d.name(d.object, p, bounds):
		return true, nil
	case sh != d.own && d.meet != nil:
		d.meet(d.object, sh.Key, sh.KeyOf(p), bounds)
		d.meet(d.object, sh.Value, sh.ValueOf(p), bounds)
	}
	d.entries++
	return true, d.tell(format.OpSet, h, payload)
}

// placeable returns an error for a key that has no place in a map, such as NaN.
func placeable(sh *entry.Shape, key unsafe.Pointer, sorted bool) error {
	if sorted {
		return sh.CheckOrder(key)
	}
	_, err := sh.Hash(key)
	return err
}

// leads returns an error if an entry of one of the space's own maps does not lead to
// what it should: to a type with the digest, or to an object.
func leads(own *entry.Shape, e unsafe.Pointer, b layout.Bounds, toType bool, types map[uint64]*layout.Type, there func(index uint64) bool) error {
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

// backupHead returns what a backup says of the space and the version.
func backupHead(h *format.Header, limit uint64, state *format.State) format.BackupHead {
	return format.BackupHead{
		SpaceID: h.SpaceID, Secret: h.Secret, Window: h.Window, Limit: limit, Created: h.Created, Tag: h.Tag,
		Version: state.Version, UnixNano: state.UnixNano,
	}
}
