package edit

import (
	"testing"

	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/object"
)

// Each kind of object that has types is accessed by them, and no other.
func TestKinds_AreAccessedByTheirTypes(t *testing.T) {
	for number := range 256 {
		k := object.Of(format.Kind(number))
		typed := k != nil && k.About().Types > 0
		if typed != (storedOf[format.Kind(number)] != nil) {
			t.Errorf("objects of kind %s have types and nobody looks at them by them, or the reverse", format.Kind(number))
		}
	}
}
