package engine

import (
	"errors"
	"math"
	"path/filepath"
	"testing"
	"unsafe"

	"github.com/everheap/everheap/internal/edit"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/layout"
)

// Deleting a key that cannot be searched for is an error of that operation alone, as with Get:
// nothing has changed, and the transaction can continue.
func TestDelete_KeyThatCannotBeSearchedFor(t *testing.T) {
	for _, sorted := range []bool{false, true} {
		sp, err := Open(filepath.Join(t.TempDir(), "s"), Options{MaxSize: 64 << 20, Manual: true, Files: withoutSync, Verify: true})
		if err != nil {
			t.Fatal(err)
		}
		open := func(name string, of edit.MapOf) edit.MapOf {
			of.Sorted = sorted
			if of.ID, err = sp.OpenMap(name, of); err != nil {
				t.Fatal(err)
			}
			return of
		}
		damaged, whole := open("damaged", words(0)), open("whole", words(0))
		floats := open("floats", edit.MapOf{Key: layout.IdentityOf[float64](), Value: wordType})
		for i := range uint64(3) {
			if err := sp.Alone(false).Set(damaged, pointerTo(i), pointerTo(i)); err != nil {
				t.Fatal(err)
			}
		}
		var payload unsafe.Pointer // the payload of the entry with the key 1
		if err := sp.look(func(tx *Tx) error {
			s, err := tx.Stored(damaged.ID)
			if err != nil {
				return err
			}
			part, err := s.Get(pointerTo(1))
			if err == nil {
				payload = unsafe.Add(part.Pointer, -int(uintptr(part.Pointer)-part.Bounds.Lo))
			}
			return err
		}); err != nil {
			t.Fatal(err)
		}
		hd := (*format.BlockHeader)(unsafe.Add(payload, sp.Region.Delta()-format.HeaderSize))
		hd.Sum ^= 1
		nan := math.NaN()
		err = sp.Change(false, func(tx *Tx) error {
			if _, err := tx.Delete(damaged, pointerTo(1)); err == nil {
				t.Error("Delete removed a damaged entry")
			}
			if _, err := tx.Delete(floats, unsafe.Pointer(&nan)); sorted && err == nil {
				t.Error("Delete removed NaN")
			}
			return errors.Join(tx.Err(), tx.Set(whole, pointerTo(7), pointerTo(8)))
		})
		hd.Sum ^= 1
		if err != nil {
			t.Errorf("sorted %t: the transaction could not continue: %v", sorted, err)
		} else if got := wordsByWord(t, sp, whole); got[7] != 8 || len(wordsByWord(t, sp, damaged)) != 3 {
			t.Errorf("sorted %t: %v and %v", sorted, got, wordsByWord(t, sp, damaged))
		}
		verify(t, sp)
	}
}
