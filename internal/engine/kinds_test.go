package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"testing"
	"unsafe"

	"github.com/everheap/everheap/internal/edit"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/layout"
	"github.com/everheap/everheap/internal/object"
	"github.com/everheap/everheap/internal/table"
)

// A pair is an object of a kind that no other package knows: it has two handles. The argument of
// each of its changes says everything about the change.
type pairObject struct{ handles [2]uint64 }

const (
	kindPair  format.Kind   = 31
	opNewPair format.OpKind = 100 // makes a pair of nil handles
	opFirst   format.OpKind = 101 // the argument becomes the first handle
	opSecond  format.OpKind = 102

	pairSize = format.ByteCount(unsafe.Sizeof(pairObject{}))
)

type pairKind struct{ object.Plain }

var aboutPair = object.About{Kind: kindPair, Name: "pair", Called: "pair", Whole: true,
	New: opNewPair, Ops: []format.OpKind{opNewPair, opFirst, opSecond}}

func (pairKind) About() *object.About { return &aboutPair }

func (pairKind) Fits(size format.ByteCount) bool { return size == pairSize }

func (pairKind) Nodes() []object.Node { return []object.Node{{Kind: kindPair}} }

func (pairKind) Handles(_ object.Layout, holder unsafe.Pointer, _ layout.Bounds, meet object.Meet) error {
	for _, id := range (*pairObject)(holder).handles {
		if id != 0 && !meet(layout.Ref, id) {
			break
		}
	}
	return nil
}

func (pairKind) Dump(t object.Emitter, a format.Addr) error {
	payload, _ := t.Payload(a)
	if len(payload) != int(pairSize) {
		return errors.New("a pair of the wrong size")
	}
	if t.Pass() == object.PassObjects {
		t.Counts().Objects++
		return t.Emit(opNewPair, format.OpHead{}, nil)
	}
	t.Counts().Entries++
	for i, id := range (*pairObject)(unsafe.Pointer(unsafe.SliceData(payload))).handles {
		if err := t.Emit(opFirst+format.OpKind(i), format.OpHead{Arg: id}, nil); err != nil {
			return err
		}
	}
	return nil
}

func (k pairKind) Make(object.Types, format.OpHead, []byte) (object.Told, error) {
	return object.Told{Kind: k}, nil
}

func (pairKind) Apply(e object.Editor, op format.OpKind, index uint64, h format.OpHead, _ []byte) error {
	if op == opNewPair {
		p, err := e.Create(kindPair, index, pairSize)
		if err == nil {
			*(*pairObject)(p) = pairObject{}
		}
		return err
	}
	p, err := e.Edit(kindPair, index, pairSize)
	if err == nil {
		(*pairObject)(p).handles[op-opFirst] = h.Arg
	}
	return err
}

func (pairKind) Check(c object.Checker, o object.At, p unsafe.Pointer) error {
	for _, id := range (*pairObject)(p).handles {
		if id != 0 && format.ID(id).Index() < format.FirstIndex {
			c.Find(o.Addr, "a pair refers to an object of the space itself")
		}
	}
	c.Count(1)
	return nil
}

// newPair makes a pair, and gives it a name unless that is empty.
func (k *knots) newPair(name string, first, second format.ID) (id format.ID) {
	k.t.Helper()
	err := k.Change(false, func(tx *Tx) (err error) {
		create := func() (format.ID, error) { return tx.newPair(first, second) }
		if name == "" {
			id, err = create()
		} else {
			id, err = tx.OpenNamed(name, nil, create)
		}
		return err
	})
	if err != nil {
		k.t.Fatal(err)
	}
	return id
}

// newPair makes a pair.
func (tx *Tx) newPair(first, second format.ID) (format.ID, error) {
	index := tx.sp.takeIndex(tx.State.NextIndex)
	tx.State.NextIndex = index + 1
	root, p, err := table.New(tx.Write, format.Link(tx.State.Table), index, kindPair, pairSize)
	if err != nil {
		return 0, err
	}
	tx.State.Table = uint64(root)
	tx.State.Objects++
	*(*pairObject)(p) = pairObject{}
	tx.Write.Log(format.Op{What: format.MakeWhat(opNewPair, index)})
	for i, handle := range []format.ID{first, second} {
		if err := tx.setPair(index, i, handle); err != nil {
			return 0, err
		}
	}
	return format.MakeID(tx.sp.Head.Tag, index), nil
}

// setPair changes one of the handles of a pair.
func (tx *Tx) setPair(index uint64, i int, handle format.ID) error {
	root, p, err := table.Edit(tx.Write, format.Link(tx.State.Table), index, kindPair, pairSize)
	if err == nil {
		tx.State.Table = uint64(root)
		(*pairObject)(p).handles[i] = uint64(handle)
		tx.Write.Log(format.Op{What: format.MakeWhat(opFirst+format.OpKind(i), index), Arg: uint64(handle)})
	}
	return err
}

// expectPair compares a pair, and the knots that it refers to, with what they should be.
func expectPair(t *testing.T, sp *Space, where string, id format.ID, handles ...format.ID) {
	t.Helper()
	err := sp.look(func(tx *Tx) error {
		p, err := objectIn(tx, id.Index(), kindPair)
		if err != nil {
			return err
		}
		if got := (*pairObject)(p).handles; got != [2]uint64{uint64(handles[0]), uint64(handles[1])} {
			return fmt.Errorf("it is %x", got)
		}
		for _, id := range handles {
			var v knot
			if err := tx.ReadValue(edit.RefOf{ID: id, Value: knotType}, unsafe.Pointer(&v)); err != nil {
				return fmt.Errorf("it refers to the knot %v: %w", id, err)
			}
		}
		return nil
	})
	if err != nil {
		t.Errorf("%s, the pair %v: %v", where, id, err)
	}
}

// A kind of object is one type and one line of code: the rest of the library gets everything that
// it needs from there.
func TestKinds_NewKind(t *testing.T) {
	t.Cleanup(object.Add(pairKind{}))
	ctx := context.Background()
	k := newKnots(t)
	a, b, c := k.tie(1)[0], k.tie(1)[0], k.tie(1)[0]
	pair, garbage := k.newPair("pair", a, b), k.newPair("", c, a)
	expectPair(t, k.Space, "made", pair, a, b)

	// A collection drops the pair that no name reaches, and keeps the objects that the other pair
	// refers to.
	if found, err := k.Collect(ctx); err != nil || found.Dropped != 2 || k.there([]format.ID{a, b, c}) != 2 {
		t.Errorf("a collection dropped %d objects: %v", found.Dropped, err)
	}
	if err := k.look(func(tx *Tx) error { _, err := objectIn(tx, garbage.Index(), kindPair); return err }); err == nil {
		t.Error("a collection kept a pair that nothing refers to")
	}
	expectPair(t, k.Space, "after a collection", pair, a, b)

	// It also keeps an object that the pair refers to only from the middle of the collection on.
	late := k.tie(1)[0]
	collection := k.marked()
	err := k.Change(false, func(tx *Tx) error { return tx.setPair(pair.Index(), 1, late) })
	if err != nil {
		t.Fatal(err)
	}
	if err := collection.DropAll(); err != nil || collection.Rescued != 1 {
		t.Errorf("the collection rescued %d objects: %v", collection.Rescued, err)
	}
	collection.End()
	expectPair(t, k.Space, "changed during a collection", pair, a, late)

	// Compact moves it in an open space if much was removed around it.
	k.tie(150_000)
	for range 3 * format.ExtentSize / 32 {
		k.newPair("", a, b)
	}
	moved := k.newPair("moved", a, b)
	if _, err := k.Collect(ctx); err != nil {
		t.Fatal(err)
	}
	from := where(t, k.Space, moved)
	if _, _, err := k.Compact(ctx); err != nil {
		t.Fatal(err)
	}
	if where(t, k.Space, moved) == from {
		t.Error("a pair that is alone in its extent was not moved")
	}
	expectPair(t, k.Space, "moved", moved, a, b)
	expectPair(t, k.Space, "moved", pair, a, late)

	// A backup keeps it.
	var backup bytes.Buffer
	tx, err := k.View()
	if err == nil {
		err = tx.Backup(&backup)
		tx.DropView()
	}
	if err != nil {
		t.Fatal(err)
	}
	expectRestored(t, &backup, "restored", pair, a, late)

	// The journal keeps it.
	dir := k.Dir()
	sp := recovered(t, dir, k.Space)
	expectPair(t, sp, "after a loss of power", pair, a, late)
	verify(t, sp)

	// A rewriting keeps it, in the same place or elsewhere.
	if _, _, err := Compact(ctx, dir, Options{}); err != nil {
		t.Fatal(err)
	}
	if sp, err = Open(dir, Options{Manual: true}); err != nil {
		t.Fatal(err)
	}
	expectPair(t, sp, "compacted", pair, a, late)
	base := sp.Head.Base
	verify(t, sp)
	if err := Rebase(ctx, dir, base+sp.Head.Window, Options{}); err != nil {
		t.Fatal(err)
	}
	if sp, err = Open(dir, Options{Manual: true}); err != nil {
		t.Fatal(err)
	}
	expectPair(t, sp, "rebased", pair, a, late)
	verify(t, sp)

	// A salvage finds it in a damaged space.
	var salvaged bytes.Buffer
	if report, err := Salvage(dir, &salvaged); err != nil || report.Lost != 0 {
		t.Fatal(report, err)
	}
	expectRestored(t, &salvaged, "salvaged", pair, a, late)
}

// expectRestored is expectPair for a space that is restored from a backup.
func expectRestored(t *testing.T, backup io.Reader, where string, id format.ID, handles ...format.ID) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "restored")
	if err := Restore(dir, backup, Options{}, nil); err != nil {
		t.Fatal(where, err)
	}
	sp, err := Open(dir, Options{Manual: true})
	if err != nil {
		t.Fatal(err)
	}
	expectPair(t, sp, where, id, handles...)
	verify(t, sp)
}

// A program that does not know the kind of an object says so, and does not take the object for one
// of another kind.
func TestKinds_UnknownKind(t *testing.T) {
	remove := object.Add(pairKind{})
	k := newKnots(t)
	a := k.tie(1)[0]
	k.newPair("pair", a, a)
	remove()
	if list := findings(t, k.Space); len(list) == 0 {
		t.Error("Check accepts an object of an unknown kind")
	}
	if _, err := k.Collect(context.Background()); err == nil {
		t.Error("Collect accepts an object of an unknown kind")
	}
	dir := k.Dir()
	if err := k.Close(); err != nil {
		t.Fatal(err)
	}
	if _, _, err := Compact(context.Background(), dir, Options{}); err == nil {
		t.Error("Compact drops an object of an unknown kind")
	}
}

// where returns the address of the block of a pair.
func where(t *testing.T, sp *Space, id format.ID) (a format.Addr) {
	t.Helper()
	if err := sp.look(func(tx *Tx) error {
		p, err := objectIn(tx, id.Index(), kindPair)
		a = format.Addr(uintptr(p) - format.HeaderSize)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return a
}
