package table_test

import (
	"errors"
	"testing"

	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/heap"
	"github.com/everheap/everheap/internal/heap/heaptest"
	"github.com/everheap/everheap/internal/table"
)

const objectSize = 32

func TestTable_ObjectsByIndexAndVersion(t *testing.T) {
	space := heaptest.Open(t, 64<<20)
	var root format.Link
	update := func(fn func(txn *heap.Txn) error) {
		t.Helper()
		if err := space.Update(t, fn); err != nil {
			t.Fatal(err)
		}
	}
	update(func(txn *heap.Txn) error {
		for i := range uint64(200) {
			next, p, err := table.New(txn, root, i+1, format.KindMap, objectSize)
			if err != nil {
				return err
			}
			*(*format.MapObject)(p) = format.MapObject{Count: i}
			root = next
		}
		return nil
	})
	old, hold := root, space.Live.HoldCurrent()
	defer space.Live.Release(&hold)
	update(func(txn *heap.Txn) error {
		for i := uint64(1); i <= 200; i += 3 {
			next, p, err := table.Edit(txn, root, i, format.KindMap, objectSize)
			if err != nil {
				return err
			}
			(*format.MapObject)(p).Count += 1000
			again, q, err := table.Edit(txn, next, i, format.KindMap, objectSize)
			if err != nil || again != next || p != q {
				t.Errorf("object %d was copied twice in one transaction (%v)", i, err)
			}
			root = next
		}
		return nil
	})
	r := space.Heap.Reader(true)
	for i := uint64(1); i <= 200; i++ {
		want := i - 1
		for _, version := range []format.Link{old, root} {
			p, err := table.Object(&r, version, i, format.KindMap)
			if err != nil || (*format.MapObject)(p).Count != want {
				t.Fatalf("object %d: %v (%v), want %d", i, p, err, want)
			}
			if i%3 == 1 {
				want += 1000
			}
		}
	}
	met := uint64(0)
	err := table.Walk(&r, root, func(a format.Addr, kind format.Kind) (bool, error) { return true, r.Verify(a, kind) },
		func(index uint64, a format.Addr) error {
			met++
			return r.Verify(a, format.KindMap)
		})
	if err != nil || met != 200 {
		t.Errorf("the walk met %d objects (%v)", met, err)
	}
}

func TestTable_NoObjectAndAnotherKind(t *testing.T) {
	space := heaptest.Open(t, 64<<20)
	var root format.Link
	if err := space.Update(t, func(txn *heap.Txn) (err error) {
		root, _, err = table.New(txn, 0, 7, format.KindType, 64)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	r := space.Heap.Reader(false)
	for _, index := range []uint64{0, 6, 8, 1 << 20, 1 << 47} {
		if _, err := table.Object(&r, root, index, format.KindMap); !errors.Is(err, table.ErrNoObject) {
			t.Errorf("object %d: %v", index, err)
		}
	}
	var kind *table.KindError
	if _, err := table.Object(&r, root, 7, format.KindMap); !errors.As(err, &kind) || kind.Got != format.KindType {
		t.Errorf("an object of another kind: %v", err)
	}
	if err := space.Update(t, func(txn *heap.Txn) error {
		_, _, err := table.Edit(txn, root, 7, format.KindMap, objectSize)
		return err
	}); !errors.As(err, &kind) {
		t.Errorf("an edit of another kind: %v", err)
	}
}
