package object

import (
	"errors"
	"fmt"
	"unsafe"

	"github.com/everheap/everheap/internal/entry"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/heap"
	"github.com/everheap/everheap/internal/layout"
)

// mapKind is a kind of maps: hash maps, whose entries are in a trie, or sorted maps, whose entries
// are in a B+tree.
type mapKind struct {
	kind format.Kind
	tree
}

// The kinds of maps.
var (
	hashMap   = mapKind{format.KindMap, hashTree{}}
	sortedMap = mapKind{format.KindSorted, orderedTree{}}
)

// tree is the tree that has the entries of a map, for operations on whole maps. Package edit reads
// and changes single entries without an interface.
type tree interface {
	// about describes the kind of maps.
	about() *About
	// blocks visits the blocks of the tree.
	blocks(r *heap.Reader, root format.Link, visit Visit) error
	// all walks the entries.
	all(r *heap.Reader, m *format.MapObject, sh *entry.Shape, yield func(e unsafe.Pointer) bool) error
	// differences returns a step that finds the differences between two versions.
	differences(was, now treeVersion, sh *entry.Shape) (stepFunc, error)
	// check verifies the tree and returns the number of entries.
	check(c Checker, root format.Link, sh *entry.Shape, report func(a format.Addr, what string)) (uint64, error)
	// checkKey returns an error for a key that cannot be in the tree, such as NaN.
	checkKey(sh *entry.Shape, key unsafe.Pointer) error
	// nodes describes the blocks of the tree, except the entries.
	nodes() []Node
	// referRoot is Node.Refer for the link to the root, at an offset.
	referRoot(s Walker, b *Block, at int, of Owner, fn Refer) error
}

// treeVersion is a tree in one version.
type treeVersion struct {
	reader *heap.Reader
	root   format.Link
	count  uint64
}

// stepFunc finds the next differences, and reports whether there may be more.
type stepFunc = func(yield func(was, now unsafe.Pointer)) (bool, error)

// About implements Kind.
func (k mapKind) About() *About { return k.about() }

// Fits implements Kind.
func (k mapKind) Fits(size format.ByteCount) bool {
	return size == format.ByteCount(unsafe.Sizeof(format.MapObject{}))
}

// Contents implements Kind.
func (k mapKind) Contents(p unsafe.Pointer) (key, value, count uint64) {
	m := (*format.MapObject)(p)
	return m.KeyType(), m.Value, m.Count
}

// Blocks implements Kind.
func (k mapKind) Blocks(r *heap.Reader, p unsafe.Pointer, visit Visit) error {
	return k.blocks(r, format.Link((*format.MapObject)(p).Root), visit)
}

// Layout implements Kind.
func (k mapKind) Layout(key, value *layout.Type, m Maker) Layout {
	return Layout{Shape: m.Shape(key, value)}
}

// Holders implements Kind.
func (k mapKind) Holders(r *heap.Reader, index uint64, p unsafe.Pointer, l Layout, each func(holder unsafe.Pointer) error) error {
	object := (*format.MapObject)(p)
	var failed error
	found := uint64(0)
	err := k.all(r, object, l.Shape, func(e unsafe.Pointer) bool {
		found++
		failed = each(e)
		return failed == nil
	})
	if failed != nil {
		return failed
	}
	if err == nil && found != object.Count {
		err = &format.DamageError{File: "heap", What: fmt.Sprintf("the map %d counts %d entries, %d can be found", index, object.Count, found)}
	}
	return err
}

// Handles implements Kind.
func (k mapKind) Handles(l Layout, holder unsafe.Pointer, b layout.Bounds, meet Meet) error {
	err := l.Shape.Key.Handles(l.Shape.KeyOf(holder), b, meet)
	if err == nil {
		err = l.Shape.Value.Handles(l.Shape.ValueOf(holder), b, meet)
	}
	return err
}

// Compare implements Kind.
func (k mapKind) Compare(was, now Version, l Layout) (*Comparison, error) {
	old, is := format.MapObject{}, (*format.MapObject)(now.Payload)
	if was.Payload != nil {
		old = *(*format.MapObject)(was.Payload)
	}
	step, err := k.differences(treeVersion{was.Reader, format.Link(old.Root), old.Count}, treeVersion{now.Reader, format.Link(is.Root), is.Count}, l.Shape)
	if err != nil {
		return nil, err
	}
	c := &Comparison{Key: l.Shape.Key, Value: l.Shape.Value, KeyOf: l.Shape.KeyOf, ValueOf: l.Shape.ValueOf}
	c.Step = func(yield func(Pair)) (bool, error) {
		return step(func(was, now unsafe.Pointer) { yield(Pair{Was: was, Now: now}) })
	}
	return c, nil
}

// Check implements Kind: the tree of a map, with its types if they are known.
func (k mapKind) Check(c Checker, o At, p unsafe.Pointer) error {
	object := *(*format.MapObject)(p)
	shape := k.shape(c, o, object)
	report := func(a format.Addr, what string) { c.Find(a, "%s", what) }
	n, err := k.check(c, format.Link(object.Root), shape, report)
	if err != nil {
		return err
	}
	c.Count(n)
	if n != object.Count && !c.Older() && c.Sound() {
		c.Find(o.Addr, "the map counts %d entries, there are %d", object.Count, n)
	}
	return nil
}

// shape returns the shape of a map's entries; nil if its types are not known.
func (k mapKind) shape(c Checker, o At, object format.MapObject) *entry.Shape {
	if object.Key == 0 && object.Value == 0 { // it is one of the space's own
		return c.Shape(OwnTypes())
	}
	key, value := c.Type(object.KeyType()), c.Type(object.Value)
	if key == nil || value == nil {
		c.Find(o.Addr, "the types of a map, objects %d and %d, are missing", object.KeyType(), object.Value)
		return nil
	}
	if err := entry.CheckKeys(key, k.kind); err != nil {
		c.Find(o.Addr, "the type of the keys: %v", err)
		return nil
	}
	return c.Shape(key, value)
}

// OwnTypes returns the types of the space's own maps, which have no descriptors.
func OwnTypes() (key, value *layout.Type) {
	key, _ = layout.For[string]()
	value, _ = layout.For[uint64]()
	return key, value
}

// Dump implements Kind.
func (k mapKind) Dump(t Emitter, a format.Addr) error {
	payload, _ := t.Payload(a)
	if len(payload) != mapSize {
		return errors.New("a map object of the wrong size")
	}
	object := *(*format.MapObject)(unsafe.Pointer(unsafe.SliceData(payload)))
	sh := t.Own()
	own := sh != nil
	if !own {
		key, value := t.Type(object.KeyType()), t.Type(object.Value)
		if key == nil || value == nil {
			if t.Pass() == PassContents {
				t.Counts().Missing += object.Count
			}
			return t.Once(fmt.Errorf("a map whose types, objects %d and %d, are not known", object.KeyType(), object.Value))
		}
		if err := entry.CheckKeys(key, k.kind); err != nil {
			return t.Once(fmt.Errorf("a map with impossible keys: %w", err))
		}
		sh = t.Shape(key, value)
	}
	if t.Pass() == PassContents {
		return k.dumpEntries(t, a, &object, sh, own)
	}
	t.Counts().Objects++
	if own {
		return nil
	}
	return t.Emit(k.About().New, format.OpHead{Addr: object.Key, Arg: object.Value}, nil)
}

func (k mapKind) dumpEntries(t Emitter, a format.Addr, object *format.MapObject, sh *entry.Shape, own bool) error {
	t.Things(object.Count)
	var found uint64
	err := k.Blocks(t.Reader(), unsafe.Pointer(object), func(a format.Addr, kind format.Kind) (bool, error) {
		descend, err := t.Visit(a, kind)
		if !descend || kind != format.KindEntry {
			return descend, err
		}
		emitted, err := k.dumpEntry(t, a, sh, own)
		if emitted {
			found++
		}
		return false, t.Damage(a, err)
	})
	if err = t.Damage(a, err); err != nil || found == object.Count {
		return err
	}
	t.Counts().Missing += object.Count - min(found, object.Count)
	return fmt.Errorf("the map counts %d entries, %d can be read", object.Count, found)
}

// dumpEntry emits one entry, and reports whether it could.
func (k mapKind) dumpEntry(t Emitter, a format.Addr, sh *entry.Shape, own bool) (bool, error) {
	payload, h := t.Payload(a)
	if len(payload) < sh.FixedSize() {
		return false, fmt.Errorf("an entry of %d bytes is shorter than its types", len(payload))
	}
	p := unsafe.Pointer(unsafe.SliceData(payload))
	bounds := entry.Bounds(t.Reader(), p)
	if err := sh.Key.Check(sh.KeyOf(p), bounds); err != nil {
		return false, fmt.Errorf("the key of an entry: %w", err)
	}
	if err := sh.Value.Check(sh.ValueOf(p), bounds); err != nil {
		return false, fmt.Errorf("the value of an entry: %w", err)
	}
	if err := k.checkKey(sh, sh.KeyOf(p)); err != nil {
		return false, fmt.Errorf("the key of an entry: %w", err)
	}
	if own {
		if emit, err := t.Lead(p, bounds); !emit {
			return err == nil, err
		}
	} else {
		t.Show(sh.Key, sh.KeyOf(p), bounds)
		t.Show(sh.Value, sh.ValueOf(p), bounds)
	}
	t.Counts().Entries++
	return true, t.Emit(format.OpSet, h, payload)
}

// Make implements Kind.
func (k mapKind) Make(s Types, h format.OpHead, _ []byte) (Told, error) {
	key, value := s.Type(h.Addr&^format.KeyMarks), s.Type(h.Arg)
	if key == nil || value == nil {
		return Told{}, errors.New("a map whose types are lost")
	}
	if err := entry.CheckKeys(key, k.kind); err != nil {
		return Told{}, fmt.Errorf("a map with impossible keys: %w", err)
	}
	return Told{Kind: k, Layout: Layout{Shape: s.Shape(key, value)}}, nil
}

// CheckChange implements Kind.
func (k mapKind) CheckChange(t *Told, h format.OpHead, payload []byte, copied Copy) (unsafe.Pointer, layout.Bounds, error) {
	if format.OpKindOf(h.What) == k.About().New {
		return nil, layout.Bounds{}, nil
	}
	e, bounds := copied(payload)
	err := RelocateEntry(t.Shape, h, e, bounds)
	if err == nil {
		err = k.checkKey(t.Shape, t.Shape.KeyOf(e))
	}
	if err != nil || format.OpKindOf(h.What) == format.OpDelete {
		return nil, layout.Bounds{}, err
	}
	return e, bounds, nil
}

// Note implements Kind.
func (mapKind) Note(*Told, format.OpHead) {}
