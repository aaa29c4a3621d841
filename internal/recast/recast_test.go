package recast

import (
	"testing"

	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/object"
)

// The types of every kind of object that has types can be changed.
func TestKinds_CanBeRecast(t *testing.T) {
	for number := range 256 {
		kind := format.Kind(number)
		k := object.Of(kind)
		if typed := k != nil && k.About().Types > 0; typed != (recastsOf[kind] != nil) {
			t.Errorf("a %s has types and no recast, or the reverse", kind)
		}
	}
}
