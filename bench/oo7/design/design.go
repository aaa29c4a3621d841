// Package design is what both schemas of OO7 in Everheap have in common: each object of
// the design but those of a graph has an identity, so it is the value of a Ref; what
// belongs to one object is a slice in it; the indexes are maps, and a sorted one where
// ranges are asked for. The schemas, packages objects and owned, say of the graphs of
// atomic parts
//
//   - G, what a composite part has of its graph, and
//   - P, what an index has of an atomic part: it leads there.
//
// What runs for each atomic part of a traversal or of a query is in the schemas, where
// both are known to the compiler. What is here asks a Schema, and pays two loads for each
// reference that it follows: code for any G has to look up which type that is.
//
// Start reading at Database and Schema.
package design

import (
	"context"
	"errors"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/bench/oo7/plan"
)

// CompositePart is what base assemblies are made of.
type CompositePart[G any] struct {
	ID        int64
	Type      plan.Type
	BuildDate int64
	Document  everheap.Ref[Document[G]]
	Graph     G
	UsedIn    []everheap.Ref[BaseAssembly[G]]
}

// Document describes a composite part.
type Document[G any] struct {
	ID          int64
	Title, Text string
	Part        everheap.Ref[CompositePart[G]]
}

// BaseAssembly is a leaf of the tree of assemblies.
type BaseAssembly[G any] struct {
	ID         int64
	Type       plan.Type
	BuildDate  int64
	Super      everheap.Ref[ComplexAssembly[G]]
	Components []everheap.Ref[CompositePart[G]]
}

// ComplexAssembly is an inner node: above others, or above base assemblies.
type ComplexAssembly[G any] struct {
	ID        int64
	Type      plan.Type
	BuildDate int64
	Super     everheap.Ref[ComplexAssembly[G]]
	Complex   []everheap.Ref[ComplexAssembly[G]]
	Bases     []everheap.Ref[BaseAssembly[G]]
}

// Module is the whole.
type Module[G any] struct {
	ID        int64
	Type      plan.Type
	BuildDate int64
	Title     string
	Manual    string
	Root      everheap.Ref[ComplexAssembly[G]]
}

// DateKey is the key of the index of build dates: several parts can have one date.
type DateKey struct{ BuildDate, ID int64 }

// Schema says how graphs are stored.
type Schema[G, P any] interface {
	// Add adds the graph of a composite part, and returns it with what leads to its
	// atomic parts, in the order of the plan.
	Add(tx *everheap.Tx, from *plan.Composite, of everheap.Ref[CompositePart[G]]) (G, []P, error)
	// Keys returns the keys of the atomic parts of a graph.
	Keys(tx *everheap.Tx, graph *G) []DateKey
	// PartOf returns the composite part of an atomic part.
	PartOf(tx *everheap.Tx, part *P) everheap.Ref[CompositePart[G]]
	// State returns what a snapshot has of an atomic part.
	State(tx *everheap.Tx, part *P) plan.PartState
}

// Database has the objects, the indexes, and those operations of plan.Database that are
// the same in all schemas.
type Database[G, P any] struct {
	Parts     everheap.Map[int64, P]
	Dates     everheap.Sorted[DateKey, P]
	Documents everheap.Map[int64, everheap.Ref[Document[G]]]

	schema     Schema[G, P]
	space      *everheap.Space
	module     everheap.Ref[Module[G]]
	composites everheap.Map[int64, everheap.Ref[CompositePart[G]]]
	titles     everheap.Map[string, everheap.Ref[Document[G]]]
	bases      everheap.Map[int64, everheap.Ref[BaseAssembly[G]]]
	complex    everheap.Map[int64, everheap.Ref[ComplexAssembly[G]]]
}

// maxSize is room for the medium database and for what updates leave to be reused.
const maxSize = 16 << 30

// Open opens the database in a directory, which is empty if it was not built yet.
func Open[G, P any](dir string, schema Schema[G, P]) (*Database[G, P], error) {
	space, err := everheap.Open(dir, everheap.WithMaxSize(maxSize))
	if err != nil {
		return nil, err
	}
	d := &Database[G, P]{schema: schema, space: space}
	err = errors.Join(
		open(&d.module, func() (everheap.Ref[Module[G]], error) { return everheap.OpenRef(space, "module", Module[G]{}) }),
		openMap(space, &d.Parts, "parts"),
		open(&d.Dates, func() (everheap.Sorted[DateKey, P], error) {
			return everheap.OpenSorted[DateKey, P](space, "dates")
		}),
		openMap(space, &d.composites, "composites"),
		openMap(space, &d.Documents, "documents"),
		openMap(space, &d.titles, "titles"),
		openMap(space, &d.bases, "bases"),
		openMap(space, &d.complex, "complex"),
	)
	if err != nil {
		space.Close()
		return nil, err
	}
	return d, nil
}

// open keeps a handle.
func open[H any](handle *H, opened func() (H, error)) (err error) {
	*handle, err = opened()
	return err
}

func openMap[K comparable, V any](space *everheap.Space, m *everheap.Map[K, V], name string) error {
	return open(m, func() (everheap.Map[K, V], error) { return everheap.OpenMap[K, V](space, name) })
}

// Close closes the space.
func (d *Database[G, P]) Close() error { return d.space.Close() }

// View is one transaction that reads; fn returns what it counted.
func (d *Database[G, P]) View(fn func(tx *everheap.Tx) int) (n int, err error) {
	err = d.space.View(func(tx *everheap.Tx) error {
		n = fn(tx)
		return nil
	})
	return n, err
}

// Update is one transaction that writes; fn returns what it counted.
func (d *Database[G, P]) Update(fn func(tx *everheap.Tx) (int, error)) (n int, err error) {
	err = d.space.Update(context.Background(), func(tx *everheap.Tx) (err error) {
		n, err = fn(tx)
		return err
	})
	return n, err
}
