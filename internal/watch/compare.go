package watch

import (
	"github.com/everheap/everheap/internal/edit"
	"github.com/everheap/everheap/internal/object"
)

// Compare calls fn with the differences between two versions of an object, until fn returns false.
// The editors hold both versions, and the parts that they share cost nothing: see package edit. It
// is an error if the newer version lacks the object, or if the object has other types there.
func Compare(subject edit.Subject, was, now *edit.Editor, at edit.Instants, fn func(d *Difference) (more bool)) error {
	found, err := subject.Compare(was, now, at)
	if err != nil || found == nil {
		return err
	}
	for more := true; more; {
		var pairs []object.Pair
		if more, err = found.Step(func(p object.Pair) { pairs = append(pairs, p) }); err != nil {
			return err
		}
		for _, p := range pairs {
			same, err := same(found, p)
			if err != nil {
				return err
			}
			if !same && !fn(difference(found, p)) {
				return nil
			}
		}
	}
	return nil
}
