package everheap_test

import (
	"fmt"
	"testing"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/internal/spacetest"
)

// A reading transaction that has followed a reference goes the short way for all
// others. What must not be followed is found out there as well.
func TestRef_PeekAfterPeek(t *testing.T) {
	s, other := spacetest.Scratch(t), spacetest.Scratch(t)
	for range 100 { // so that IDs of both have objects behind them in the other
		newRef(t, other, "filler")
	}
	good, foreign := newRef(t, s, "good"), newRef(t, other, "foreign")
	list, err := everheap.OpenList[string](s, "list")
	spacetest.Must(t, err)
	number := newRef(t, s, 7)
	var ended *everheap.Tx
	for _, c := range []struct {
		name string
		ref  everheap.Ref[string]
		want error
	}{
		{"nil", everheap.Ref[string]{}, everheap.ErrNilHandle},
		{"foreign", foreign, everheap.ErrDangling},
		{"another type", spacetest.Convert[everheap.Ref[int], everheap.Ref[string]](number), everheap.ErrTypeChanged},
		{"another kind", spacetest.Convert[everheap.List[string], everheap.Ref[string]](list), everheap.ErrTypeChanged},
		{"beyond the last", spacetest.Convert[everheap.ID, everheap.Ref[string]](good.ID() + 1000), everheap.ErrNotFound},
		{"far beyond", spacetest.Convert[everheap.ID, everheap.Ref[string]](good.ID() + 1<<40), everheap.ErrNotFound},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := s.View(func(tx *everheap.Tx) error {
				for range 3 {
					if v := *good.Peek(tx); v != "good" {
						t.Errorf("%q", v)
					}
				}
				ended = tx
				t.Errorf("%q is not there", *c.ref.Peek(tx))
				return nil
			})
			spacetest.ExpectError(t, err, c.want)
		})
	}
	func() {
		defer func() {
			if recover() == nil {
				t.Error("a transaction that has ended still reads")
			}
		}()
		good.Peek(ended)
	}()
}

// What is prepared is the version of the transaction: an older one, and that of a
// checkpoint.
func TestRef_PeekVersions(t *testing.T) {
	s := spacetest.Scratch(t)
	r := newRef(t, s, "first")
	spacetest.Must(t, s.Checkpoint("then"))
	spacetest.View(t, s, func(tx *everheap.Tx) error {
		for i := range 3 {
			if v := *r.Peek(tx); v != "first" {
				t.Errorf("after %d changes the view sees %q", i, v)
			}
			spacetest.Must(t, r.Set(s, fmt.Sprint("value ", i)))
			newRef(t, s, "grows the table")
		}
		return nil
	})
	spacetest.Must(t, s.ViewAt("then", func(tx *everheap.Tx) error {
		for range 2 {
			if v := *r.Peek(tx); v != "first" {
				t.Errorf("the checkpoint has %q", v)
			}
		}
		return nil
	}))
	spacetest.View(t, s, func(tx *everheap.Tx) error {
		for range 2 {
			if v := *r.Peek(tx); v != "value 2" {
				t.Errorf("now it is %q", v)
			}
		}
		return nil
	})
}
