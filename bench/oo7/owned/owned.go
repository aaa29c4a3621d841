// Package owned is OO7 in Everheap with another schema than package objects: atomic
// parts and connections belong to one composite part, so they are owned by one value, its
// graph, and refer to each other by ordinary Go pointers. What others refer to is an
// object: documents, composite parts, assemblies. An index leads to an atomic part by the
// graph and the place in it.
package owned

import (
	"fmt"
	"strings"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/bench/oo7/design"
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
type CompositePart = design.CompositePart[everheap.Ref[Graph]]

// Database implements plan.Database.
type Database struct {
	*design.Database[everheap.Ref[Graph], Place]
	visited *plan.Visited
}

var _ plan.Database = (*Database)(nil)

// Build makes the database of a plan in a directory that has none.
func Build(p *plan.Plan, dir string) (*Database, error) { return with(design.Build(p, dir, schema{})) }

// Open opens the database in a directory, which is empty if it was not built yet.
func Open(dir string) (*Database, error) { return with(design.Open(dir, schema{})) }

func with(d *design.Database[everheap.Ref[Graph], Place], err error) (*Database, error) {
	if err != nil {
		return nil, err
	}
	return &Database{d, plan.NewVisited(0)}, nil
}

// schema implements design.Schema.
type schema struct{}

func (schema) Add(tx *everheap.Tx, from *plan.Composite, of everheap.Ref[CompositePart]) (everheap.Ref[Graph], []Place, error) {
	var g Graph
	for _, p := range from.Parts {
		g.Parts = append(g.Parts, &AtomicPart{
			ID: p.ID, Type: p.Type, BuildDate: p.BuildDate,
			X: p.X, Y: p.Y, DocID: p.DocID, PartOf: of,
		})
	}
	for i, p := range from.Parts {
		for _, k := range p.To {
			one, other := g.Parts[i], g.Parts[k.To]
			connection := &Connection{Type: k.Type, Length: k.Length, From: one, To: other}
			one.To = append(one.To, connection)
			other.From = append(other.From, connection)
		}
	}
	ref, err := everheap.New(tx, g)
	places := make([]Place, len(g.Parts))
	for i := range places {
		places[i] = Place{ref, i}
	}
	return ref, places, err
}

func (schema) Keys(tx *everheap.Tx, graph *everheap.Ref[Graph]) (keys []design.DateKey) {
	for _, p := range graph.Peek(tx).Parts {
		keys = append(keys, design.DateKey{BuildDate: p.BuildDate, ID: p.ID})
	}
	return keys
}

func (schema) PartOf(tx *everheap.Tx, place *Place) everheap.Ref[CompositePart] {
	return place.part(tx).PartOf
}

func (schema) State(tx *everheap.Tx, place *Place) plan.PartState {
	p := place.part(tx)
	return plan.PartState{
		X: p.X, Y: p.Y, BuildDate: p.BuildDate, DocID: p.DocID, Composite: p.PartOf.Peek(tx).ID,
		To:   connections(p.To, func(c *Connection) *AtomicPart { return c.To }),
		From: connections(p.From, func(c *Connection) *AtomicPart { return c.From }),
	}
}

func connections(list []*Connection, other func(*Connection) *AtomicPart) string {
	text := make([]string, len(list))
	for i, c := range list {
		text[i] = fmt.Sprint(c.Type, ":", c.Length, ":", other(c).ID)
	}
	return strings.Join(text, " ")
}
