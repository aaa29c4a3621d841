package model

import (
	"context"
	"errors"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/internal/spacetest"
	"pgregory.net/rapid"
)

// A random program does the same to a list and to references of a space, and to a
// slice and a map of Go, and compares what it reads from both.

func TestList_Model(t *testing.T) {
	runListModel(t, spacetest.StringToString.Name, spacetest.StringToString.Value)
	runListModel(t, spacetest.StringToCompound.Name, spacetest.StringToCompound.Value)
	runListModel(t, spacetest.IntToInt.Name, spacetest.IntToInt.Value)
	runListModel(t, spacetest.ArrayToBytes.Name, spacetest.ArrayToBytes.Value)
	runListModel(t, spacetest.FloatToStruct.Name, spacetest.FloatToStruct.Value)
}

func TestList_ModelWithVerify(t *testing.T) {
	runListModel(t, spacetest.StructToArray.Name, spacetest.StructToArray.Value, everheap.WithVerify())
}

func FuzzListOps(f *testing.F) {
	for i := range 4 {
		seed := make([]byte, fuzzBytes)
		r := rand.NewChaCha8([32]byte{byte(i), 1})
		r.Read(seed)
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		rapid.MakeFuzz(listModelOf(t, spacetest.StringToString.Value))(t, data[:min(len(data), fuzzBytes)])
	})
}

func runListModel[T any](t *testing.T, name string, value func(r *rand.Rand) T, opts ...everheap.Option) {
	t.Run(name, func(t *testing.T) { rapid.Check(t, listModelOf(t, value, opts...)) })
}

// listModel is the expected contents of the list and the references.
type listModel[T any] struct {
	list []T
	refs map[everheap.Ref[T]]T
}

// clone copies the model; the values are never changed.
func (m listModel[T]) clone() listModel[T] {
	return listModel[T]{slices.Clone(m.list), maps.Clone(m.refs)}
}

// listMachine is the state of one random program.
type listMachine[T any] struct {
	value func(r *rand.Rand) T
	dir   string
	opts  []everheap.Option
	space *everheap.Space
	list  everheap.List[T]
	index everheap.List[everheap.Ref[T]] // keeps the references alive
	model listModel[T]
	held  []*listSnapshot[T]
}

// listModelOf returns the random program, as a property.
func listModelOf[T any](t *testing.T, value func(r *rand.Rand) T, opts ...everheap.Option) func(*rapid.T) {
	base := t.TempDir()
	n := 0
	return func(t *rapid.T) {
		n++
		m := &listMachine[T]{value: value, dir: filepath.Join(base, strconv.Itoa(n)), model: listModel[T]{refs: map[everheap.Ref[T]]T{}},
			opts: append([]everheap.Option{everheap.WithMaxSize(spacetest.Small)}, opts...)}
		m.open(t)
		defer m.end(t)
		t.Repeat(map[string]func(*rapid.T){
			"single":           func(t *rapid.T) { m.step(t, m.space, nil, &m.model) },
			"single again":     func(t *rapid.T) { m.step(t, m.space, nil, &m.model) },
			"batch":            m.batch,
			"bulk":             m.bulk,
			"hold a snapshot":  m.hold,
			"look at one":      m.look,
			"let one go":       m.letGo,
			"sweep":            func(t *rapid.T) { m.ok(t, spacetest.Sweep(m.space)) },
			"sync":             func(t *rapid.T) { m.ok(t, m.space.Sync(context.Background())) },
			"check":            func(t *rapid.T) { spacetest.CheckSpace(t, m.space) },
			"reopen":           func(t *rapid.T) { m.reopen(t, false) },
			"power loss":       func(t *rapid.T) { m.reopen(t, true) },
			"iterate and edit": m.iterateAndEdit,
		})
		m.compareNow(t)
		spacetest.CheckSpace(t, m.space)
	}
}

func (m *listMachine[T]) ok(t *rapid.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (m *listMachine[T]) open(t *rapid.T) {
	var err error
	m.space, err = everheap.Open(m.dir, m.opts...)
	m.ok(t, err)
	m.list, err = everheap.OpenList[T](m.space, "list")
	m.ok(t, err)
	m.index, err = everheap.OpenList[everheap.Ref[T]](m.space, "index")
	m.ok(t, err)
}

// end closes everything that is open.
func (m *listMachine[T]) end(t *rapid.T) {
	for _, s := range m.held {
		close(s.tasks)
		<-s.done
	}
	if err := m.space.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
	os.RemoveAll(m.dir)
}

// reopen closes and opens the space. With powerLoss the files are those of before the
// close, after a sync: so changes after the anchor are replayed from the journal.
func (m *listMachine[T]) reopen(t *rapid.T, powerLoss bool) {
	for len(m.held) > 0 {
		m.letGo(t)
	}
	files := map[string][]byte{}
	if powerLoss {
		m.ok(t, m.space.Sync(context.Background()))
		for _, name := range spacetest.DurableFiles {
			b, err := os.ReadFile(filepath.Join(m.dir, name))
			m.ok(t, err)
			files[name] = b
		}
	}
	m.ok(t, m.space.Close())
	if powerLoss {
		for name, b := range files {
			m.ok(t, os.WriteFile(filepath.Join(m.dir, name), b, 0o600))
		}
		m.ok(t, os.Remove(filepath.Join(m.dir, "live")))
	}
	m.open(t)
	m.compareNow(t)
}

func (m *listMachine[T]) same(t *rapid.T, what string, got, want T) {
	t.Helper()
	if d := spacetest.Difference(want, got); d != "" {
		t.Fatalf("%s: want -, got +:\n%s", what, d)
	}
}

// step does one operation in the scope, which is tx if that is not nil.
func (m *listMachine[T]) step(t *rapid.T, sc everheap.Scope, tx *everheap.Tx, model *listModel[T]) {
	r := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "value"), 0))
	switch op := rapid.SampledFrom([]string{"append", "append", "set", "get", "modify", "truncate", "pop", "pop", "len", "ref", "ref"}).Draw(t, "op"); op {
	case "append":
		values := make([]T, r.IntN(4))
		for i := range values {
			values[i] = m.value(r)
		}
		m.ok(t, m.list.Append(sc, values...))
		model.list = append(slices.Clone(model.list), values...)
	case "truncate":
		n := len(model.list) - r.IntN(len(model.list)/3+2)
		err := m.list.Truncate(sc, n)
		if n < 0 {
			m.notFound(t, err)
			return
		}
		m.ok(t, err)
		model.list = slices.Clone(model.list[:n])
	case "pop":
		got, err := m.list.Pop(sc)
		last := len(model.list) - 1
		if last < 0 {
			m.notFound(t, err)
			return
		}
		m.ok(t, err)
		m.same(t, "pop", got, model.list[last])
		model.list = slices.Clone(model.list[:last])
	case "len":
		n, err := m.list.Len(sc)
		if m.ok(t, err); n != len(model.list) {
			t.Fatalf("len: %d, want %d", n, len(model.list))
		}
	case "ref":
		m.stepRef(t, sc, tx, model, r)
	default:
		m.stepAt(t, op, sc, tx, model, r)
	}
}

func (m *listMachine[T]) notFound(t *rapid.T, err error) {
	t.Helper()
	if !errors.Is(err, everheap.ErrNotFound) {
		t.Fatalf("of a missing object: %v", err)
	}
}

// stepAt reads or changes the element with a random index, which may be out of range.
func (m *listMachine[T]) stepAt(t *rapid.T, op string, sc everheap.Scope, tx *everheap.Tx, model *listModel[T], r *rand.Rand) {
	i := r.IntN(len(model.list)+3) - 1
	there := i >= 0 && i < len(model.list)
	if tx != nil {
		p := m.list.Peek(tx, i)
		if there != (p != nil) {
			t.Fatalf("peek: there %v, got %v", there, p)
		}
		if p != nil {
			m.same(t, "peek", *p, model.list[i])
		}
	}
	v := m.value(r)
	var err error
	switch op {
	case "get":
		var got T
		if got, err = m.list.Get(sc, i); there {
			m.same(t, "get", got, model.list[i])
		}
		v = got
	case "set":
		err = m.list.Set(sc, i, v)
	default:
		err = m.list.Modify(sc, i, func(p *T) error {
			m.same(t, "modify", *p, model.list[i])
			*p = v
			return nil
		})
	}
	if !there {
		m.notFound(t, err)
		return
	}
	m.ok(t, err)
	model.list = slices.Clone(model.list)
	model.list[i] = v
}

// stepRef makes, reads or sets the value of a reference.
func (m *listMachine[T]) stepRef(t *rapid.T, sc everheap.Scope, tx *everheap.Tx, model *listModel[T], r *rand.Rand) {
	v := m.value(r)
	if len(model.refs) == 0 || r.IntN(3) == 0 {
		create := func(tx *everheap.Tx) error {
			ref, err := everheap.New(tx, v)
			if err != nil {
				return err
			}
			if _, used := model.refs[ref]; used {
				t.Fatalf("the ID %x was used before", ref.ID())
			}
			model.refs = maps.Clone(model.refs)
			model.refs[ref] = v
			return m.index.Append(tx, ref)
		}
		if tx != nil {
			m.ok(t, create(tx))
			return
		}
		m.ok(t, m.space.Update(context.Background(), create))
		return
	}
	ids := slices.SortedFunc(maps.Keys(model.refs), func(a, b everheap.Ref[T]) int { return int(a.ID()) - int(b.ID()) })
	ref := ids[r.IntN(len(ids))]
	got, err := ref.Get(sc)
	m.ok(t, err)
	m.same(t, "get of a reference", got, model.refs[ref])
	if r.IntN(2) == 0 {
		m.ok(t, ref.Set(sc, v))
	} else {
		m.ok(t, ref.Modify(sc, func(p *T) error { *p = v; return nil }))
	}
	model.refs = maps.Clone(model.refs)
	model.refs[ref] = v
}

// compare compares everything that a transaction sees.
func (m *listMachine[T]) compare(t interface{ Fatalf(string, ...any) }, tx *everheap.Tx, model listModel[T]) {
	n, err := m.list.Len(tx)
	if err != nil || n != len(model.list) {
		t.Fatalf("len: %d, want %d (%v)", n, len(model.list), err)
	}
	next := 0
	for i, v := range m.list.All(tx) {
		if i != next {
			t.Fatalf("all: index %d, want %d", i, next)
		}
		if d := spacetest.Difference(model.list[i], *v); d != "" {
			t.Fatalf("all: element %d: want -, got +:\n%s", i, d)
		}
		next++
	}
	for i, v := range m.list.Backward(tx) {
		next--
		if i != next || m.list.Peek(tx, i) != v && size(*v) > 0 {
			t.Fatalf("backward: index %d, want %d", i, next)
		}
	}
	if next != 0 {
		t.Fatalf("backward: %d elements are missing", next)
	}
	for ref, want := range model.refs {
		if d := spacetest.Difference(want, *ref.Peek(tx)); d != "" {
			t.Fatalf("reference %x: want -, got +:\n%s", ref.ID(), d)
		}
	}
	if n, err := m.index.Len(tx); err != nil || n != len(model.refs) {
		t.Fatalf("%d references, want %d (%v)", n, len(model.refs), err)
	}
}

// size returns 0 for types of size zero: pointers to them need not differ.
func size(v any) int {
	if _, empty := v.(struct{}); empty {
		return 0
	}
	return 1
}

func (m *listMachine[T]) compareNow(t *rapid.T) {
	m.ok(t, m.space.View(func(tx *everheap.Tx) error { m.compare(t, tx, m.model); return nil }))
}

// batch does several operations in one Update, which commits or fails.
func (m *listMachine[T]) batch(t *rapid.T) {
	fail := rapid.IntRange(0, 3).Draw(t, "end") == 0
	model := m.model.clone()
	err := m.space.Update(context.Background(), func(tx *everheap.Tx) error {
		for range rapid.IntRange(0, 12).Draw(t, "operations") {
			m.step(t, tx, tx, &model)
		}
		m.compare(t, tx, model)
		if fail {
			return spacetest.ErrOfTest
		}
		return nil
	})
	if !fail {
		m.ok(t, err)
		m.model = model
	} else if !errors.Is(err, spacetest.ErrOfTest) {
		t.Fatal(err)
	}
}

// bulk appends or truncates many elements in one Update, several times.
func (m *listMachine[T]) bulk(t *rapid.T) {
	r := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "values"), 0))
	few := make([]T, 5) // large values are dear, so few are made
	for i := range few {
		few[i] = m.value(r)
	}
	m.ok(t, m.space.Update(context.Background(), func(tx *everheap.Tx) error {
		for range 1 + r.IntN(3) {
			values := make([]T, r.IntN(300))
			for i := range values {
				values[i] = few[i%len(few)]
			}
			if err := m.list.Append(tx, values...); err != nil {
				return err
			}
			m.model.list = append(slices.Clone(m.model.list), values...)
			n := r.IntN(len(m.model.list) + 1)
			if err := m.list.Truncate(tx, n); err != nil {
				return err
			}
			m.model.list = slices.Clone(m.model.list[:n])
		}
		return nil
	}))
}

// iterateAndEdit changes the list inside a loop over it: the loop sees the start.
func (m *listMachine[T]) iterateAndEdit(t *rapid.T) {
	r := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "edits"), 0))
	back := rapid.Bool().Draw(t, "backward")
	m.ok(t, m.space.Update(context.Background(), func(tx *everheap.Tx) error {
		for range r.IntN(30) { // so that the loop walks over blocks of its own transaction
			m.edit(t, tx, r)
		}
		start := slices.Clone(m.model.list)
		loop := m.list.All(tx)
		if back {
			loop = m.list.Backward(tx)
		}
		borrowed := map[int]*T{}
		for i, v := range loop {
			borrowed[i] = v
			m.edit(t, tx, r)
		}
		if len(borrowed) != len(start) {
			t.Fatalf("the loop met %d elements, not %d", len(borrowed), len(start))
		}
		for i, v := range borrowed {
			m.same(t, "borrowed in the loop", *v, start[i])
		}
		m.compare(t, tx, m.model)
		return nil
	}))
}

// edit makes a random change of the list.
func (m *listMachine[T]) edit(t *rapid.T, tx *everheap.Tx, r *rand.Rand) {
	n := len(m.model.list)
	switch k := r.IntN(4); {
	case k == 0 && n > 0:
		v, i := m.value(r), r.IntN(n)
		m.ok(t, m.list.Set(tx, i, v))
		m.model.list = slices.Clone(m.model.list)
		m.model.list[i] = v
	case k == 1 && n > 0:
		_, err := m.list.Pop(tx)
		m.ok(t, err)
		m.model.list = slices.Clone(m.model.list[:n-1])
	default:
		v := m.value(r)
		m.ok(t, m.list.Append(tx, v))
		m.model.list = append(slices.Clone(m.model.list), v)
	}
}
