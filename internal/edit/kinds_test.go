package edit

import (
	"testing"

	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/object"
)

// Every kind of object that has types can be accessed by them, and no other kind can.
func TestKinds_AreAccessedByTheirTypes(t *testing.T) {
	for number := range 256 {
		k := object.Of(format.Kind(number))
		typed := k != nil && k.About().Types > 0
		if typed != (storedOf[format.Kind(number)] != nil) {
			t.Errorf("kind %s has types and no access by them, or the reverse", format.Kind(number))
		}
	}
}
