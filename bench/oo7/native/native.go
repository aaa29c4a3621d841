// Package native is OO7 with ordinary Go pointers and maps: what the others are
// compared with. Nothing is persistent.
package native

import (
	"github.com/everheap/everheap/bench/oo7/plan"
)

// AtomicPart is a node of the graph of a composite part. What a traversal needs is at
// the beginning: one cache line, most often.
type AtomicPart struct {
	To, From  []*Connection
	ID        int64
	PartOf    *CompositePart
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

// CompositePart is what base assemblies are made of.
type CompositePart struct {
	ID        int64
	Type      plan.Type
	BuildDate int64
	Document  *Document
	Parts     []*AtomicPart // the first is the root
	UsedIn    []*BaseAssembly
}

// Document describes a composite part.
type Document struct {
	ID          int64
	Title, Text string
	Part        *CompositePart
}

// BaseAssembly is a leaf of the tree of assemblies.
type BaseAssembly struct {
	ID         int64
	Type       plan.Type
	BuildDate  int64
	Super      *ComplexAssembly
	Components []*CompositePart
}

// ComplexAssembly is an inner node: above others, or above base assemblies.
type ComplexAssembly struct {
	ID        int64
	Type      plan.Type
	BuildDate int64
	Super     *ComplexAssembly
	Complex   []*ComplexAssembly
	Bases     []*BaseAssembly
}

// Module is the whole.
type Module struct {
	ID        int64
	Type      plan.Type
	BuildDate int64
	Title     string
	Manual    string
	Root      *ComplexAssembly
}

// Database implements plan.Database.
type Database struct {
	module     *Module
	parts      map[int64]*AtomicPart
	dates      map[int64]map[int64]*AtomicPart // by build date and ID
	composites map[int64]*CompositePart
	documents  map[int64]*Document
	titles     map[string]*Document
	bases      map[int64]*BaseAssembly
	complex    map[int64]*ComplexAssembly
	visited    *plan.Visited
}

var _ plan.Database = (*Database)(nil)

// Build makes the database of a plan.
func Build(p *plan.Plan) *Database {
	d := &Database{
		module: &Module{
			ID: p.Module.ID, Type: p.Module.Type, BuildDate: p.Module.BuildDate,
			Title: p.Module.Title, Manual: p.Module.Text,
		},
		parts: map[int64]*AtomicPart{}, dates: map[int64]map[int64]*AtomicPart{},
		composites: map[int64]*CompositePart{}, documents: map[int64]*Document{}, titles: map[string]*Document{},
		bases: map[int64]*BaseAssembly{}, complex: map[int64]*ComplexAssembly{},
		visited: plan.NewVisited(p.PartIDs()),
	}
	for i := range p.Composites {
		d.addComposite(&p.Composites[i])
	}
	assemblies := make([]*ComplexAssembly, len(p.Complex))
	for i, c := range p.Complex {
		a := &ComplexAssembly{ID: c.ID, Type: c.Type, BuildDate: c.BuildDate}
		assemblies[i], d.complex[a.ID] = a, a
		if c.Super < 0 {
			d.module.Root = a
			continue
		}
		a.Super = assemblies[c.Super]
		a.Super.Complex = append(a.Super.Complex, a)
	}
	for _, b := range p.Bases {
		a := &BaseAssembly{ID: b.ID, Type: b.Type, BuildDate: b.BuildDate, Super: assemblies[b.Super]}
		a.Super.Bases = append(a.Super.Bases, a)
		d.bases[a.ID] = a
		for _, id := range b.Components {
			d.use(a, d.composites[id])
		}
	}
	return d
}

// addComposite adds a composite part with its document and its graph.
func (d *Database) addComposite(from *plan.Composite) {
	c := &CompositePart{ID: from.ID, Type: from.Type, BuildDate: from.BuildDate}
	d.composites[c.ID] = c
	c.Document = &Document{ID: from.ID, Title: from.Title, Text: from.Text, Part: c}
	d.documents[c.ID], d.titles[from.Title] = c.Document, c.Document
	for _, p := range from.Parts {
		part := &AtomicPart{
			ID: p.ID, Type: p.Type, BuildDate: p.BuildDate,
			X: p.X, Y: p.Y, DocID: p.DocID, PartOf: c,
		}
		c.Parts = append(c.Parts, part)
		d.parts[part.ID] = part
		d.addDate(part)
	}
	for i, p := range from.Parts {
		for _, k := range p.To {
			one, other := c.Parts[i], c.Parts[k.To]
			connection := &Connection{Type: k.Type, Length: k.Length, From: one, To: other}
			one.To = append(one.To, connection)
			other.From = append(other.From, connection)
		}
	}
}

// use makes a composite part a component of a base assembly.
func (d *Database) use(a *BaseAssembly, c *CompositePart) {
	a.Components = append(a.Components, c)
	c.UsedIn = append(c.UsedIn, a)
}

func (d *Database) addDate(p *AtomicPart) {
	day := d.dates[p.BuildDate]
	if day == nil {
		day = map[int64]*AtomicPart{}
		d.dates[p.BuildDate] = day
	}
	day[p.ID] = p
}

func (d *Database) removeDate(p *AtomicPart) { delete(d.dates[p.BuildDate], p.ID) }

// Close has nothing to do.
func (d *Database) Close() error { return nil }
