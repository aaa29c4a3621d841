package watch

import (
	"context"

	"github.com/everheap/everheap/internal/edit"
	"github.com/everheap/everheap/internal/layout"
)

// Each converts each difference of an object and yields the result, or an error, until yield
// returns false. yield runs outside everything that the watch does: even if it panics, the watch is
// closed.
func Each[C any](ctx context.Context, s *Session, of edit.Subject, initial bool, convert func(d *Difference) (C, error), yield func(C, error) bool) error {
	w, err := s.Watch(of, initial)
	if err != nil {
		return err
	}
	defer w.Close()
	for {
		var c C
		if err := w.Next(ctx, func(d *Difference) (err error) { c, err = convert(d); return err }); err != nil {
			return err
		}
		if !yield(c, nil) {
			return nil
		}
	}
}

// Values copies the values of a difference, the earlier and the present one; nil for a missing one.
func Values[V any](d *Difference) (was, is *V, err error) {
	if was, err = copied[V](d, d.Was); err == nil {
		is, err = copied[V](d, d.Now)
	}
	return was, is, err
}

// copied copies one of the values.
func copied[V any](d *Difference, p edit.StoredPart) (*V, error) {
	if p.Pointer == nil {
		return nil, nil
	}
	v := new(V)
	return v, d.CopyValue(layout.NoEscapeKey(v), p)
}
