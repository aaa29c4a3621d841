package bolt

import (
	"fmt"
	"slices"
	"strings"

	"github.com/everheap/everheap/bench/oo7/plan"
)

// Q1 looks for parts by ID.
func (d *Database) Q1(parts []int64) (n int, err error) {
	err = d.view(func(t *tx) {
		for _, id := range parts {
			plan.Sink += t.part(id).X
			n++
		}
	})
	return n, err
}

// BuiltFrom is Q2 and Q3.
func (d *Database) BuiltFrom(from, to int64) (n int, err error) {
	err = d.view(func(t *tx) {
		t.built(from, to, func(_, id int64) {
			plan.Sink += t.part(id).X
			n++
		})
	})
	return n, err
}

// titled returns the ID of the document with a title.
func (t *tx) titled(title string) int64 {
	b := t.titles.Get([]byte(title))
	if b == nil {
		t.fail(fmt.Errorf("bolt: no document has the title %q", title))
		return 0
	}
	return idOf(b)
}

// Q4 counts the uses of what documents describe.
func (d *Database) Q4(titles []string) (n int, err error) {
	err = d.view(func(t *tx) {
		for _, title := range titles {
			for _, id := range t.composite(t.titled(title)).UsedIn {
				plan.Sink += t.base(id).BuildDate
				n++
			}
		}
	})
	return n, err
}

// Q5 counts base assemblies with a younger component.
func (d *Database) Q5() (n int, err error) {
	err = d.view(func(t *tx) {
		cursor := t.bases.Cursor()
		for k, v := cursor.First(); k != nil; k, v = cursor.Next() {
			var base baseAssembly
			base.decode(idOf(k), v)
			for _, id := range base.Components {
				if t.composite(id).BuildDate > base.BuildDate {
					n++
					break
				}
			}
		}
	})
	return n, err
}

// all calls fn with all parts.
func (t *tx) all(fn func(p *atomicPart)) {
	cursor := t.parts.Cursor()
	for k, v := cursor.First(); k != nil; k, v = cursor.Next() {
		var p atomicPart
		p.decode(idOf(k), v)
		fn(&p)
	}
}

// Q7 visits all parts.
func (d *Database) Q7() (n int, err error) {
	err = d.view(func(t *tx) {
		t.all(func(p *atomicPart) {
			plan.Sink += p.X
			n++
		})
	})
	return n, err
}

// Q8 joins parts and documents.
func (d *Database) Q8() (n int, err error) {
	err = d.view(func(t *tx) {
		t.all(func(p *atomicPart) {
			if document := t.document(p.DocID); document.ID == p.DocID {
				n++
			}
		})
	})
	return n, err
}

// Insert adds composite parts.
func (d *Database) Insert(composites []plan.Composite, uses []plan.Use) (n int, err error) {
	err = d.update(func(t *tx) {
		for i := range composites {
			t.addComposite(&composites[i])
			n += len(composites[i].Parts)
		}
		for _, u := range uses {
			t.use(u.Base, u.Composite)
		}
	})
	return n, err
}

// Delete removes composite parts.
func (d *Database) Delete(composites []int64) (n int, err error) {
	err = d.update(func(t *tx) {
		for _, id := range composites {
			n += t.deleteComposite(id)
		}
	})
	return n, err
}

func (t *tx) deleteComposite(id int64) (n int) {
	var k key
	c := t.composite(id)
	for _, base := range c.UsedIn {
		a := t.base(base)
		a.Components = slices.DeleteFunc(a.Components, func(other int64) bool { return other == id })
		t.write(t.bases, base, &a)
	}
	for _, part := range c.Parts {
		p := t.part(part)
		t.removeDate(&p)
		for _, connection := range p.To {
			t.remove(t.connections, k.id(connection))
		}
		t.remove(t.parts, k.id(part))
		n++
	}
	t.remove(t.titles, []byte(t.document(id).Title))
	t.remove(t.documents, k.id(id))
	t.remove(t.composites, k.id(id))
	return n
}

// Snapshot returns the changing part.
func (d *Database) Snapshot() (plan.Snapshot, error) {
	s := plan.NewSnapshot()
	err := d.view(func(t *tx) {
		t.all(func(p *atomicPart) {
			s.Parts[p.ID] = plan.PartState{
				X: p.X, Y: p.Y, BuildDate: p.BuildDate, DocID: p.DocID, Composite: p.PartOf,
				To:   t.connectionText(p.To, func(c *connection) int64 { return c.To }),
				From: t.connectionText(p.From, func(c *connection) int64 { return c.From }),
			}
		})
		t.built(0, 1<<40, func(date, id int64) { s.Dates[id] = date })
		_ = t.composites.ForEach(func(k, v []byte) error {
			var c compositePart
			c.decode(idOf(k), v)
			if len(c.UsedIn) > 0 {
				s.Uses[c.ID] = c.UsedIn
			}
			return nil
		})
		_ = t.titles.ForEach(func(k, v []byte) error {
			s.Documents[string(k)] = idOf(v)
			return nil
		})
		_ = t.bases.ForEach(func(k, v []byte) error {
			var a baseAssembly
			a.decode(idOf(k), v)
			if len(a.Components) > 0 {
				s.Components[a.ID] = a.Components
			}
			return nil
		})
	})
	s.Sort()
	return s, err
}

func (t *tx) connectionText(ids []int64, other func(*connection) int64) string {
	text := make([]string, len(ids))
	for i, id := range ids {
		c := t.connection(id)
		text[i] = fmt.Sprint(c.Type, ":", c.Length, ":", other(&c))
	}
	return strings.Join(text, " ")
}
