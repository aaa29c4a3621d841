package native

import (
	"fmt"
	"slices"
	"strings"

	"github.com/everheap/everheap/bench/oo7/plan"
)

// Q1 looks for parts by ID.
func (d *Database) Q1(parts []int64) (n int, err error) {
	for _, id := range parts {
		if p := d.parts[id]; p != nil {
			plan.Sink += p.X
			n++
		}
	}
	return n, nil
}

// BuiltFrom is Q2 and Q3.
func (d *Database) BuiltFrom(from, to int64) (n int, err error) {
	for date := from; date <= to; date++ {
		for _, p := range d.dates[date] {
			plan.Sink += p.X
			n++
		}
	}
	return n, nil
}

// Q4 counts the uses of what documents describe.
func (d *Database) Q4(titles []string) (n int, err error) {
	for _, title := range titles {
		for _, base := range d.titles[title].Part.UsedIn {
			plan.Sink += base.BuildDate
			n++
		}
	}
	return n, nil
}

// Q5 counts base assemblies with a younger component.
func (d *Database) Q5() (n int, err error) {
	for _, base := range d.bases {
		for _, c := range base.Components {
			if c.BuildDate > base.BuildDate {
				n++
				break
			}
		}
	}
	return n, nil
}

// Q7 visits all parts.
func (d *Database) Q7() (n int, err error) {
	for _, p := range d.parts {
		plan.Sink += p.X
		n++
	}
	return n, nil
}

// Q8 joins parts and documents.
func (d *Database) Q8() (n int, err error) {
	for _, p := range d.parts {
		if document := d.documents[p.DocID]; document != nil && document.ID == p.DocID {
			n++
		}
	}
	return n, nil
}

// Insert adds composite parts.
func (d *Database) Insert(composites []plan.Composite, uses []plan.Use) (n int, err error) {
	for i := range composites {
		d.addComposite(&composites[i])
		n += len(composites[i].Parts)
	}
	for _, u := range uses {
		d.use(d.bases[u.Base], d.composites[u.Composite])
	}
	return n, nil
}

// Delete removes composite parts.
func (d *Database) Delete(composites []int64) (n int, err error) {
	for _, id := range composites {
		c := d.composites[id]
		for _, base := range c.UsedIn {
			base.Components = slices.DeleteFunc(base.Components, func(other *CompositePart) bool { return other == c })
		}
		for _, p := range c.Parts {
			d.removeDate(p)
			delete(d.parts, p.ID)
			n++
		}
		delete(d.documents, id)
		delete(d.titles, c.Document.Title)
		delete(d.composites, id)
	}
	return n, nil
}

// Snapshot returns the changing part.
func (d *Database) Snapshot() (plan.Snapshot, error) {
	s := plan.NewSnapshot()
	for id, p := range d.parts {
		s.Parts[id] = plan.PartState{
			X: p.X, Y: p.Y, BuildDate: p.BuildDate, DocID: p.DocID, Composite: p.PartOf.ID,
			To:   connections(p.To, func(c *Connection) int64 { return c.To.ID }),
			From: connections(p.From, func(c *Connection) int64 { return c.From.ID }),
		}
	}
	for date, parts := range d.dates {
		for id := range parts {
			s.Dates[id] = date
		}
	}
	for id, c := range d.composites {
		for _, base := range c.UsedIn {
			s.Uses[id] = append(s.Uses[id], base.ID)
		}
	}
	for title, document := range d.titles {
		s.Documents[title] = document.ID
	}
	for id, base := range d.bases {
		for _, c := range base.Components {
			s.Components[id] = append(s.Components[id], c.ID)
		}
	}
	s.Sort()
	return s, nil
}

func connections(list []*Connection, other func(*Connection) int64) string {
	text := make([]string, len(list))
	for i, c := range list {
		text[i] = fmt.Sprint(c.Type, ":", c.Length, ":", other(c))
	}
	return strings.Join(text, " ")
}
