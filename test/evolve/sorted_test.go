package evolve

import (
	"fmt"
	"testing"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/internal/spacetest"
)

// A sorted map changes its types as a map does, and sorts the new keys.
func TestEvolve_Sorted(t *testing.T) {
	type before struct {
		Name  string
		Score int8
	}
	type after struct {
		Score int64
		Name  string
		Added bool
	}
	s := spacetest.Scratch(t)
	old, err := everheap.OpenSorted[int16, before](s, "m")
	spacetest.Must(t, err)
	spacetest.Update(t, s, func(tx *everheap.Tx) error {
		for i := range 500 {
			k := int16(i - 250)
			if err := old.Set(tx, k, before{fmt.Sprint("n", k), int8(i)}); err != nil {
				return err
			}
		}
		return nil
	})
	_, err = everheap.OpenSorted[int64, after](s, "m")
	spacetest.ExpectError(t, err, everheap.ErrTypeChanged)
	now, err := everheap.OpenSorted[int64, after](s, "m", everheap.Evolve())
	spacetest.Must(t, err)
	spacetest.View(t, s, func(tx *everheap.Tx) error {
		next := int64(-250)
		for k, v := range now.All(tx) {
			if want := (after{int64(int8(k + 250)), fmt.Sprint("n", k), false}); k != next || *v != want {
				t.Fatalf("at %d: key %d, %+v, want %+v", next, k, *v, want)
			}
			if now.Rank(tx, k) != int(k+250) {
				t.Errorf("the rank of %d is %d", k, now.Rank(tx, k))
			}
			next++
		}
		if next != 250 {
			t.Errorf("the entries end before %d", next)
		}
		return nil
	})
	_, err = old.Get(s, 1)
	spacetest.ExpectError(t, err, everheap.ErrTypeChanged)
}
