package index_test

import (
	"testing"

	"github.com/everheap/everheap/internal/index"
	"github.com/everheap/everheap/internal/layout"
)

type nest []nest

type chain struct {
	Name string `everheap:"index"`
	Next []chain
	Nest nest
}

// wide contains itself in very many ways.
type (
	wide0 struct{ A, B, C, D, E, F []wide1 }
	wide1 struct{ A, B, C, D, E, F []wide2 }
	wide2 struct{ A, B, C, D, E, F []wide3 }
	wide3 struct{ A, B, C, D, E, F []wide4 }
	wide4 struct{ A, B, C, D, E, F []wide5 }
	wide5 struct{ A, B, C, D, E, F []wide6 }
	wide6 struct{ A, B, C, D, E, F []wide7 }
	wide7 struct{ A, B, C, D, E, F []wide8 }
	wide8 struct{ A, B, C, D, E, F []wide9 }
	wide9 struct{ A, B, C, D, E, F []wide0 }
)

func typeOf[T any](t *testing.T) *layout.Type {
	t.Helper()
	typ, err := layout.For[T]()
	if err != nil {
		t.Fatal(err)
	}
	return typ
}

// A type may be a slice of itself, and may contain itself in more ways than can be followed.
func TestOfTags_RecursiveTypes(t *testing.T) {
	for _, typ := range []*layout.Type{typeOf[nest](t), typeOf[wide0](t)} {
		if list := index.OfTags(typ); len(list) != 0 {
			t.Errorf("%s: %v", typ, list)
		}
		s := index.Spec{Name: "x", Paths: []string{"A.B.C"}}
		if got := s.Follow(typ); !got.Same(s) {
			t.Errorf("%s: %v", typ, got)
		}
	}
	if list := index.OfTags(typeOf[chain](t)); len(list) != 1 || list[0].Name != "Name" {
		t.Errorf("%v, want an index on Name", list)
	}
}
