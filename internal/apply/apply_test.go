package apply

import (
	"testing"

	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/object"
)

// The changes of each kind of object are applied either by package object or by this package.
func TestKinds_AreApplied(t *testing.T) {
	for number := range 256 {
		kind := format.Kind(number)
		_, here := actOf[kind]
		k := object.Of(kind)
		if k == nil {
			if here {
				t.Errorf("blocks of kind %s are not objects, and have an act", kind)
			}
			continue
		}
		if _, applied := k.(object.Applied); applied == here {
			t.Errorf("the changes of a %s have no act, or two", k.About().Called)
		}
	}
}
