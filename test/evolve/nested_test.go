package evolve

import (
	"context"
	"fmt"
	"testing"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/internal/spacetest"
)

// Folders hold folders: the type of a folder contains the type of the map in it, and that contains
// the type of a folder.
type (
	folderV1 struct {
		Name  string
		Size  int32
		Kids  everheap.Map[string, folderV1]
		Files everheap.Map[fileKeyV1, fileV1]
	}
	fileKeyV1 struct{ N uint8 }
	fileV1    struct{ Data []byte }

	folderV2 struct {
		Size  int64
		Name  string
		Files everheap.Map[fileKeyV2, fileV2]
		Kids  everheap.Map[string, folderV2]
	}
	fileKeyV2 struct{ N uint16 }
	fileV2    struct {
		Owner string
		Data  []byte
	}
)

// growFolder makes a folder with nested folders, to a depth.
func growFolder(tx *everheap.Tx, depth, fan int) (f folderV1, err error) {
	f = folderV1{Name: fmt.Sprint("folder ", depth), Size: int32(depth)}
	if depth == 0 {
		return f, nil
	}
	if f.Kids, err = everheap.NewMap[string, folderV1](tx); err != nil {
		return f, err
	}
	if f.Files, err = everheap.NewMap[fileKeyV1, fileV1](tx); err != nil {
		return f, err
	}
	for i := range fan {
		if err := f.Files.Set(tx, fileKeyV1{uint8(i)}, fileV1{fmt.Append(nil, "file ", i)}); err != nil {
			return f, err
		}
		kid, err := growFolder(tx, depth-1, fan)
		if err != nil {
			return f, err
		}
		if err := f.Kids.Set(tx, fmt.Sprint("kid ", i), kid); err != nil {
			return f, err
		}
	}
	return f, nil
}

// verifyFolder verifies a folder, and returns the number of folders.
func verifyFolder(t *testing.T, tx *everheap.Tx, f *folderV2, depth, fan int) int {
	t.Helper()
	if f.Name != fmt.Sprint("folder ", depth) || f.Size != int64(depth) || f.Kids.IsNil() != (depth == 0) {
		t.Fatalf("depth %d: %+v", depth, *f)
	}
	if depth == 0 {
		return 1
	}
	n := 1
	for i := range fan {
		file := f.Files.Peek(tx, fileKeyV2{uint16(i)})
		if file == nil || string(file.Data) != fmt.Sprint("file ", i) || file.Owner != "" {
			t.Fatalf("depth %d: file %d is %+v", depth, i, file)
		}
		n += verifyFolder(t, tx, f.Kids.Peek(tx, fmt.Sprint("kid ", i)), depth-1, fan)
	}
	return n
}

func TestEvolve_NestedCollections(t *testing.T) {
	s := spacetest.Scratch(t)
	root, err := everheap.OpenMap[string, folderV1](s, "roots")
	spacetest.Must(t, err)
	var f folderV1
	spacetest.Update(t, s, func(tx *everheap.Tx) (err error) {
		if f, err = growFolder(tx, 4, 4); err != nil {
			return err
		}
		return root.Set(tx, "a", f)
	})
	last := [2]int{}
	m, err := everheap.OpenMap[string, folderV2](s, "roots", everheap.Evolve(), everheap.WithProgress(func(done, total int) {
		last = [2]int{done, total}
	}))
	spacetest.Must(t, err)
	spacetest.View(t, s, func(tx *everheap.Tx) error {
		if n := verifyFolder(t, tx, m.Peek(tx, "a"), 4, 4); n != 1+4+16+64+256 {
			t.Errorf("%d folders", n)
		}
		return nil
	})
	if want := 341 + 340; last != [2]int{want, want} { // folders, and the files of all but the deepest
		t.Errorf("progress ended at %v, want %d", last, want)
	}
	// Handles of the old types, which a program may have kept, are errors at once.
	_, err = f.Kids.Get(s, "kid 1")
	spacetest.ExpectError(t, err, everheap.ErrTypeChanged)
	_, err = f.Files.Get(s, fileKeyV1{1})
	spacetest.ExpectError(t, err, everheap.ErrTypeChanged)
}

// If the bytes of the outer collection do not change, it is not rewritten, but the objects behind its
// handles are.
func TestEvolve_HandlesOnly(t *testing.T) {
	type itemV1 struct{ N int32 }
	type itemV2 struct{ N int64 }
	type boxV1 struct {
		Label string
		Items everheap.Map[string, itemV1]
	}
	type boxV2 struct {
		Label string
		Items everheap.Map[string, itemV2]
	}
	s := spacetest.Scratch(t)
	old := spacetest.MapOf[int, boxV1](t, s)
	spacetest.Update(t, s, func(tx *everheap.Tx) error {
		for i := range 100 {
			b := boxV1{Label: fmt.Sprint("box ", i)}
			var err error
			if i%10 == 0 {
				b.Items, err = everheap.NewMap[string, itemV1](tx)
				spacetest.Must(t, err)
				spacetest.Must(t, b.Items.Set(tx, "x", itemV1{int32(i)}))
			}
			spacetest.Must(t, old.Set(tx, i, b))
		}
		return nil
	})
	blocks := func() (n uint64) {
		r, err := s.Check(context.Background())
		spacetest.Must(t, err)
		return r.Blocks
	}
	before := blocks()
	m, err := everheap.OpenMap[int, boxV2](s, "m", everheap.Evolve())
	spacetest.Must(t, err)
	if after := blocks(); after > before+8 {
		t.Errorf("%d blocks before and %d after", before, after)
	}
	for i := range 100 {
		b, err := m.Get(s, i)
		if err != nil || b.Label != fmt.Sprint("box ", i) || b.Items.IsNil() != (i%10 != 0) {
			t.Fatal(i, b, err)
		}
		if i%10 == 0 {
			if v, err := b.Items.Get(s, "x"); err != nil || v.N != int64(i) {
				t.Fatal(i, v, err)
			}
		}
	}
}

// Two collections refer to a shared one. Opening the second without the option is an error; with it,
// the shared one is already converted.
func TestEvolve_SharedCollection(t *testing.T) { // R2
	type itemV1 struct{ N int32 }
	type itemV2 struct{ N int64 }
	type userV1 = everheap.Map[string, itemV1]
	type userV2 = everheap.Map[string, itemV2]
	s := spacetest.Scratch(t)
	a, err := everheap.OpenMap[int, userV1](s, "a")
	spacetest.Must(t, err)
	b, err := everheap.OpenMap[int, userV1](s, "b")
	spacetest.Must(t, err)
	shared, err := everheap.OpenMap[string, itemV1](s, "shared") // by its name as well
	spacetest.Must(t, err)
	spacetest.Must(t, shared.Set(s, "x", itemV1{7}))
	spacetest.Must(t, a.Set(s, 1, shared))
	spacetest.Must(t, a.Set(s, 2, shared))
	spacetest.Must(t, b.Set(s, 1, shared))

	a2, err := everheap.OpenMap[int, userV2](s, "a", everheap.Evolve())
	spacetest.Must(t, err)
	h, err := a2.Get(s, 2)
	spacetest.Must(t, err)
	if v, err := h.Get(s, "x"); err != nil || v.N != 7 {
		t.Error(v, err)
	}
	hold, err := b.Get(s, 1) // b still has its old types, which are wrong for shared
	spacetest.Must(t, err)
	_, err = hold.Get(s, "x")
	spacetest.ExpectError(t, err, everheap.ErrTypeChanged)
	_, err = everheap.OpenMap[int, userV2](s, "b")
	spacetest.ExpectError(t, err, everheap.ErrTypeChanged)
	version := s.Stats().Version
	b2, err := everheap.OpenMap[int, userV2](s, "b", everheap.Evolve())
	spacetest.Must(t, err)
	h, err = b2.Get(s, 1)
	spacetest.Must(t, err)
	if v, err := h.Get(s, "x"); err != nil || v.N != 7 || s.Stats().Version != version+1 {
		t.Error(v, err)
	}
	_, err = everheap.OpenMap[string, itemV2](s, "shared")
	spacetest.Must(t, err)
}

// One collection cannot get two types: the change is refused, and nothing changes.
func TestEvolve_NestedConflict(t *testing.T) { // R3
	type itemV1 struct{ N int32 }
	type itemV2 struct{ N int64 }
	type itemV3 struct {
		N    int32
		More string
	}
	type pairV1 struct{ A, B everheap.Map[string, itemV1] }
	type pairV2 struct {
		A everheap.Map[string, itemV2]
		B everheap.Map[string, itemV3]
	}
	s := spacetest.Scratch(t)
	old := spacetest.MapOf[int, pairV1](t, s)
	var shared everheap.Map[string, itemV1]
	spacetest.Update(t, s, func(tx *everheap.Tx) (err error) {
		shared, err = everheap.NewMap[string, itemV1](tx)
		spacetest.Must(t, err)
		spacetest.Must(t, shared.Set(tx, "x", itemV1{7}))
		return old.Set(tx, 1, pairV1{shared, shared})
	})
	_, err := everheap.OpenMap[int, pairV2](s, "m", everheap.Evolve())
	spacetest.ExpectError(t, err, everheap.ErrTypeChanged, "would have to become two")
	if v, err := shared.Get(s, "x"); err != nil || v.N != 7 {
		t.Error(v, err)
	}
	_, err = old.Get(s, 1)
	spacetest.Must(t, err)
}

// If a nested collection cannot be converted, the whole change is refused.
func TestEvolve_NestedRefused(t *testing.T) {
	type itemV1 struct{ N int64 }
	type itemV2 struct{ N int32 }
	type boxV1 struct {
		A int32
		M everheap.Map[string, itemV1]
	}
	type boxV2 struct {
		A int64
		M everheap.Map[string, itemV2]
	}
	s := spacetest.Scratch(t)
	old := spacetest.MapOf[int, boxV1](t, s)
	spacetest.Must(t, old.Set(s, 1, boxV1{}))
	_, err := everheap.OpenMap[int, boxV2](s, "m", everheap.Evolve())
	spacetest.ExpectError(t, err, everheap.ErrTypeChanged, "! M.value.N int64 -> int32")
	// A Migrate for the part applies in nested collections, too, and to keys.
	narrow := everheap.Migrate(func(n int64) (int32, error) { return int32(n), nil })
	spacetest.Update(t, s, func(tx *everheap.Tx) error {
		m, err := everheap.NewMap[string, itemV1](tx)
		spacetest.Must(t, err)
		spacetest.Must(t, m.Set(tx, "x", itemV1{5}))
		return old.Set(tx, 2, boxV1{9, m})
	})
	m, err := everheap.OpenMap[int, boxV2](s, "m", everheap.Evolve(), narrow)
	spacetest.Must(t, err)
	b, err := m.Get(s, 2)
	spacetest.Must(t, err)
	if v, err := b.M.Get(s, "x"); err != nil || v.N != 5 || b.A != 9 {
		t.Error(v, b, err)
	}
}

// Values made by the program's function keep their handles, and the objects behind them are converted
// as well.
func TestMigrate_ValuesWithHandles(t *testing.T) { // R5
	type itemV1 struct{ N int32 }
	type itemV2 struct{ N int64 }
	type boxV1 struct {
		Label string
		Items everheap.Map[string, itemV1]
	}
	type boxWas struct { // boxV1 with the new type behind the handle
		Label string
		Items everheap.Map[string, itemV2]
	}
	type boxV2 struct {
		Labels []string
		Items  []everheap.Map[string, itemV2]
	}
	s := spacetest.Scratch(t)
	old := spacetest.MapOf[int, boxV1](t, s)
	spacetest.Update(t, s, func(tx *everheap.Tx) error {
		m, err := everheap.NewMap[string, itemV1](tx)
		spacetest.Must(t, err)
		spacetest.Must(t, m.Set(tx, "x", itemV1{5}))
		return old.Set(tx, 1, boxV1{"box", m})
	})
	m, err := everheap.OpenMap[int, boxV2](s, "m", everheap.Evolve(), everheap.Migrate(func(b boxWas) (boxV2, error) {
		return boxV2{[]string{b.Label}, []everheap.Map[string, itemV2]{{}, b.Items}}, nil
	}))
	spacetest.Must(t, err)
	b, err := m.Get(s, 1)
	spacetest.Must(t, err)
	if v, err := b.Items[1].Get(s, "x"); err != nil || v.N != 5 || b.Labels[0] != "box" {
		t.Error(v, b, err)
	}
}

// Handles that are keys.
func TestEvolve_HandlesAsKeys(t *testing.T) {
	type itemV1 struct{ N int32 }
	type itemV2 struct{ N int64 }
	s := spacetest.Scratch(t)
	old := spacetest.MapOf[everheap.Map[string, itemV1], int](t, s)
	spacetest.Update(t, s, func(tx *everheap.Tx) error {
		for i := range 20 {
			m, err := everheap.NewMap[string, itemV1](tx)
			spacetest.Must(t, err)
			spacetest.Must(t, m.Set(tx, "x", itemV1{int32(i)}))
			spacetest.Must(t, old.Set(tx, m, i))
		}
		return nil
	})
	m, err := everheap.OpenMap[everheap.Map[string, itemV2], int](s, "m", everheap.Evolve())
	spacetest.Must(t, err)
	spacetest.View(t, s, func(tx *everheap.Tx) error {
		n := 0
		for k, v := range m.All(tx) {
			n++
			if item, err := k.Get(tx, "x"); err != nil || item.N != int64(*v) {
				t.Error(item, *v, err)
			}
			if p := m.Peek(tx, k); p != v {
				t.Error("a key is not found")
			}
		}
		if n != 20 {
			t.Error(n)
		}
		return nil
	})
}
