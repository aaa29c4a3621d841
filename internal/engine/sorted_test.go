package engine

import (
	"encoding/binary"
	"math"
	"path/filepath"
	"testing"
	"unsafe"

	"github.com/everheap/everheap/internal/apply"
	"github.com/everheap/everheap/internal/edit"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/layout"
)

// A change of a sorted map that cannot be applied is an error, whatever its bytes are.
func TestApply_DamagedSortedChanges(t *testing.T) {
	sp, err := Open(filepath.Join(t.TempDir(), "s"), Options{MaxSize: 64 << 20, Manual: true})
	if err != nil {
		t.Fatal(err)
	}
	defer sp.Close()
	of := edit.MapOf{Key: layout.IdentityOf[float64](), Value: layout.IdentityOf[uint64](), Sorted: true}
	id, err := sp.OpenMap("sorted", of)
	if err != nil {
		t.Fatal(err)
	}
	of.ID = id
	other, err := sp.OpenMap("map", edit.MapOf{Key: layout.IdentityOf[complex128](), Value: layout.IdentityOf[uint64]()})
	if err != nil {
		t.Fatal(err)
	}
	tx, err := sp.View()
	if err != nil {
		t.Fatal(err)
	}
	p, err := objectIn(tx, id.Index(), format.KindSorted)
	if err != nil {
		t.Fatal(err)
	}
	sorted := (*format.MapObject)(p)
	if p, err = objectIn(tx, other.Index(), format.KindMap); err != nil {
		t.Fatal(err)
	}
	unordered := (*format.MapObject)(p)
	float, word, complex, next := sorted.Key, sorted.Value, unordered.Key, tx.State.NextIndex
	tx.EndView()
	entry := func(key float64) (b []byte) {
		for _, w := range []uint64{0, math.Float64bits(key), 7} {
			b = binary.LittleEndian.AppendUint64(b, w)
		}
		return b
	}
	for name, c := range map[string]struct {
		kind      format.OpKind
		index     uint64
		addr, arg uint64
		payload   []byte
	}{
		"a new map of no type":        {format.OpNewSorted, next, id.Index(), word, nil},
		"a new map of no value type":  {format.OpNewSorted, next, float, 0, nil},
		"a new map without an order":  {format.OpNewSorted, next, complex, word, nil},
		"a new map, the index in use": {format.OpNewSorted, id.Index(), float, word, nil},
		"an entry that is cut":        {format.OpSet, id.Index(), 1000, 0, entry(1)[:20]},
		"a key that is NaN":           {format.OpSet, id.Index(), 1000, 0, entry(math.NaN())},
		"a key that does not exist":   {format.OpDelete, id.Index(), 1000, 0, entry(1)},
		"a removal of NaN":            {format.OpDelete, id.Index(), 1000, 0, entry(math.NaN())},
		"an entry of no map":          {format.OpSet, float, 1000, 0, entry(1)},
	} {
		err := sp.Change(false, func(tx *Tx) error {
			return apply.New(&tx.Editor).Apply(format.OpHead{What: format.MakeWhat(c.kind, c.index), Addr: c.addr, Arg: c.arg}, c.payload)
		})
		if err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	err = sp.Change(false, func(tx *Tx) error { // these can be applied
		a := apply.New(&tx.Editor)
		for _, c := range []struct {
			kind    format.OpKind
			index   uint64
			payload []byte
		}{
			{format.OpNewSorted, next + 4, nil}, {format.OpSet, next + 4, entry(2)}, {format.OpSet, id.Index(), entry(2)},
			{format.OpSet, id.Index(), entry(1)}, {format.OpSet, id.Index(), entry(3)}, {format.OpDelete, id.Index(), entry(2)},
		} {
			h := format.OpHead{What: format.MakeWhat(c.kind, c.index), Addr: 1000}
			if c.payload == nil {
				h.Addr, h.Arg = float, word
			}
			if err := a.Apply(h, c.payload); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	tx, err = sp.View()
	if err != nil {
		t.Fatal(err)
	}
	defer tx.EndView()
	var keys []float64
	var key float64
	err = tx.Entries(of, func() unsafe.Pointer { return unsafe.Pointer(&key) }, func(unsafe.Pointer) bool { keys = append(keys, key); return true })
	if err != nil || len(keys) != 2 || keys[0] != 1 || keys[1] != 3 {
		t.Errorf("%v (%v)", keys, err)
	}
	if n, err := tx.Len(edit.MapOf{ID: format.MakeID(id.Tag(), next+4), Key: of.Key, Value: of.Value, Sorted: true}); n != 1 || err != nil {
		t.Errorf("the new map has %d entries (%v)", n, err)
	}
}
