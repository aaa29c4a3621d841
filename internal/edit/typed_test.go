package edit

import (
	"testing"

	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/layout"
)

// The cache remembers two pairs that share a place. It finds no pair that was not remembered, and
// no pair under the type or the descriptor of another.
func TestTypedCache_TwoInOnePlace(t *testing.T) {
	var c typedCache
	type one struct{ A int }
	type two struct{ B int }
	a, b := layout.IdentityOf[one](), layout.IdentityOf[two]()
	of := func(id layout.Identity, index uint64) *typed {
		return &typed{of: id, index: index, first: format.MakeValueType(index)}
	}
	const index = 5 + 256
	first, second := of(a, 5), of(b, index)
	if c.find(a, 5) != nil {
		t.Fatal("an empty cache finds something")
	}
	c.remember(first)
	if c.find(b, index) != nil {
		t.Fatal("a pair is found in the place of another")
	}
	c.remember(second)
	if c.find(a, 5) != first || c.find(b, index) != second {
		t.Error("one of two pairs was displaced")
	}
	if c.find(a, 5+512) != nil || c.find(b, 5) == first || c.find(a, index) == second {
		t.Error("a pair is found under another")
	}
	// The first word of a value finds the same places.
	for _, pair := range []*typed{first, second} {
		found := c.near(pair.first).Load().is(pair.of, pair.first) || c.far(pair.of, pair.first).Load().is(pair.of, pair.first)
		if !found {
			t.Error("a pair is not found by the first word of its values")
		}
	}
	if first.is(a, 5) || (*typed)(nil).is(a, first.first) {
		t.Error("a word that begins no value passes for one")
	}
}
