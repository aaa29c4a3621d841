package owned

import (
	"strings"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/bench/oo7/plan"
)

// walkComposites calls fn for each use of a composite part below an assembly.
func walkComposites(tx *everheap.Tx, a *ComplexAssembly, fn func(c *CompositePart)) {
	for _, sub := range a.Complex {
		walkComposites(tx, sub.Peek(tx), fn)
	}
	for _, base := range a.Bases {
		for _, c := range base.Peek(tx).Components {
			fn(c.Peek(tx))
		}
	}
}

// root returns the root of the tree of assemblies.
func (d *Database) root(tx *everheap.Tx) *ComplexAssembly { return d.module.Peek(tx).Root.Peek(tx) }

// T1 is described in plan.Database, as are the others.
func (d *Database) T1() (n int, err error) {
	err = d.space.View(func(tx *everheap.Tx) error {
		walkComposites(tx, d.root(tx), func(c *CompositePart) {
			root := c.Graph.Peek(tx).Parts[0]
			d.visited.Clear()
			d.visited.Add(root.ID)
			n += d.visit(root)
		})
		return nil
	})
	return n, err
}

// visit goes in depth through the parts that were not visited; it returns their number.
func (d *Database) visit(p *AtomicPart) int {
	n := 1
	for _, connection := range p.To {
		if to := connection.To; d.visited.Add(to.ID) {
			n += d.visit(to)
		}
	}
	return n
}

// T2 is T1 with changes of x and y.
func (d *Database) T2(u plan.Updates) (int, error) {
	return d.updateParts(u, func(_ *everheap.Tx, p *AtomicPart) error {
		p.X, p.Y = p.Y, p.X
		return nil
	})
}

// T3 is T1 with changes of the build date.
func (d *Database) T3(u plan.Updates) (int, error) {
	return d.updateParts(u, func(tx *everheap.Tx, p *AtomicPart) error {
		place, err := d.dates.Get(tx, DateKey{p.BuildDate, p.ID})
		if err != nil {
			return err
		}
		if _, err := d.dates.Delete(tx, DateKey{p.BuildDate, p.ID}); err != nil {
			return err
		}
		p.BuildDate = plan.Toggle(p.BuildDate)
		return d.dates.Set(tx, DateKey{p.BuildDate, p.ID}, place)
	})
}

// updateParts is T1 with a change of parts, all in one transaction. A graph is changed
// as a whole: its parts are changed in a private copy, which is stored once.
func (d *Database) updateParts(u plan.Updates, change func(*everheap.Tx, *AtomicPart) error) (n int, err error) {
	err = d.update(func(tx *everheap.Tx) error {
		var failed error
		var visit func(p *AtomicPart, changing bool)
		visit = func(p *AtomicPart, changing bool) {
			if changing {
				for range u.Times {
					if err := change(tx, p); err != nil && failed == nil {
						failed = err
					}
					n++
				}
			}
			for _, connection := range p.To {
				if to := connection.To; d.visited.Add(to.ID) {
					visit(to, !u.RootOnly)
				}
			}
		}
		walkComposites(tx, d.root(tx), func(c *CompositePart) {
			err := c.Graph.Modify(tx, func(g *Graph) error {
				d.visited.Clear()
				d.visited.Add(g.Parts[0].ID)
				visit(g.Parts[0], true)
				return failed
			})
			if failed == nil {
				failed = err
			}
		})
		return failed
	})
	return n, err
}

// T6 visits the roots only.
func (d *Database) T6() (n int, err error) {
	err = d.space.View(func(tx *everheap.Tx) error {
		sum := int64(0)
		walkComposites(tx, d.root(tx), func(c *CompositePart) {
			sum += c.Graph.Peek(tx).Parts[0].X
			n++
		})
		plan.Sink = sum
		return nil
	})
	return n, err
}

// T7 goes up.
func (d *Database) T7(part int64) (n int, err error) {
	err = d.space.View(func(tx *everheap.Tx) error {
		bases, above := map[int64]bool{}, map[int64]bool{}
		for _, ref := range d.parts.Peek(tx, part).part(tx).PartOf.Peek(tx).UsedIn {
			base := ref.Peek(tx)
			bases[base.ID] = true
			for ref := base.Super; !ref.IsNil(); {
				a := ref.Peek(tx)
				if above[a.ID] {
					break
				}
				above[a.ID] = true
				ref = a.Super
			}
		}
		n = len(bases) + len(above)
		return nil
	})
	return n, err
}

// T8 counts a character of the manual.
func (d *Database) T8() (n int, err error) {
	err = d.space.View(func(tx *everheap.Tx) error {
		n = strings.Count(d.module.Peek(tx).Manual, "I")
		return nil
	})
	return n, err
}

// T9 compares the ends of the manual.
func (d *Database) T9() (n int, err error) {
	err = d.space.View(func(tx *everheap.Tx) error {
		if text := d.module.Peek(tx).Manual; text[0] == text[len(text)-1] {
			n = 1
		}
		return nil
	})
	return n, err
}
