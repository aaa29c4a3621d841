package owned

import (
	"github.com/everheap/everheap"
	"github.com/everheap/everheap/bench/oo7/design"
	"github.com/everheap/everheap/bench/oo7/plan"
)

// T1 is described in plan.Database, as are the others.
func (d *Database) T1() (int, error) {
	return d.Traverse(func(tx *everheap.Tx, c *CompositePart) int {
		root := c.Graph.Peek(tx).Parts[0]
		d.visited.Clear()
		d.visited.Add(root.ID)
		return d.visit(root)
	})
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
		key := design.DateKey{BuildDate: p.BuildDate, ID: p.ID}
		place, err := d.Dates.Get(tx, key)
		if err != nil {
			return err
		}
		if _, err := d.Dates.Delete(tx, key); err != nil {
			return err
		}
		p.BuildDate = plan.Toggle(p.BuildDate)
		key.BuildDate = p.BuildDate
		return d.Dates.Set(tx, key, place)
	})
}

// updateParts is T1 with a change of parts, all in one transaction. A graph is changed
// as a whole: its parts are changed in a private copy, which is stored once.
func (d *Database) updateParts(u plan.Updates, change func(*everheap.Tx, *AtomicPart) error) (int, error) {
	return d.TraverseAndChange(func(tx *everheap.Tx, c *CompositePart) (n int, failed error) {
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
		err := c.Graph.Modify(tx, func(g *Graph) error {
			d.visited.Clear()
			d.visited.Add(g.Parts[0].ID)
			visit(g.Parts[0], true)
			return failed
		})
		return n, err
	})
}

// T6 visits the roots only.
func (d *Database) T6() (int, error) {
	sum := int64(0)
	n, err := d.Traverse(func(tx *everheap.Tx, c *CompositePart) int {
		sum += c.Graph.Peek(tx).Parts[0].X
		return 1
	})
	plan.Sink = sum
	return n, err
}
