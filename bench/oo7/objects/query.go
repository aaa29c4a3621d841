package objects

import (
	"fmt"
	"slices"
	"strings"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/bench/oo7/plan"
)

// Q1 looks for parts by ID.
func (d *Database) Q1(parts []int64) (n int, err error) {
	err = d.space.View(func(tx *everheap.Tx) error {
		for _, id := range parts {
			if ref := d.parts.Peek(tx, id); ref != nil {
				plan.Sink += ref.Peek(tx).X
				n++
			}
		}
		return nil
	})
	return n, err
}

// BuiltFrom is Q2 and Q3.
func (d *Database) BuiltFrom(from, to int64) (n int, err error) {
	err = d.space.View(func(tx *everheap.Tx) error {
		for _, ref := range d.dates.Range(tx, everheap.Including(DateKey{from, 0}), everheap.Excluding(DateKey{to + 1, 0})) {
			plan.Sink += ref.Peek(tx).X
			n++
		}
		return nil
	})
	return n, err
}

// Q4 counts the uses of what documents describe.
func (d *Database) Q4(titles []string) (n int, err error) {
	err = d.space.View(func(tx *everheap.Tx) error {
		for _, title := range titles {
			for _, base := range d.titles.Peek(tx, title).Peek(tx).Part.Peek(tx).UsedIn {
				plan.Sink += base.Peek(tx).BuildDate
				n++
			}
		}
		return nil
	})
	return n, err
}

// Q5 counts base assemblies with a younger component.
func (d *Database) Q5() (n int, err error) {
	err = d.space.View(func(tx *everheap.Tx) error {
		for _, ref := range d.bases.All(tx) {
			base := ref.Peek(tx)
			for _, c := range base.Components {
				if c.Peek(tx).BuildDate > base.BuildDate {
					n++
					break
				}
			}
		}
		return nil
	})
	return n, err
}

// Q7 visits all parts.
func (d *Database) Q7() (n int, err error) {
	err = d.space.View(func(tx *everheap.Tx) error {
		for _, ref := range d.parts.All(tx) {
			plan.Sink += ref.Peek(tx).X
			n++
		}
		return nil
	})
	return n, err
}

// Q8 joins parts and documents.
func (d *Database) Q8() (n int, err error) {
	err = d.space.View(func(tx *everheap.Tx) error {
		for _, ref := range d.parts.All(tx) {
			p := ref.Peek(tx)
			if document := d.documents.Peek(tx, p.DocID); document != nil && document.Peek(tx).ID == p.DocID {
				n++
			}
		}
		return nil
	})
	return n, err
}

// Insert adds composite parts.
func (d *Database) Insert(composites []plan.Composite, uses []plan.Use) (n int, err error) {
	err = d.update(func(tx *everheap.Tx) error {
		for i := range composites {
			if err := d.addComposite(tx, &composites[i]); err != nil {
				return err
			}
			n += len(composites[i].Parts)
		}
		for _, u := range uses {
			if err := d.use(tx, u.Base, u.Composite); err != nil {
				return err
			}
		}
		return nil
	})
	return n, err
}

// Delete removes composite parts. Nothing refers to their objects any more.
func (d *Database) Delete(composites []int64) (n int, err error) {
	err = d.update(func(tx *everheap.Tx) error {
		for _, id := range composites {
			removed, err := d.deleteComposite(tx, id)
			if err != nil {
				return err
			}
			n += removed
		}
		return nil
	})
	return n, err
}

func (d *Database) deleteComposite(tx *everheap.Tx, id int64) (n int, err error) {
	ref, err := d.composites.Get(tx, id)
	if err != nil {
		return 0, err
	}
	c := ref.Peek(tx)
	for _, base := range c.UsedIn {
		err := base.Modify(tx, func(v *BaseAssembly) error {
			v.Components = slices.DeleteFunc(v.Components, func(other everheap.Ref[CompositePart]) bool { return other == ref })
			return nil
		})
		if err != nil {
			return 0, err
		}
	}
	for _, part := range c.Parts {
		p := part.Peek(tx)
		if _, err := d.dates.Delete(tx, DateKey{p.BuildDate, p.ID}); err != nil {
			return 0, err
		}
		if _, err := d.parts.Delete(tx, p.ID); err != nil {
			return 0, err
		}
		n++
	}
	if _, err := d.titles.Delete(tx, c.Document.Peek(tx).Title); err != nil {
		return 0, err
	}
	if _, err := d.documents.Delete(tx, id); err != nil {
		return 0, err
	}
	_, err = d.composites.Delete(tx, id)
	return n, err
}

// Snapshot returns the changing part.
func (d *Database) Snapshot() (plan.Snapshot, error) {
	s := plan.NewSnapshot()
	err := d.space.View(func(tx *everheap.Tx) error {
		for id, ref := range d.parts.All(tx) {
			p := ref.Peek(tx)
			s.Parts[id] = plan.PartState{
				X: p.X, Y: p.Y, BuildDate: p.BuildDate, DocID: p.DocID, Composite: p.PartOf.Peek(tx).ID,
				To:   connections(tx, p.To, func(c *Connection) everheap.Ref[AtomicPart] { return c.To }),
				From: connections(tx, p.From, func(c *Connection) everheap.Ref[AtomicPart] { return c.From }),
			}
		}
		for key := range d.dates.All(tx) {
			s.Dates[key.ID] = key.BuildDate
		}
		for id, ref := range d.composites.All(tx) {
			for _, base := range ref.Peek(tx).UsedIn {
				s.Uses[id] = append(s.Uses[id], base.Peek(tx).ID)
			}
		}
		for title, ref := range d.titles.All(tx) {
			s.Documents[strings.Clone(title)] = ref.Peek(tx).ID
		}
		for id, ref := range d.bases.All(tx) {
			for _, c := range ref.Peek(tx).Components {
				s.Components[id] = append(s.Components[id], c.Peek(tx).ID)
			}
		}
		return nil
	})
	s.Sort()
	return s, err
}

func connections(tx *everheap.Tx, list []everheap.Ref[Connection], other func(*Connection) everheap.Ref[AtomicPart]) string {
	text := make([]string, len(list))
	for i, ref := range list {
		c := ref.Peek(tx)
		text[i] = fmt.Sprint(c.Type, ":", c.Length, ":", other(c).Peek(tx).ID)
	}
	return strings.Join(text, " ")
}
