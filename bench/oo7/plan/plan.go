package plan

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// Plan is a database as plain data: whatever is chosen at random is chosen here. It
// also has the arguments of the operations.
type Plan struct {
	Params
	Module     Module
	Composites []Composite
	Complex    []Complex // parents come before their children; the first is the root
	Bases      []Base

	Part   int64    // where T7 begins
	Parts  []int64  // that Q1 looks for
	Titles []string // of the documents that Q4 looks for
	New    []Composite
	Uses   []Use // of the new composite parts
}

// Object is what modules, assemblies and parts have in common. IDs are unique among
// the objects of one kind, and begin with 1.
type Object struct {
	ID        int64
	Type      Type
	BuildDate int64
}

// Type is an array of characters, as in the paper.
type Type [10]byte

// Module is the whole of the design.
type Module struct {
	Object
	Title, Text string // of its manual
}

// Complex is an assembly of assemblies. Super is an index in Plan.Complex, -1 for the
// root.
type Complex struct {
	Object
	Super int
}

// Base is an assembly of composite parts, which are given by their IDs; one may be
// there twice. Super is an index in Plan.Complex.
type Base struct {
	Object
	Super      int
	Components []int64
}

// Composite is a composite part. Its first atomic part is its root. Its document has
// its ID.
type Composite struct {
	Object
	Title, Text string
	Parts       []Part
}

// Part is an atomic part. Its first connection leads to the next part of the
// composite part, so that all can be reached from the root.
type Part struct {
	Object
	X, Y  int64
	DocID int64 // of some document, not that of its composite part
	To    []Connection
}

// Connection leads from a part to the one with an index in the same composite part.
type Connection struct {
	ID     int64
	Type   Type
	Length int64
	To     int
}

// Use says that a base assembly is to use a new composite part.
type Use struct{ Base, Composite int64 }

// drawing is a plan while it is drawn.
type drawing struct {
	*Plan
	random                  *rand.Rand
	part, connection, compo int64 // the last IDs
}

// Draw returns the plan of a database.
func Draw(params Params) *Plan {
	d := &drawing{Plan: &Plan{Params: params}, random: rand.New(rand.NewPCG(params.Seed, 7))}
	d.Module = Module{
		Object: d.object(1, MinDate, MaxDate), Title: "Manual for module #1",
		Text: repeated("I am the manual for module #1.\n", params.ManualSize),
	}
	for range params.CompPerModule {
		d.Composites = append(d.Composites, d.composite())
	}
	d.assemblies()
	d.arguments()
	return d.Plan
}

// assemblies draws the tree, level by level.
func (d *drawing) assemblies() {
	supers := []int{-1}
	id := int64(0)
	for range d.AssmLevels - 1 {
		var next []int
		for _, super := range supers {
			id++
			for range d.AssmPerAssm {
				next = append(next, len(d.Complex))
			}
			d.Complex = append(d.Complex, Complex{d.object(id, MinDate, MaxDate), super})
		}
		supers = next
	}
	for _, super := range supers {
		id++
		base := Base{Object: d.object(id, MinDate, MaxDate), Super: super}
		for range d.CompPerAssm {
			base.Components = append(base.Components, 1+d.random.Int64N(int64(d.CompPerModule)))
		}
		d.Bases = append(d.Bases, base)
	}
}

// composite draws a composite part with its document and its graph.
func (d *drawing) composite() Composite {
	d.compo++
	from, to := int64(0), int64(MinDate-1) // old
	if d.compo%youngOf == 0 {
		from, to = MaxDate+1, 2*MaxDate
	}
	c := Composite{Object: d.object(d.compo, from, to), Title: title(d.compo)}
	c.Text = repeated(fmt.Sprintf("I am the documentation for composite part #%d.\n", d.compo), d.DocumentSize)
	for i := range d.AtomicPerComp {
		d.part++
		part := Part{
			Object: d.object(d.part, MinDate, MaxDate),
			X:      d.random.Int64N(coordinates), Y: d.random.Int64N(coordinates),
			DocID: 1 + d.random.Int64N(int64(d.CompPerModule)),
		}
		for k := range d.ConnPerAtomic {
			d.connection++
			other := (i + 1) % d.AtomicPerComp
			if k > 0 {
				other = d.random.IntN(d.AtomicPerComp)
			}
			part.To = append(part.To, Connection{d.connection, d.typ(), d.random.Int64N(1000), other})
		}
		c.Parts = append(c.Parts, part)
	}
	return c
}

// arguments draws what the operations work on.
func (d *drawing) arguments() {
	parts := d.part
	d.Part = 1 + d.random.Int64N(parts)
	for range lookups {
		d.Parts = append(d.Parts, 1+d.random.Int64N(parts))
	}
	for range documentTitles {
		d.Titles = append(d.Titles, title(1+d.random.Int64N(int64(d.CompPerModule))))
	}
	for range newComposites {
		d.New = append(d.New, d.composite())
	}
	for i := range newUses {
		base := d.Bases[d.random.IntN(len(d.Bases))]
		d.Uses = append(d.Uses, Use{base.ID, d.New[i%newComposites].ID})
	}
}

func (d *drawing) object(id, minDate, maxDate int64) Object {
	return Object{id, d.typ(), minDate + d.random.Int64N(maxDate-minDate+1)}
}

func (d *drawing) typ() (t Type) {
	copy(t[:], fmt.Sprintf("type%03d", d.random.IntN(types)))
	return t
}

func title(id int64) string { return fmt.Sprintf("Composite Part %08d", id) }

// repeated returns size bytes of a sentence that is said again and again.
func repeated(sentence string, size int) string {
	return strings.Repeat(sentence, size/len(sentence)+1)[:size]
}
