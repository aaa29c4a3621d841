package engine

import (
	"context"
	"encoding/binary"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"
	"unsafe"

	"github.com/everheap/everheap/internal/apply"
	"github.com/everheap/everheap/internal/edit"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/layout"
)

var wordType = layout.IdentityOf[uint64]()

// recovered makes everything durable, and opens the space as after a loss of power at that moment.
func recovered(t *testing.T, dir string, sp *Space) *Space {
	t.Helper()
	if err := sp.Sync(); err != nil {
		t.Fatal(err)
	}
	b := image(t, dir)
	if err := sp.Close(); err != nil {
		t.Fatal(err)
	}
	reset(t, dir, b)
	sp, err := Open(dir, sp.options)
	if err != nil {
		t.Fatal(err)
	}
	return sp
}

// wordsOf reads a list of words.
func wordsOf(t *testing.T, sp *Space, id format.ID) (list []uint64) {
	t.Helper()
	tx, err := sp.View()
	if err != nil {
		t.Fatal(err)
	}
	defer tx.EndView()
	if err := tx.Items(edit.ListOf{ID: id, Value: wordType}, false, func(_ int, v unsafe.Pointer) bool {
		list = append(list, *(*uint64)(v))
		return true
	}); err != nil {
		t.Fatal(err)
	}
	return list
}

// wordOf reads a value.
func wordOf(t *testing.T, sp *Space, id format.ID) (word uint64) {
	t.Helper()
	if err := sp.Alone(false).ReadValue(edit.RefOf{ID: id, Value: wordType}, unsafe.Pointer(&word)); err != nil {
		t.Fatal(err)
	}
	return word
}

// A transaction sets, drops and sets again lists and values in any order: a recovery makes the same
// contents from its record in the journal.
func TestRecover_ListsAndValues(t *testing.T) {
	for seed := range uint64(12) {
		r := rand.New(rand.NewPCG(seed, 0))
		dir := filepath.Join(t.TempDir(), "s")
		sp, err := Open(dir, Options{MaxSize: 256 << 20, Manual: true})
		if err != nil {
			t.Fatal(err)
		}
		lists, values := map[format.ID][]uint64{}, map[format.ID]uint64{}
		for range 1 + r.IntN(6) {
			err := sp.Change(false, func(tx *Tx) error {
				for range []int{1, 10, 6000}[r.IntN(3)] { // 6000 changes are enough for the list of changes to be compacted
					changeListsAndValues(t, tx, r, lists, values)
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		sp = recovered(t, dir, sp)
		for id, want := range lists {
			if got := wordsOf(t, sp, id); !slices.Equal(got, want) {
				t.Errorf("seed %d: recovered a list of %d words, want the one of %d", seed, len(got), len(want))
			}
		}
		for id, want := range values {
			if got := wordOf(t, sp, id); got != want {
				t.Errorf("seed %d: recovered %d, want %d", seed, got, want)
			}
		}
		verify(t, sp)
	}
}

// changeListsAndValues does one random change, to the model as well.
func changeListsAndValues(t *testing.T, tx *Tx, r *rand.Rand, lists map[format.ID][]uint64, values map[format.ID]uint64) {
	t.Helper()
	id, ref := anyOf(r, lists), anyOf(r, values)
	word := r.Uint64()
	var err error
	switch k := r.IntN(12); {
	case len(lists) == 0 || k == 0 && len(lists) < 4:
		if id, err = tx.NewList(wordType); err == nil {
			lists[id] = nil
		}
	case len(values) == 0 || k == 1 && len(values) < 100:
		if ref, err = tx.NewValue(wordType, unsafe.Pointer(&word)); err == nil {
			values[ref] = word
		}
	case k < 4:
		err = tx.WriteValue(edit.RefOf{ID: ref, Value: wordType}, unsafe.Pointer(&word))
		values[ref] = word
	case k < 8 || len(lists[id]) == 0:
		many := make([]uint64, 1+r.IntN(5))
		for i := range many {
			many[i] = r.Uint64()
		}
		err = tx.Append(edit.ListOf{ID: id, Value: wordType}, unsafe.Pointer(&many[0]), len(many))
		lists[id] = append(slices.Clone(lists[id]), many...)
	case k < 10:
		i := r.IntN(len(lists[id]))
		err = tx.WriteItem(edit.ListOf{ID: id, Value: wordType}, i, unsafe.Pointer(&word))
		lists[id][i] = word
	default:
		n := len(lists[id]) - r.IntN(min(len(lists[id]), 20)+1)
		err = tx.Truncate(edit.ListOf{ID: id, Value: wordType}, n)
		lists[id] = lists[id][:n]
	}
	if err != nil {
		t.Fatal(err)
	}
}

// anyOf returns a random key of a model, whatever order Go ranges over the map in.
func anyOf[V any](r *rand.Rand, m map[format.ID]V) (id format.ID) {
	if len(m) == 0 {
		return 0
	}
	keys := make([]format.ID, 0, len(m))
	for id := range m {
		keys = append(keys, id)
	}
	slices.Sort(keys)
	return keys[r.IntN(len(keys))]
}

// A change that cannot be applied is an error, whatever its bytes are, and nothing has changed.
func TestApply_DamagedChanges(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "s")
	sp, err := Open(dir, Options{MaxSize: 64 << 20, Manual: true})
	if err != nil {
		t.Fatal(err)
	}
	list, err := sp.OpenList("l", layout.IdentityOf[string]())
	if err != nil {
		t.Fatal(err)
	}
	text := "text"
	ref, err := sp.OpenValue("v", layout.IdentityOf[string](), unsafe.Pointer(&text))
	if err != nil {
		t.Fatal(err)
	}
	tx, err := sp.View()
	if err != nil {
		t.Fatal(err)
	}
	object, err := objectIn(tx, list.Index(), format.KindList)
	if err != nil {
		t.Fatal(err)
	}
	typeIndex, next := (*format.ListObject)(object).Value, tx.State.NextIndex
	tx.EndView()
	word := func(list ...uint64) (b []byte) {
		for _, w := range list {
			b = binary.LittleEndian.AppendUint64(b, w)
		}
		return b
	}
	good := word(format.MakeValueType(typeIndex), 1000+24, 2, 'a'|'b'<<8)
	for name, c := range map[string]struct {
		kind    format.OpKind
		index   uint64
		addr    uint64
		arg     uint64
		payload []byte
	}{
		"an unknown kind of change":           {100, list.Index(), 0, 0, nil},
		"a new list of no type":               {format.OpNewList, next, 0, list.Index(), nil},
		"a new list under an index in use":    {format.OpNewList, list.Index(), 0, typeIndex, nil},
		"a new value of no type":              {format.OpNewValue, next, 1000, list.Index(), good},
		"a new value of another type":         {format.OpNewValue, next, 1000, typeIndex, word(format.MakeValueType(1), 0, 0)},
		"a new value that is cut":             {format.OpNewValue, next, 1000, typeIndex, good[:16]},
		"a new value that points outside":     {format.OpNewValue, next, 1000, typeIndex, word(format.MakeValueType(typeIndex), 5000, 2, 0)},
		"a new value under an index in use":   {format.OpNewValue, ref.Index(), 1000, typeIndex, good},
		"a value that does not exist":         {format.OpSetValue, next, 1000, 0, good},
		"a value without a payload":           {format.OpSetValue, ref.Index(), 0, 0, nil},
		"a value that does not name its type": {format.OpSetValue, ref.Index(), 1000, 0, word(typeIndex, 0, 0)},
		"a value that is a list":              {format.OpSetValue, list.Index(), 1000, 0, good},
		"an element of a value":               {format.OpAppend, ref.Index(), 1000, 0, good[8:]},
		"an element with a gap before it":     {format.OpAppend, list.Index(), 1000, 1, good[8:]},
		"an element that is cut":              {format.OpAppend, list.Index(), 1000, 0, good[8:16]},
		"an element that does not exist":      {format.OpSetItem, list.Index(), 1000, 0, good[8:]},
		"a truncation to more":                {format.OpTruncate, list.Index(), 0, 1, nil},
		"a truncation of a value":             {format.OpTruncate, ref.Index(), 0, 0, nil},
		"a drop of no object":                 {format.OpDrop, ref.Index(), 0, 0, nil},
		"a drop of a dropped object":          {format.OpDrop, next, 0, 1, nil},
		"a drop of two, one dropped before":   {format.OpDrop, ref.Index(), 0, 1 | 1<<(next-ref.Index()), nil},
		"a drop beyond all indexes":           {format.OpDrop, format.AddrMask, 0, 2, nil},
		"a drop of the catalog":               {format.OpDrop, format.CatalogIndex, 0, 1, nil},
		"a drop of a type":                    {format.OpDrop, typeIndex, 0, 1, nil},
	} {
		for _, anyhow := range []bool{false, true} {
			err := sp.Change(false, func(tx *Tx) error {
				a := apply.New(&tx.Editor)
				a.Anyhow = anyhow
				return a.Apply(format.OpHead{What: format.MakeWhat(c.kind, c.index), Addr: c.addr, Arg: c.arg}, c.payload)
			})
			if err == nil {
				t.Errorf("%s: no error", name)
			}
		}
	}
	empty, err := sp.OpenList("empty", layout.IdentityOf[struct{}]())
	if err != nil {
		t.Fatal(err)
	}
	next = empty.Index() + 1
	err = sp.Change(false, func(tx *Tx) error { // an empty value needs no payload
		return apply.New(&tx.Editor).Apply(format.OpHead{What: format.MakeWhat(format.OpAppend, empty.Index()), Addr: 1000}, nil)
	})
	if err != nil {
		t.Error(err)
	}
	err = sp.Change(false, func(tx *Tx) error { // these can be applied
		a := apply.New(&tx.Editor)
		for _, c := range []struct {
			kind       format.OpKind
			index, arg uint64
			payload    []byte
		}{
			{format.OpAppend, list.Index(), 0, good[8:]}, {format.OpAppend, list.Index(), 1, nil}, {format.OpSetItem, list.Index(), 1, good[8:]},
			{format.OpAppend, list.Index(), 2, nil}, {format.OpTruncate, list.Index(), 2, nil}, {format.OpSetValue, ref.Index(), 0, good},
			{format.OpNewValue, next + 5, typeIndex, nil}, {format.OpSetValue, next + 5, 0, good}, {format.OpNewList, next + 9, typeIndex, nil},
		} {
			addr := uint64(0)
			if c.payload != nil {
				addr = 1000 + uint64(len(good)-len(c.payload))
			}
			if err := a.Apply(format.OpHead{What: format.MakeWhat(c.kind, c.index), Addr: addr, Arg: c.arg}, c.payload); err != nil {
				t.Errorf("%d: %v", c.kind, err)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	var got string
	if err := sp.Alone(false).ReadItem(edit.ListOf{ID: list, Value: layout.IdentityOf[string]()}, 1, unsafe.Pointer(&got)); err != nil || got != "ab" {
		t.Errorf("%q (%v)", got, err)
	}
	if report, err := sp.Check(context.Background()); err != nil || len(report.Findings) > 0 {
		t.Errorf("%v (%v)", report, err)
	}
	verify(t, sp)
}
