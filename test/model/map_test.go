package model

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/internal/spacetest"
	"pgregory.net/rapid"
)

// A random program does the same to a map of a space and to a map of Go, and
// compares what it reads from both.

func TestMap_Model(t *testing.T) {
	modelKinds(t)
}

func TestMap_ModelWithFewHashBits(t *testing.T) {
	t.Run("1 bit", func(t *testing.T) { rapid.Check(t, modelOf(t, spacetest.StringToString, spacetest.WithHashBits(1))) })
	t.Run("4 bits", func(t *testing.T) { modelKinds(t, spacetest.WithHashBits(4)) })
	t.Run("9 bits", func(t *testing.T) { rapid.Check(t, modelOf(t, spacetest.IntToInt, spacetest.WithHashBits(9))) })
}

func TestMap_ModelWithVerify(t *testing.T) {
	rapid.Check(t, modelOf(t, spacetest.StringToCompound, everheap.WithVerify()))
}

// fuzzBytes is how much of an input a fuzzer uses, of which each operation takes some words. On a
// busy machine 4,000 bytes can take more than the ten seconds after which the fuzzing of Go takes
// an input for one that hangs.
const fuzzBytes = 1000

func FuzzOps(f *testing.F) {
	for i := range 4 {
		seed := make([]byte, fuzzBytes)
		r := rand.NewChaCha8([32]byte{byte(i)})
		r.Read(seed)
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		rapid.MakeFuzz(modelOf(t, spacetest.StringToString, spacetest.WithHashBits(6)))(t, data[:min(len(data), fuzzBytes)])
	})
}

// modelKinds runs the model test for every kind.
func modelKinds(t *testing.T, opts ...everheap.Option) {
	runModel(t, spacetest.StringToString, opts...)
	runModel(t, spacetest.StringToCompound, opts...)
	runModel(t, spacetest.IntToInt, opts...)
	runModel(t, spacetest.ArrayToBytes, opts...)
	runModel(t, spacetest.StructToArray, opts...)
	runModel(t, spacetest.TimeToUint8, opts...)
	runModel(t, spacetest.FloatToStruct, opts...)
}

func runModel[K comparable, V any](t *testing.T, k spacetest.Kind[K, V], opts ...everheap.Option) {
	t.Run(k.Name, func(t *testing.T) { rapid.Check(t, modelOf(t, k, opts...)) })
}

// machine is the state of one random program.
type machine[K comparable, V any] struct {
	kind   spacetest.Kind[K, V]
	sorted bool
	dir    string
	opts   []everheap.Option
	space  *everheap.Space
	m      entries[K, V]
	in     everheap.Sorted[K, V] // m, if it is sorted
	model  map[K]V
	held   []*snapshot[K, V]
}

// entries has the operations of both kinds of maps.
type entries[K comparable, V any] interface {
	Set(sc everheap.Scope, key K, v V) error
	Get(sc everheap.Scope, key K) (V, error)
	Has(sc everheap.Scope, key K) (bool, error)
	Peek(tx *everheap.Tx, key K) *V
	Modify(sc everheap.Scope, key K, fn func(v *V) error) error
	Upsert(sc everheap.Scope, key K, fn func(v *V, found bool) error) error
	Delete(sc everheap.Scope, key K) (bool, error)
	Len(sc everheap.Scope) (int, error)
	All(tx *everheap.Tx) iter.Seq2[K, *V]
}

// snapshot is a View that stays open in a goroutine of its own, with its expected contents.
type snapshot[K comparable, V any] struct {
	model map[K]V
	tasks chan func(tx *everheap.Tx)
	done  chan error
}

// modelOf returns the random program for a kind, as a property.
func modelOf[K comparable, V any](t *testing.T, k spacetest.Kind[K, V], opts ...everheap.Option) func(*rapid.T) {
	return modelIn(t, k, false, opts...)
}

// modelIn is modelOf for a map that is sorted or not.
func modelIn[K comparable, V any](t *testing.T, k spacetest.Kind[K, V], sorted bool, opts ...everheap.Option) func(*rapid.T) {
	base := t.TempDir()
	n := 0
	return func(t *rapid.T) {
		n++
		m := &machine[K, V]{kind: k, sorted: sorted, dir: filepath.Join(base, strconv.Itoa(n)), model: map[K]V{},
			opts: append([]everheap.Option{everheap.WithMaxSize(spacetest.Small)}, opts...)}
		m.open(t)
		defer m.end(t)
		t.Repeat(map[string]func(*rapid.T){
			"single":           func(t *rapid.T) { m.step(t, m.space, nil, m.model) },
			"single again":     func(t *rapid.T) { m.step(t, m.space, nil, m.model) },
			"batch":            m.batch,
			"bulk":             m.bulk,
			"read":             m.read,
			"hold a snapshot":  m.hold,
			"look at one":      m.look,
			"let one go":       m.letGo,
			"sweep":            m.sweep,
			"sync":             func(t *rapid.T) { m.ok(t, m.space.Sync(context.Background())) },
			"check":            func(t *rapid.T) { spacetest.CheckSpace(t, m.space) },
			"reopen":           func(t *rapid.T) { m.reopen(t, false) },
			"power loss":       func(t *rapid.T) { m.reopen(t, true) },
			"another handle":   m.anotherHandle,
			"iterate and edit": m.iterateAndEdit,
			"range":            m.ranges,
		})
		m.compareNow(t)
		spacetest.CheckSpace(t, m.space)
	}
}

func (m *machine[K, V]) ok(t *rapid.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (m *machine[K, V]) open(t *rapid.T) {
	var err error
	m.space, err = everheap.Open(m.dir, m.opts...)
	m.ok(t, err)
	if m.sorted {
		m.in, err = everheap.OpenSorted[K, V](m.space, "m")
		m.m = m.in
	} else {
		m.m, err = everheap.OpenMap[K, V](m.space, "m")
	}
	m.ok(t, err)
}

// end closes everything that is open, and ignores errors: an error was reported already, or the
// program has ended.
func (m *machine[K, V]) end(t *rapid.T) {
	for _, s := range m.held {
		close(s.tasks)
		<-s.done
	}
	if err := m.space.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
	os.RemoveAll(m.dir)
}

func (m *machine[K, V]) same(t *rapid.T, what string, got, want V) {
	t.Helper()
	if d := spacetest.Difference(want, got); d != "" {
		t.Fatalf("%s: want -, got +:\n%s", what, d)
	}
}

// draw draws a key and a source of values. Few keys, so that they meet again.
func (m *machine[K, V]) draw(t *rapid.T) (K, *rand.Rand) {
	return m.kind.Key(rapid.IntRange(0, 80).Draw(t, "key")), rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "value"), 0))
}

// step does one operation in the scope, which is tx if that is not nil.
func (m *machine[K, V]) step(t *rapid.T, sc everheap.Scope, tx *everheap.Tx, model map[K]V) {
	key, r := m.draw(t)
	want, there := model[key]
	op := rapid.SampledFrom([]string{"set", "set", "get", "has", "modify", "upsert", "delete", "len", "peek"}).Draw(t, "op")
	switch op {
	case "set":
		v := m.kind.Value(r)
		m.ok(t, m.m.Set(sc, key, v))
		model[key] = v
	case "get":
		got, err := m.m.Get(sc, key)
		if there != (err == nil) || !there && !errors.Is(err, everheap.ErrNotFound) {
			t.Fatalf("get: there %v, error %v", there, err)
		}
		m.same(t, "get", got, want)
	case "has":
		got, err := m.m.Has(sc, key)
		if m.ok(t, err); got != there {
			t.Fatalf("has: %v, want %v", got, there)
		}
	case "modify":
		m.modify(t, sc, model, key, m.kind.Value(r), r.IntN(4) == 0)
	case "upsert":
		v := m.kind.Value(r)
		m.ok(t, m.m.Upsert(sc, key, func(p *V, found bool) error {
			if found != there {
				t.Fatalf("upsert: found %v, want %v", found, there)
			}
			m.same(t, "upsert", *p, want)
			*p = v
			return nil
		}))
		model[key] = v
	case "delete":
		got, err := m.m.Delete(sc, key)
		if m.ok(t, err); got != there {
			t.Fatalf("delete: %v, want %v", got, there)
		}
		delete(model, key)
	case "len":
		n, err := m.m.Len(sc)
		if m.ok(t, err); n != len(model) {
			t.Fatalf("len: %d, want %d", n, len(model))
		}
	case "peek":
		if tx != nil {
			m.peek(t, tx, key, model)
		}
	}
}

// modify replaces the value of a key by Modify, or fails in the middle of it.
func (m *machine[K, V]) modify(t *rapid.T, sc everheap.Scope, model map[K]V, key K, v V, fail bool) {
	want, there := model[key]
	err := m.m.Modify(sc, key, func(p *V) error {
		m.same(t, "modify", *p, want)
		*p = v
		if fail {
			return spacetest.ErrOfTest
		}
		return nil
	})
	switch {
	case !there:
		if !errors.Is(err, everheap.ErrNotFound) {
			t.Fatalf("modify of a missing key: %v", err)
		}
	case fail:
		if !errors.Is(err, spacetest.ErrOfTest) {
			t.Fatalf("modify that fails: %v", err)
		}
	default:
		m.ok(t, err)
		model[key] = v
	}
}

func (m *machine[K, V]) peek(t *rapid.T, tx *everheap.Tx, key K, model map[K]V) {
	want, there := model[key]
	p := m.m.Peek(tx, key)
	if there != (p != nil) {
		t.Fatalf("peek: there %v, got %v", there, p)
	}
	if p != nil {
		m.same(t, "peek", *p, want)
		m.same(t, "clone", *everheap.Clone(p), want)
	}
}

// compare compares everything that a transaction sees.
func (m *machine[K, V]) compare(t interface{ Fatalf(string, ...any) }, tx *everheap.Tx, model map[K]V) {
	n, err := m.m.Len(tx)
	if err != nil || n != len(model) {
		t.Fatalf("len: %d, want %d (%v)", n, len(model), err)
	}
	seen := map[K]bool{}
	for k, v := range m.m.All(tx) {
		want, there := model[k]
		if !there || seen[k] {
			t.Fatalf("all: key %.100v, there %v, seen before %v", k, there, seen[k])
		}
		seen[k] = true
		if d := spacetest.Difference(want, *v); d != "" {
			t.Fatalf("all: key %.100v: want -, got +:\n%s", k, d)
		}
	}
	if len(seen) != len(model) {
		t.Fatalf("all: %d entries, want %d", len(seen), len(model))
	}
	for k := range model {
		if m.m.Peek(tx, k) == nil {
			t.Fatalf("peek: key %.100v is not there", k)
		}
	}
	if m.sorted {
		m.compareOrder(t, tx, model)
	}
}

func (m *machine[K, V]) compareNow(t *rapid.T) {
	m.ok(t, m.space.View(func(tx *everheap.Tx) error { m.compare(t, tx, m.model); return nil }))
}

// batch does several operations in one Update, which commits, fails or panics.
func (m *machine[K, V]) batch(t *rapid.T) {
	end := rapid.SampledFrom([]string{"commit", "commit", "commit", "error", "panic"}).Draw(t, "end")
	model := maps.Clone(m.model)
	var panicked any
	err := func() error {
		defer func() {
			if panicked = recover(); panicked != nil && panicked != "of the test" {
				panic(panicked)
			}
		}()
		return m.space.Update(context.Background(), func(tx *everheap.Tx) error {
			for range rapid.IntRange(0, 12).Draw(t, "operations") {
				m.step(t, tx, tx, model)
			}
			m.compare(t, tx, model)
			switch end {
			case "error":
				return spacetest.ErrOfTest
			case "panic":
				panic("of the test")
			}
			return nil
		})
	}()
	switch end {
	case "commit":
		m.ok(t, err)
		m.model = model
	case "error":
		if !errors.Is(err, spacetest.ErrOfTest) {
			t.Fatal(err)
		}
	default:
		if panicked == nil {
			t.Fatal("the panic was lost")
		}
	}
}

// bulk sets or deletes a range of keys in one Update.
func (m *machine[K, V]) bulk(t *rapid.T) {
	from := rapid.IntRange(0, 500).Draw(t, "from")
	n := rapid.IntRange(1, 200).Draw(t, "n")
	remove := rapid.Bool().Draw(t, "remove")
	r := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "values"), 0))
	values := make([]V, 1+n/20) // large values are dear, so few are made
	for i := range values {
		values[i] = m.kind.Value(r)
	}
	m.ok(t, m.space.Update(context.Background(), func(tx *everheap.Tx) error {
		for i := range n {
			key := m.kind.Key(from + i)
			if remove {
				if _, err := m.m.Delete(tx, key); err != nil {
					return err
				}
				delete(m.model, key)
				continue
			}
			v := values[i%len(values)]
			if err := m.m.Set(tx, key, v); err != nil {
				return err
			}
			m.model[key] = v
		}
		return nil
	}))
}

// read does operations in a View.
func (m *machine[K, V]) read(t *rapid.T) {
	m.ok(t, m.space.View(func(tx *everheap.Tx) error {
		for range rapid.IntRange(0, 5).Draw(t, "operations") {
			key, r := m.draw(t)
			m.peek(t, tx, key, m.model)
			if err := m.m.Set(tx, key, m.kind.Value(r)); !errors.Is(err, everheap.ErrReadOnly) {
				t.Fatalf("set in a View: %v", err)
			}
		}
		m.compare(t, tx, m.model)
		return nil
	}))
}

// iterateAndEdit changes the map inside a loop over it: the loop sees the start.
func (m *machine[K, V]) iterateAndEdit(t *rapid.T) {
	r := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "edits"), 0))
	before := rapid.Bool().Draw(t, "edit before")
	m.ok(t, m.space.Update(context.Background(), func(tx *everheap.Tx) error {
		if before { // so that the loop walks over blocks of its own transaction
			for range 20 {
				m.edit(t, tx, r)
			}
		}
		start := maps.Clone(m.model)
		borrowed := map[K]*V{}
		for k, v := range m.m.All(tx) {
			borrowed[k] = v
			m.edit(t, tx, r)
		}
		if len(borrowed) != len(start) {
			t.Fatalf("the loop met %d entries, not %d", len(borrowed), len(start))
		}
		for k, v := range borrowed {
			m.same(t, "borrowed in the loop", *v, start[k])
		}
		m.compare(t, tx, m.model)
		return nil
	}))
}

// edit sets or deletes a random key.
func (m *machine[K, V]) edit(t *rapid.T, tx *everheap.Tx, r *rand.Rand) {
	key := m.kind.Key(r.IntN(120))
	if r.IntN(2) == 0 {
		v := m.kind.Value(r)
		m.ok(t, m.m.Set(tx, key, v))
		m.model[key] = v
		return
	}
	_, err := m.m.Delete(tx, key)
	m.ok(t, err)
	delete(m.model, key)
}

// hold starts a View that stays open while the space changes.
func (m *machine[K, V]) hold(t *rapid.T) {
	if len(m.held) >= 4 {
		t.Skip("enough are held")
	}
	s := &snapshot[K, V]{model: maps.Clone(m.model), tasks: make(chan func(*everheap.Tx)), done: make(chan error, 1)}
	began := make(chan struct{})
	go func() {
		s.done <- m.space.View(func(tx *everheap.Tx) error {
			close(began)
			for task := range s.tasks {
				task(tx)
			}
			return nil
		})
	}()
	spacetest.Receive(t, "a View", began)
	m.held = append(m.held, s)
}

// failure records the failure of a goroutine that is not the test's own.
type failure struct{ what string }

func (f failure) Error() string { return f.what }

// Fatalf ends the task.
func (f *failure) Fatalf(format string, args ...any) { panic(failure{fmt.Sprintf(format, args...)}) }

// look compares a held snapshot with its expected contents.
func (m *machine[K, V]) look(t *rapid.T) {
	if len(m.held) == 0 {
		t.Skip("none is held")
	}
	s := m.held[rapid.IntRange(0, len(m.held)-1).Draw(t, "snapshot")]
	result := make(chan error)
	s.tasks <- func(tx *everheap.Tx) {
		var err error
		defer func() {
			switch f := recover().(type) {
			case nil:
			case failure:
				err = f
			default:
				err = fmt.Errorf("panic: %v", f)
			}
			result <- err
		}()
		m.compare(new(failure), tx, s.model)
	}
	m.ok(t, spacetest.Receive(t, "a comparison", result))
}

func (m *machine[K, V]) letGo(t *rapid.T) {
	if len(m.held) == 0 {
		t.Skip("none is held")
	}
	i := rapid.IntRange(0, len(m.held)-1).Draw(t, "snapshot")
	close(m.held[i].tasks)
	m.ok(t, spacetest.Receive(t, "the end of a View", m.held[i].done))
	m.held = append(m.held[:i], m.held[i+1:]...)
}

func (m *machine[K, V]) sweep(t *rapid.T) {
	m.ok(t, spacetest.Sweep(m.space))
}

// reopen closes and opens the space; without live, as after a power loss.
func (m *machine[K, V]) reopen(t *rapid.T, powerLoss bool) {
	for len(m.held) > 0 {
		m.letGo(t)
	}
	m.ok(t, m.space.Close())
	if powerLoss {
		m.ok(t, os.Remove(filepath.Join(m.dir, "live")))
	}
	m.open(t)
	m.compareNow(t)
}

// anotherHandle opens the space a second time and closes it again.
func (m *machine[K, V]) anotherHandle(t *rapid.T) {
	s, err := everheap.Open(m.dir, m.opts...)
	m.ok(t, err)
	defer func() { _ = s.Close() }() // a fuzzer's input may end in the step
	m.step(t, s, nil, m.model)
	m.ok(t, s.Close())
	if _, err := m.m.Len(s); !errors.Is(err, everheap.ErrClosed) {
		t.Fatalf("len after close: %v", err)
	}
}
