package object

import (
	"testing"

	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/layout"
)

// The table has every kind completely, and no two kinds share a name, a number or a change.
func TestKinds_Complete(t *testing.T) {
	names := map[string]bool{}
	for number, k := range kinds.of {
		if k == nil {
			continue
		}
		about := k.About()
		if about.Kind != format.Kind(number) || !about.Kind.Valid() {
			t.Errorf("the kind %s has the number %d, which is not a kind of block, or is another kind's", about.Called, number)
		}
		if about.Name == "" || about.Called == "" || names[about.Name] {
			t.Errorf("the kind %d is called %q and %q", number, about.Name, about.Called)
		}
		names[about.Name] = true
		if node := NodeOf(about.Kind); node == nil || (node.Hold != nil) != (about.Whole && about.Types > 0) {
			t.Errorf("a %s has no node for its own block, or it holds its values and Whole does not say so", about.Called)
		}
		if !Has(k, about.New) || OfOp(about.New) != k {
			t.Errorf("the changes %d do not make a %s", about.New, about.Called)
		}
		if about.Handle != layout.Invalid && OfHandle(about.Handle) != about.Kind {
			t.Errorf("the handles of a %s refer to a %s", about.Called, Called(OfHandle(about.Handle)))
		}
	}
	if len(names) < 5 {
		t.Errorf("the kinds are %v", names)
	}
}
