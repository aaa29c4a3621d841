package design

import (
	"iter"
	"slices"
	"strings"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/bench/oo7/plan"
)

// Built returns the atomic parts with a build date in a range, bounds included.
func (d *Database[G, P]) Built(tx *everheap.Tx, from, to int64) iter.Seq2[DateKey, *P] {
	return d.Dates.Range(tx, everheap.Including(DateKey{from, 0}), everheap.Excluding(DateKey{to + 1, 0}))
}

// Q4 counts the uses of what documents describe.
func (d *Database[G, P]) Q4(titles []string) (int, error) {
	return d.View(func(tx *everheap.Tx) (n int) {
		for _, title := range titles {
			for _, base := range d.titles.Peek(tx, title).Peek(tx).Part.Peek(tx).UsedIn {
				plan.Sink += base.Peek(tx).BuildDate
				n++
			}
		}
		return n
	})
}

// Q5 counts base assemblies with a younger component.
func (d *Database[G, P]) Q5() (int, error) {
	return d.View(func(tx *everheap.Tx) (n int) {
		for _, ref := range d.bases.All(tx) {
			base := ref.Peek(tx)
			for _, c := range base.Components {
				if c.Peek(tx).BuildDate > base.BuildDate {
					n++
					break
				}
			}
		}
		return n
	})
}

// Insert adds composite parts.
func (d *Database[G, P]) Insert(composites []plan.Composite, uses []plan.Use) (int, error) {
	return d.Update(func(tx *everheap.Tx) (n int, err error) {
		for i := range composites {
			if err := d.addComposite(tx, &composites[i]); err != nil {
				return n, err
			}
			n += len(composites[i].Parts)
		}
		for _, u := range uses {
			if err := d.use(tx, u.Base, u.Composite); err != nil {
				return n, err
			}
		}
		return n, nil
	})
}

// Delete removes composite parts. Nothing refers to their objects any more.
func (d *Database[G, P]) Delete(composites []int64) (int, error) {
	return d.Update(func(tx *everheap.Tx) (n int, err error) {
		for _, id := range composites {
			removed, err := d.deleteComposite(tx, id)
			if err != nil {
				return n, err
			}
			n += removed
		}
		return n, nil
	})
}

func (d *Database[G, P]) deleteComposite(tx *everheap.Tx, id int64) (n int, err error) {
	ref, err := d.composites.Get(tx, id)
	if err != nil {
		return 0, err
	}
	c := ref.Peek(tx)
	for _, base := range c.UsedIn {
		err := base.Modify(tx, func(v *BaseAssembly[G]) error {
			v.Components = slices.DeleteFunc(v.Components, func(other everheap.Ref[CompositePart[G]]) bool { return other == ref })
			return nil
		})
		if err != nil {
			return 0, err
		}
	}
	for _, key := range d.schema.Keys(tx, &c.Graph) {
		if _, err := d.Dates.Delete(tx, key); err != nil {
			return 0, err
		}
		if _, err := d.Parts.Delete(tx, key.ID); err != nil {
			return 0, err
		}
		n++
	}
	if _, err := d.titles.Delete(tx, c.Document.Peek(tx).Title); err != nil {
		return 0, err
	}
	if _, err := d.Documents.Delete(tx, id); err != nil {
		return 0, err
	}
	_, err = d.composites.Delete(tx, id)
	return n, err
}

// Snapshot returns the changing part.
func (d *Database[G, P]) Snapshot() (plan.Snapshot, error) {
	s := plan.NewSnapshot()
	_, err := d.View(func(tx *everheap.Tx) int {
		for id, part := range d.Parts.All(tx) {
			s.Parts[id] = d.schema.State(tx, part)
		}
		for key := range d.Dates.All(tx) {
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
		return len(s.Parts)
	})
	s.Sort()
	return s, err
}
