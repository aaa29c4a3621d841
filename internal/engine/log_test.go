package engine

import (
	"errors"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"
	"unsafe"

	"github.com/everheap/everheap/internal/edit"
)

// Changes that the same transaction undoes take no room in the journal.
func TestLog_OfAStack(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "s")
	sp, err := Open(dir, Options{MaxSize: 256 << 20, Manual: true})
	if err != nil {
		t.Fatal(err)
	}
	id, err := sp.OpenList("l", wordType)
	if err != nil {
		t.Fatal(err)
	}
	of := edit.ListOf{ID: id, Value: wordType}
	err = sp.Change(false, func(tx *Tx) error {
		for i := range uint64(100_000) {
			if err := tx.Append(of, unsafe.Pointer(&[2]uint64{i, i}), 2); err != nil {
				return err
			}
			if err := tx.WriteItem(of, 0, unsafe.Pointer(&i)); err != nil {
				return err
			}
			if err := tx.Truncate(of, 1); err != nil {
				return err
			}
		}
		if n := tx.Write.Logged(); n > 1<<20 {
			t.Errorf("a list of one element has %d bytes of changes", n)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	sp = recovered(t, dir, sp)
	if got := wordsOf(t, sp, id); !slices.Equal(got, []uint64{99_999}) {
		t.Errorf("recovered %d", got)
	}
	verify(t, sp)
}

// No block that a log names is reused before the journal has it: the test drops blocks of an older
// version at once, and they are reused at once where that is right.
func TestLog_KeepsWhatItRefersTo(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "s")
	sp, err := Open(dir, Options{MaxSize: 64 << 20, Manual: true})
	if err != nil {
		t.Fatal(err)
	}
	list, err := sp.OpenList("l", wordType)
	if err != nil {
		t.Fatal(err)
	}
	word := uint64(1)
	ref, err := sp.OpenValue("v", wordType, unsafe.Pointer(&word))
	if err != nil {
		t.Fatal(err)
	}
	for i := range uint64(40_000) { // each version drops what the one before has logged; the journal is not written meanwhile
		for _, err := range []error{
			sp.Change(false, func(tx *Tx) error { return tx.Append(edit.ListOf{ID: list, Value: wordType}, unsafe.Pointer(&i), 1) }),
			sp.Change(false, func(tx *Tx) error { return tx.WriteItem(edit.ListOf{ID: list, Value: wordType}, 0, unsafe.Pointer(&i)) }),
			sp.Change(false, func(tx *Tx) error { return tx.WriteValue(edit.RefOf{ID: ref, Value: wordType}, unsafe.Pointer(&i)) }),
		} {
			if err != nil {
				t.Fatal(err)
			}
		}
		if i%100 == 99 {
			if err := sp.Change(false, func(tx *Tx) error { return tx.Truncate(edit.ListOf{ID: list, Value: wordType}, 1) }); err != nil {
				t.Fatal(err)
			}
			sp.Heap.Enter()
			sp.Heap.Reclaim()
			sp.Heap.Leave()
		}
	}
	sp = recovered(t, dir, sp)
	if got := wordsOf(t, sp, list); !slices.Equal(got, []uint64{39_999}) {
		t.Errorf("recovered a list of %d", len(got))
	}
	if got := wordOf(t, sp, ref); got != 39_999 {
		t.Errorf("recovered %d", got)
	}
	verify(t, sp)
}

// Storing and removing the same keys again and again, some of which existed before, leaves a log
// that does not grow, and that makes the same contents.
func TestLog_OfKeysStoredAndRemoved(t *testing.T) {
	for seed := range uint64(8) {
		r := rand.New(rand.NewPCG(seed, 0))
		dir := filepath.Join(t.TempDir(), "s")
		sp, err := Open(dir, Options{MaxSize: 256 << 20, Manual: true})
		if err != nil {
			t.Fatal(err)
		}
		of, model := map[string]edit.MapOf{}, map[string]map[uint64]uint64{}
		for _, name := range []string{"plain", "sorted"} {
			m := edit.MapOf{Key: wordType, Value: wordType, Sorted: name == "sorted"}
			if m.ID, err = sp.OpenMap(name, m); err != nil {
				t.Fatal(err)
			}
			of[name], model[name] = m, map[uint64]uint64{}
		}
		for range 4 {
			err := sp.Change(false, func(tx *Tx) error {
				changes := []int{3, 100, 60_000}[r.IntN(3)]
				for range changes {
					name, key, word := []string{"plain", "sorted"}[r.IntN(2)], r.Uint64N(20), r.Uint64()
					if r.IntN(2) == 0 {
						model[name][key] = word
						if err := tx.Set(of[name], unsafe.Pointer(&key), unsafe.Pointer(&word)); err != nil {
							return err
						}
						continue
					}
					_, was := model[name][key]
					delete(model[name], key)
					if there, err := tx.Delete(of[name], unsafe.Pointer(&key)); err != nil || there != was {
						return errors.Join(err, errors.New("Delete disagrees with the model"))
					}
				}
				if n := tx.Write.Logged(); n > 1<<20 {
					t.Errorf("seed %d: %d changes of 40 keys are %d bytes", seed, changes, n)
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		sp = recovered(t, dir, sp)
		for name, m := range of {
			if got := wordsByWord(t, sp, m); !maps.Equal(got, model[name]) {
				t.Errorf("seed %d, %s: recovered %d entries, and not the %d of the model", seed, name, len(got), len(model[name]))
			}
		}
		verify(t, sp)
	}
}

// wordsByWord reads a map of words.
func wordsByWord(t *testing.T, sp *Space, of edit.MapOf) map[uint64]uint64 {
	t.Helper()
	tx, err := sp.View()
	if err != nil {
		t.Fatal(err)
	}
	defer tx.EndView()
	entries := map[uint64]uint64{}
	var key uint64
	if err := tx.Entries(of, func() unsafe.Pointer { return unsafe.Pointer(&key) }, func(v unsafe.Pointer) bool {
		entries[key] = *(*uint64)(v)
		return true
	}); err != nil {
		t.Fatal(err)
	}
	return entries
}
