package object

import (
	"errors"
	"fmt"
	"unsafe"

	"github.com/everheap/everheap/internal/entry"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/layout"
)

// Tell implements Kind.
func (k mapKind) Tell(t Teller, a format.Addr) error {
	payload, _ := t.Payload(a)
	if len(payload) != mapSize {
		return errors.New("a map object of the wrong size")
	}
	object := *(*format.MapObject)(unsafe.Pointer(unsafe.SliceData(payload)))
	sh := t.Own()
	own := sh != nil
	if !own {
		key, value := t.Type(object.Key), t.Type(object.Value)
		if key == nil || value == nil {
			if t.Pass() == PassContents {
				t.Counts().Missing += object.Count
			}
			return t.Once(fmt.Errorf("a map whose types, objects %d and %d, are not known", object.Key, object.Value))
		}
		if err := entry.CheckKeys(key, k.kind); err != nil {
			return t.Once(fmt.Errorf("a map with impossible keys: %w", err))
		}
		sh = t.Shape(key, value)
	}
	if t.Pass() == PassContents {
		return k.tellEntries(t, a, &object, sh, own)
	}
	t.Counts().Objects++
	if own {
		return nil
	}
	return t.Tell(format.NewMapOp(k.kind), format.OpHead{Addr: object.Key, Arg: object.Value}, nil)
}

// tellEntries tells the entries of a map.
func (k mapKind) tellEntries(t Teller, a format.Addr, object *format.MapObject, sh *entry.Shape, own bool) error {
	t.Things(object.Count)
	var found uint64
	err := k.Blocks(t.Reader(), unsafe.Pointer(object), func(a format.Addr, kind format.Kind) (bool, error) {
		descend, err := t.Visit(a, kind)
		if !descend || kind != format.KindEntry {
			return descend, err
		}
		told, err := k.tellEntry(t, a, sh, own)
		if told {
			found++
		}
		return false, t.Damage(a, err)
	})
	if err = t.Damage(a, err); err != nil || found == object.Count {
		return err
	}
	t.Counts().Missing += object.Count - min(found, object.Count)
	return fmt.Errorf("the map says %d entries, %d can be read", object.Count, found)
}

// tellEntry tells one entry, and reports whether it is one that can be told.
func (k mapKind) tellEntry(t Teller, a format.Addr, sh *entry.Shape, own bool) (bool, error) {
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
		if tell, err := t.Lead(p, bounds); !tell {
			return err == nil, err
		}
	} else {
		t.Show(sh.Key, sh.KeyOf(p), bounds)
		t.Show(sh.Value, sh.ValueOf(p), bounds)
	}
	t.Counts().Entries++
	return true, t.Tell(format.OpSet, h, payload)
}

// checkKey returns an error for a key that has no place in a map, such as NaN.
func (k mapKind) checkKey(sh *entry.Shape, key unsafe.Pointer) error {
	if k.sorted() {
		return sh.CheckOrder(key)
	}
	_, err := sh.Hash(key)
	return err
}

// Make implements Kind.
func (k mapKind) Make(s Types, h format.OpHead, _ []byte) (Told, error) {
	key, value := s.Type(h.Addr), s.Type(h.Arg)
	if key == nil || value == nil {
		return Told{}, errors.New("a map whose types are lost")
	}
	if err := entry.CheckKeys(key, k.kind); err != nil {
		return Told{}, fmt.Errorf("a map with impossible keys: %w", err)
	}
	return Told{Kind: k, Layout: Layout{Shape: s.Shape(key, value)}}, nil
}

// Judge implements Kind.
func (k mapKind) Judge(t *Told, h format.OpHead, payload []byte, copied Copy) (unsafe.Pointer, layout.Bounds, error) {
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
