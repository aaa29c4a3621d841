package rest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/everheap/everheap"
)

// Thing is a value with all kinds of parts that have addresses.
type Thing struct {
	Name  string
	Tags  []string
	Inner *Thing
	Same  *Thing // as Inner
	Bytes []byte
}

// newThing makes the thing of a number.
func newThing(i int) Thing {
	inner := &Thing{Name: fmt.Sprint("inner ", i), Bytes: []byte(strings.Repeat("b", i%50))}
	return Thing{Name: fmt.Sprint("thing ", i), Tags: []string{"a", fmt.Sprint(i), strings.Repeat("t", i%90)}, Inner: inner, Same: inner}
}

// is reports whether a thing is the thing of a number.
func (x *Thing) is(i int) bool {
	want := newThing(i)
	return x.Name == want.Name && strings.Join(x.Tags, "|") == strings.Join(want.Tags, "|") && x.Inner != nil && x.Inner == x.Same &&
		x.Inner.Name == want.Inner.Name && string(x.Inner.Bytes) == string(want.Inner.Bytes)
}

// A world has a collection of each kind. Nearly all entries are deleted, at random, so the remaining
// blocks lie everywhere, a few in each extent.
type world struct {
	space  *everheap.Space
	things everheap.Map[int, Thing]
	order  everheap.Sorted[string, string]
	list   everheap.List[string]
	refs   everheap.List[everheap.Ref[Thing]]
	nested everheap.Map[int, everheap.Map[string, string]]
	left   map[int]bool // keys of the map and of the sorted map
	kept   int          // elements of the lists
}

func openThings(t testing.TB, s *everheap.Space) *world {
	t.Helper()
	w := &world{space: s, left: map[int]bool{}}
	var errs [5]error
	w.things, errs[0] = everheap.OpenMap[int, Thing](s, "things")
	w.order, errs[1] = everheap.OpenSorted[string, string](s, "order")
	w.list, errs[2] = everheap.OpenList[string](s, "list")
	w.refs, errs[3] = everheap.OpenList[everheap.Ref[Thing]](s, "refs")
	w.nested, errs[4] = everheap.OpenMap[int, everheap.Map[string, string]](s, "nested")
	must(t, errors.Join(errs[:]...))
	return w
}

func word(i int) string { return fmt.Sprint("word ", i, strings.Repeat(".", i*7%300)) }

// choose chooses the entries to keep, of n in each collection: one of a hundred, and those kept
// before.
func (w *world) choose(r *rand.Rand, n int) {
	for i := range n {
		if r.IntN(100) == 0 {
			w.left[i] = true
		}
	}
	w.kept = n / 100
}

// fill writes n entries to each collection, and then deletes all but the chosen ones.
func (w *world) fill(t testing.TB, r *rand.Rand, n int) {
	t.Helper()
	w.choose(r, n)
	each := func(fn func(tx *everheap.Tx, i int) error) {
		t.Helper()
		for from := 0; from < n; from += 500 {
			must(t, w.space.Update(context.Background(), func(tx *everheap.Tx) error {
				for i := from; i < from+500; i++ {
					if err := fn(tx, i); err != nil {
						return err
					}
				}
				return nil
			}))
		}
	}
	each(func(tx *everheap.Tx, i int) error {
		err := errors.Join(w.things.Set(tx, i, newThing(i)), w.order.Set(tx, word(i), word(i+1)), w.list.Append(tx, word(i)))
		if err == nil && i%4 == 0 {
			var ref everheap.Ref[Thing]
			if ref, err = everheap.New(tx, newThing(i)); err == nil {
				err = w.refs.Append(tx, ref)
			}
		}
		if err == nil && i%16 == 0 {
			var m everheap.Map[string, string]
			if m, err = everheap.NewMap[string, string](tx); err == nil {
				err = errors.Join(m.Set(tx, "key", word(i)), w.nested.Set(tx, i, m))
			}
		}
		return err
	})
	must(t, w.list.Truncate(w.space, w.kept))
	must(t, w.refs.Truncate(w.space, w.kept))
	each(func(tx *everheap.Tx, i int) error {
		if w.left[i] {
			return nil
		}
		_, err := w.things.Delete(tx, i)
		if err == nil {
			_, err = w.order.Delete(tx, word(i))
		}
		if err == nil && i%16 == 0 {
			_, err = w.nested.Delete(tx, i)
		}
		return err
	})
	_, err := w.space.Collect(context.Background())
	must(t, err)
}

// verify fails the test unless exactly the remaining entries are there.
func (w *world) verify(t testing.TB, sc everheap.Scope) {
	t.Helper()
	bad := func(what string, i int, err error) {
		t.Helper()
		t.Fatalf("%s %d has changed (%v)", what, i, err)
	}
	for i := range w.left {
		if x, err := w.things.Get(sc, i); err != nil || !x.is(i) {
			bad("thing", i, err)
		}
		if v, err := w.order.Get(sc, word(i)); err != nil || v != word(i+1) {
			bad("word", i, err)
		}
		if i%16 != 0 {
			continue
		}
		m, err := w.nested.Get(sc, i)
		if err == nil {
			var v string
			if v, err = m.Get(sc, "key"); v != word(i) {
				bad("nested map", i, err)
			}
		}
		if err != nil {
			bad("nested map", i, err)
		}
	}
	for i := range w.kept {
		if v, err := w.list.Get(sc, i); err != nil || v != word(i) {
			bad("element", i, err)
		}
		ref, err := w.refs.Get(sc, i)
		if err != nil {
			bad("reference", i, err)
		}
		if x, err := ref.Get(sc); err != nil || !x.is(4*i) {
			bad("object", i, err)
		}
	}
	for what, count := range map[string]func(everheap.Scope) (int, error){"map": w.things.Len, "sorted map": w.order.Len} {
		if n, err := count(sc); err != nil || n != len(w.left) {
			t.Fatalf("the %s has %d entries, of %d (%v)", what, n, len(w.left), err)
		}
	}
}
