package collect_test

import (
	"context"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"unsafe"

	"github.com/everheap/everheap/internal/collect"
	"github.com/everheap/everheap/internal/edit"
	"github.com/everheap/everheap/internal/engine"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/layout"
	"github.com/everheap/everheap/internal/table"
)

// DiffObjects returns the objects that two walks over the object tables find to be different
// blocks, also if the newer version is one that a transaction is making.
func TestDiffObjects_AgreesWithWalks(t *testing.T) {
	sp, err := engine.Open(filepath.Join(t.TempDir(), "s"), engine.Options{MaxSize: 256 << 20, Manual: true})
	if err != nil {
		t.Fatal(err)
	}
	defer sp.Close()
	wordType := layout.IdentityOf[uint64]()
	objects := func(tx *engine.Tx) map[uint64]format.Addr {
		all := map[uint64]format.Addr{}
		visit := func(format.Addr, format.Kind) (bool, error) { return true, nil }
		err := table.Walk(tx.Reader, format.Link(tx.State.Table), visit, func(index uint64, a format.Addr) error {
			all[index] = a
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return all
	}
	compare := func(was, now *engine.Tx) (n int) {
		before, after := objects(was), objects(now)
		err := collect.DiffObjects(&was.Editor, &now.Editor, func(index uint64, old, new format.Addr) error {
			if before[index] != old || after[index] != new || old == new {
				t.Fatalf("object %d: told %#x and %#x, is %#x and %#x", index, old, new, before[index], after[index])
			}
			n++
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		want := 0
		for index, a := range after {
			if before[index] != a {
				want++
			}
		}
		if n != want {
			t.Fatalf("%d objects told of, want %d", n, want)
		}
		return n
	}
	view := func() *engine.Tx {
		tx, err := sp.View()
		if err != nil {
			t.Fatal(err)
		}
		return tx
	}
	random := rand.New(rand.NewPCG(1, 1))
	var ids []format.ID
	first := view()
	for range 60 {
		before := view()
		tx, err := sp.Begin(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		for range random.IntN(40) {
			word := random.Uint64()
			if len(ids) == 0 || random.IntN(2) == 0 {
				id, err := tx.NewValue(wordType, unsafe.Pointer(&word))
				if err != nil {
					t.Fatal(err)
				}
				ids = append(ids, id)
			} else if err := tx.WriteValue(edit.RefOf{ID: ids[random.IntN(len(ids))], Value: wordType}, unsafe.Pointer(&word)); err != nil {
				t.Fatal(err)
			}
		}
		compare(before, tx)
		if err := tx.Commit(); err != nil {
			t.Fatal(err)
		}
		after := view()
		compare(before, after)
		compare(first, after)
		after.EndView()
		before.EndView()
	}
	if n := compare(first, first); n != 0 {
		t.Errorf("a version differs from itself in %d objects", n)
	}
	first.EndView()
}
