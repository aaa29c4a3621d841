package everheap

import (
	"fmt"
	"unsafe"

	"github.com/everheap/everheap/internal/edit"
	"github.com/everheap/everheap/internal/engine"
	"github.com/everheap/everheap/internal/layout"
)

// What Map and Sorted have in common. Which of them it is, and of which types, is in of.

// setEntry stores a copy of v under the key.
func setEntry[K comparable, V any](sc Scope, of edit.MapOf, key K, v V) error {
	s, in, err := sc.on()
	if err == nil {
		err = in.Set(of, layout.NoEscapeKey(&key), layout.NoEscape(&v))
	}
	return s.wrap("set", err)
}

// getEntry copies the value of the key to dst, which is a *V that does not escape.
func getEntry[K comparable](sc Scope, of edit.MapOf, key K, dst unsafe.Pointer) error {
	s, in, err := sc.on()
	if err == nil {
		var found bool
		if found, err = in.Get(of, layout.NoEscapeKey(&key), dst); err == nil && !found {
			return fmt.Errorf("everheap: key %v: %w", key, ErrNotFound)
		}
	}
	return s.wrap("get", err)
}

// hasEntry reports whether the map has the key.
func hasEntry[K comparable](sc Scope, of edit.MapOf, key K) (found bool, err error) {
	s, in, err := sc.on()
	if err == nil {
		found, err = in.Get(of, layout.NoEscapeKey(&key), nil)
	}
	return found, s.wrap("get", err)
}

// modifyEntry is changeEntry for a key that must be there.
func modifyEntry[K comparable, V any](sc Scope, of edit.MapOf, key K, fn func(v *V) error) error {
	return changeEntry(sc, of, "modify", key, func(v *V, found bool) error {
		if !found {
			return fmt.Errorf("key %v: %w", key, ErrNotFound)
		}
		return fn(v)
	})
}

// changeEntry reads, lets fn change, and writes one entry, in one transaction.
func changeEntry[K comparable, V any](sc Scope, of edit.MapOf, op string, key K, fn func(v *V, found bool) error) error {
	s, in, err := sc.on()
	if err == nil {
		err = in.Edit(func(tx *engine.Tx) error {
			var v V
			found, err := tx.Get(of, layout.NoEscapeKey(&key), layout.NoEscapeKey(&v))
			if err != nil {
				return err
			}
			if err := fn(&v, found); err != nil {
				return err
			}
			return tx.Set(of, layout.NoEscapeKey(&key), layout.NoEscape(&v))
		})
	}
	return s.wrap(op, err)
}

// deleteEntry removes the key.
func deleteEntry[K comparable](sc Scope, of edit.MapOf, key K) (removed bool, err error) {
	s, in, err := sc.on()
	if err == nil {
		removed, err = in.Delete(of, layout.NoEscapeKey(&key))
	}
	return removed, s.wrap("delete", err)
}

// countEntries returns the number of entries.
func countEntries(sc Scope, of edit.MapOf) (n int, err error) {
	s, in, err := sc.on()
	if err == nil {
		n, err = in.Len(of)
	}
	return n, s.wrap("len", err)
}
