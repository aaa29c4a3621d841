// Package objects is OO7 in Everheap, where each object of the design has an identity,
// atomic parts and connections too: an index leads to an atomic part by its Ref.
package objects

import (
	"fmt"
	"strings"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/bench/oo7/design"
	"github.com/everheap/everheap/bench/oo7/plan"
)

// AtomicPart is a node of the graph of a composite part. What a traversal needs is at
// the beginning: one cache line, most often.
type AtomicPart struct {
	To, From  []everheap.Ref[Connection]
	ID        int64
	PartOf    everheap.Ref[CompositePart]
	X, Y      int64
	BuildDate int64
	DocID     int64
	Type      plan.Type
}

// Connection is an edge of that graph.
type Connection struct {
	From, To everheap.Ref[AtomicPart]
	Length   int64
	Type     plan.Type
}

// Graph is what a composite part consists of; the first part is the root.
type Graph []everheap.Ref[AtomicPart]

// CompositePart is what base assemblies are made of.
type CompositePart = design.CompositePart[Graph]

// Database implements plan.Database.
type Database struct {
	*design.Database[Graph, everheap.Ref[AtomicPart]]
	visited *plan.Visited
}

var _ plan.Database = (*Database)(nil)

// Build makes the database of a plan in a directory that has none.
func Build(p *plan.Plan, dir string) (*Database, error) { return with(design.Build(p, dir, schema{})) }

// Open opens the database in a directory, which is empty if it was not built yet.
func Open(dir string) (*Database, error) { return with(design.Open(dir, schema{})) }

func with(d *design.Database[Graph, everheap.Ref[AtomicPart]], err error) (*Database, error) {
	if err != nil {
		return nil, err
	}
	return &Database{d, plan.NewVisited(0)}, nil
}

// schema implements design.Schema.
type schema struct{}

// Add makes the parts first, one after the other, and tells them of their connections
// afterwards.
func (schema) Add(tx *everheap.Tx, from *plan.Composite, of everheap.Ref[CompositePart]) (Graph, []everheap.Ref[AtomicPart], error) {
	parts := make([]AtomicPart, len(from.Parts))
	refs := make([]everheap.Ref[AtomicPart], len(from.Parts))
	for i, p := range from.Parts {
		parts[i] = AtomicPart{
			ID: p.ID, Type: p.Type, BuildDate: p.BuildDate,
			X: p.X, Y: p.Y, DocID: p.DocID, PartOf: of,
		}
		var err error
		if refs[i], err = everheap.New(tx, parts[i]); err != nil {
			return nil, nil, err
		}
	}
	for i, p := range from.Parts {
		for _, k := range p.To {
			connection, err := everheap.New(tx, Connection{Type: k.Type, Length: k.Length, From: refs[i], To: refs[k.To]})
			if err != nil {
				return nil, nil, err
			}
			parts[i].To = append(parts[i].To, connection)
			parts[k.To].From = append(parts[k.To].From, connection)
		}
	}
	for i, ref := range refs {
		if err := ref.Set(tx, parts[i]); err != nil {
			return nil, nil, err
		}
	}
	return refs, refs, nil
}

func (schema) Keys(tx *everheap.Tx, graph *Graph) (keys []design.DateKey) {
	for _, ref := range *graph {
		p := ref.Peek(tx)
		keys = append(keys, design.DateKey{BuildDate: p.BuildDate, ID: p.ID})
	}
	return keys
}

func (schema) PartOf(tx *everheap.Tx, ref *everheap.Ref[AtomicPart]) everheap.Ref[CompositePart] {
	return ref.Peek(tx).PartOf
}

func (schema) State(tx *everheap.Tx, ref *everheap.Ref[AtomicPart]) plan.PartState {
	p := ref.Peek(tx)
	return plan.PartState{
		X: p.X, Y: p.Y, BuildDate: p.BuildDate, DocID: p.DocID, Composite: p.PartOf.Peek(tx).ID,
		To:   connections(tx, p.To, func(c *Connection) everheap.Ref[AtomicPart] { return c.To }),
		From: connections(tx, p.From, func(c *Connection) everheap.Ref[AtomicPart] { return c.From }),
	}
}

func connections(tx *everheap.Tx, list []everheap.Ref[Connection], other func(*Connection) everheap.Ref[AtomicPart]) string {
	text := make([]string, len(list))
	for i, ref := range list {
		c := ref.Peek(tx)
		text[i] = fmt.Sprint(c.Type, ":", c.Length, ":", other(c).Peek(tx).ID)
	}
	return strings.Join(text, " ")
}
