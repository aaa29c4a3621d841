// Package owned is OO7 in Everheap with another schema than package objects: atomic
// parts and connections belong to one composite part, so they are owned by one value, its
// graph, and refer to each other by ordinary Go pointers. What others refer to is an
// object: documents, composite parts, assemblies. An index leads to an atomic part by the
// graph and the place in it.
package owned

import (
	"context"
	"errors"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/bench/oo7/plan"
)

// AtomicPart is a node of the graph of a composite part.
type AtomicPart struct {
	To, From  []*Connection
	ID        int64
	PartOf    everheap.Ref[CompositePart]
	X, Y      int64
	BuildDate int64
	DocID     int64
	Type      plan.Type
}

// Connection is an edge of that graph.
type Connection struct {
	From, To *AtomicPart
	Length   int64
	Type     plan.Type
}

// Graph is what a composite part consists of.
type Graph struct{ Parts []*AtomicPart } // the first is the root

// Place says where an atomic part is.
type Place struct {
	Graph everheap.Ref[Graph]
	Index int
}

// part returns the part that is there.
func (p *Place) part(tx *everheap.Tx) *AtomicPart { return p.Graph.Peek(tx).Parts[p.Index] }

// CompositePart is what base assemblies are made of.
type CompositePart struct {
	ID        int64
	Type      plan.Type
	BuildDate int64
	Document  everheap.Ref[Document]
	Graph     everheap.Ref[Graph]
	UsedIn    []everheap.Ref[BaseAssembly]
}

// Document describes a composite part.
type Document struct {
	ID          int64
	Title, Text string
	Part        everheap.Ref[CompositePart]
}

// BaseAssembly is a leaf of the tree of assemblies.
type BaseAssembly struct {
	ID         int64
	Type       plan.Type
	BuildDate  int64
	Super      everheap.Ref[ComplexAssembly]
	Components []everheap.Ref[CompositePart]
}

// ComplexAssembly is an inner node: above others, or above base assemblies.
type ComplexAssembly struct {
	ID        int64
	Type      plan.Type
	BuildDate int64
	Super     everheap.Ref[ComplexAssembly]
	Complex   []everheap.Ref[ComplexAssembly]
	Bases     []everheap.Ref[BaseAssembly]
}

// Module is the whole.
type Module struct {
	ID        int64
	Type      plan.Type
	BuildDate int64
	Title     string
	Manual    string
	Root      everheap.Ref[ComplexAssembly]
}

// DateKey is the key of the index of build dates: several parts can have one date.
type DateKey struct{ BuildDate, ID int64 }

// Database implements plan.Database.
type Database struct {
	space      *everheap.Space
	module     everheap.Ref[Module]
	parts      everheap.Map[int64, Place]
	dates      everheap.Sorted[DateKey, Place]
	composites everheap.Map[int64, everheap.Ref[CompositePart]]
	documents  everheap.Map[int64, everheap.Ref[Document]]
	titles     everheap.Map[string, everheap.Ref[Document]]
	bases      everheap.Map[int64, everheap.Ref[BaseAssembly]]
	complex    everheap.Map[int64, everheap.Ref[ComplexAssembly]]
	visited    *plan.Visited
}

var _ plan.Database = (*Database)(nil)

// maxSize is room for the medium database and for what updates leave to be reused.
const maxSize = 16 << 30

// Open opens the database in a directory, which is empty if it was not built yet.
func Open(dir string) (*Database, error) {
	space, err := everheap.Open(dir, everheap.WithMaxSize(maxSize))
	if err != nil {
		return nil, err
	}
	d := &Database{space: space, visited: plan.NewVisited(0)}
	err = errors.Join(
		open(&d.module, func() (everheap.Ref[Module], error) { return everheap.OpenRef(space, "module", Module{}) }),
		openMap(space, &d.parts, "parts"),
		open(&d.dates, func() (everheap.Sorted[DateKey, Place], error) {
			return everheap.OpenSorted[DateKey, Place](space, "dates")
		}),
		openMap(space, &d.composites, "composites"),
		openMap(space, &d.documents, "documents"),
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
func (d *Database) Close() error { return d.space.Close() }

// update is one writing transaction.
func (d *Database) update(fn func(tx *everheap.Tx) error) error {
	return d.space.Update(context.Background(), fn)
}
