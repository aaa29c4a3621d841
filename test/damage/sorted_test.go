package damage

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/internal/spacetest"
)

// addToSorted adds to the sorted maps of the specimen: one of strings, and one with keys that words
// do not distinguish.
func addToSorted(s *everheap.Space, v int) error {
	m, numbers, err := damageSorted(s)
	if err != nil {
		return err
	}
	return s.Update(context.Background(), func(tx *everheap.Tx) error {
		for i := range 200 * (v + 1) {
			if err := m.Set(tx, spacetest.SortedKey(i*7%1000), damageText+strings.Repeat("-", i%40)); err != nil {
				return err
			}
			if err := numbers.Set(tx, spacetest.TripleKey{A: spacetest.SortedKey(i % 10), B: int32(i)}, damageText); err != nil {
				return err
			}
		}
		return nil
	})
}

// damageSorted opens the sorted maps of the specimen.
func damageSorted(s *everheap.Space) (m everheap.Sorted[string, string], numbers everheap.Sorted[spacetest.TripleKey, string], err error) {
	if m, err = everheap.OpenSorted[string, string](s, "sorted"); err == nil {
		numbers, err = everheap.OpenSorted[spacetest.TripleKey, string](s, "numbers")
	}
	return m, numbers, err
}

// useDamagedSorted calls all operations on the sorted maps of a damaged space.
func useDamagedSorted(t *testing.T, s *everheap.Space, verify bool) {
	m, numbers, err := damageSorted(s)
	if err != nil {
		return
	}
	answer := func(what string, v string) {
		if verify && !strings.HasPrefix(v, damageText) {
			t.Errorf("%s: an answer of no version: %.60q", what, v)
		}
	}
	for i := range 400 {
		if v, err := m.Get(s, spacetest.SortedKey(i*3)); err == nil {
			answer("get", v)
		}
		if v, err := numbers.Get(s, spacetest.TripleKey{A: spacetest.SortedKey(i % 10), B: int32(i)}); err == nil {
			answer("get", v)
		}
	}
	look := func(fn func(tx *everheap.Tx)) {
		_ = s.View(func(tx *everheap.Tx) error { fn(tx); return nil })
	}
	for i := range 20 {
		key := spacetest.SortedKey(i * 50)
		look(func(tx *everheap.Tx) { m.Rank(tx, key); m.Nth(tx, i*20) })
		look(func(tx *everheap.Tx) { m.First(tx) })
		look(func(tx *everheap.Tx) { m.Last(tx) })
		look(func(tx *everheap.Tx) {
			last, n := "", 0
			for k, v := range m.Range(tx, everheap.Including(key), everheap.Unbounded[string]()) {
				if verify {
					answer("range", strings.Clone(*v))
					if k <= last || k < key {
						t.Errorf("range: %q after %q", k, last)
					}
				}
				last = k
				if n++; n > 10_000 { // a damaged number
					break
				}
			}
		})
		look(func(tx *everheap.Tx) {
			n := 0
			for range numbers.Backward(tx, everheap.Unbounded[spacetest.TripleKey](), everheap.Including(spacetest.TripleKey{A: key})) {
				if n++; n > 10_000 {
					break
				}
			}
		})
	}
	for i := range 150 {
		_ = m.Set(s, spacetest.SortedKey(i*4+1), damageText+"new")
		_ = numbers.Set(s, spacetest.TripleKey{A: spacetest.SortedKey(i), C: float64(i)}, damageText+"new")
		_, _ = m.Delete(s, spacetest.SortedKey(i*3))
	}
	for i := range 3 {
		_ = s.Update(context.Background(), func(tx *everheap.Tx) error {
			for j := range 300 {
				if _, err := m.Delete(tx, fmt.Sprint(spacetest.SortedKey(i*300+j))); err != nil {
					return err
				}
			}
			return nil
		})
	}
}
