package edit

import (
	"testing"

	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/object"
)

// Each kind of object has what programs do to it, or needs nothing but its own block.
func TestKinds_HaveTheirActs(t *testing.T) {
	for number := range 256 {
		k := object.Of(format.Kind(number))
		if k == nil {
			if actsOf[number].apply != nil {
				t.Errorf("blocks of kind %s are no objects, and there are acts on them", format.Kind(number))
			}
			continue
		}
		do, about := actsOf[number], k.About()
		if _, applied := k.(object.Applied); applied == (do.apply != nil) {
			t.Errorf("the changes of a %s are applied by nobody, or twice", about.Called)
		}
		if typed := about.Types > 0; typed != (do.stored != nil) {
			t.Errorf("a %s has types, and nobody looks at it by them", about.Called)
		}
	}
}
