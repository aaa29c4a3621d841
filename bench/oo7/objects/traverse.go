package objects

import (
	"github.com/everheap/everheap"
	"github.com/everheap/everheap/bench/oo7/design"
	"github.com/everheap/everheap/bench/oo7/plan"
)

// T1 is described in plan.Database, as are the others.
func (d *Database) T1() (int, error) {
	return d.Traverse(func(tx *everheap.Tx, c *CompositePart) int {
		root := c.Graph[0]
		d.visited.Clear()
		d.visited.Add(0)
		return d.visit(tx, root.ID(), root.Peek(tx))
	})
}

// visit goes in depth through the parts that were not visited; it returns their number.
// A reference is an ID, so whether a part was visited is known without a look at it. The
// parts of a composite part were made one after the other, the root first, so the
// distances of their IDs from the root's are small.
//
// All connections are followed before the first part is visited: the processor waits for
// their memory at once, and does not guess which parts are new before it is there. (With
// pointers there is less to wait for, and this makes it slower.)
func (d *Database) visit(tx *everheap.Tx, root everheap.ID, p *AtomicPart) int {
	n := 1
	var buffer [9]everheap.Ref[AtomicPart]
	to := buffer[:0]
	for _, connection := range p.To {
		to = append(to, connection.Peek(tx).To)
	}
	for _, to := range to {
		if d.visited.Add(int64(to.ID() - root)) {
			n += d.visit(tx, root, to.Peek(tx))
		}
	}
	return n
}

// T2 is T1 with changes of x and y.
func (d *Database) T2(u plan.Updates) (int, error) {
	return d.updateParts(u, func(tx *everheap.Tx, ref everheap.Ref[AtomicPart]) error {
		return ref.Modify(tx, func(p *AtomicPart) error { p.X, p.Y = p.Y, p.X; return nil })
	})
}

// T3 is T1 with changes of the build date.
func (d *Database) T3(u plan.Updates) (int, error) {
	return d.updateParts(u, func(tx *everheap.Tx, ref everheap.Ref[AtomicPart]) error {
		return ref.Modify(tx, func(p *AtomicPart) error {
			if _, err := d.Dates.Delete(tx, design.DateKey{BuildDate: p.BuildDate, ID: p.ID}); err != nil {
				return err
			}
			p.BuildDate = plan.Toggle(p.BuildDate)
			return d.Dates.Set(tx, design.DateKey{BuildDate: p.BuildDate, ID: p.ID}, ref)
		})
	})
}

// updateParts is T1 with a change of parts, all in one transaction.
func (d *Database) updateParts(u plan.Updates, change func(*everheap.Tx, everheap.Ref[AtomicPart]) error) (int, error) {
	return d.TraverseAndChange(func(tx *everheap.Tx, c *CompositePart) (n int, failed error) {
		root := c.Graph[0]
		var visit func(ref everheap.Ref[AtomicPart], p *AtomicPart, changing bool)
		visit = func(ref everheap.Ref[AtomicPart], p *AtomicPart, changing bool) {
			if changing {
				for range u.Times {
					if err := change(tx, ref); err != nil && failed == nil {
						failed = err
					}
					n++
				}
			}
			for _, connection := range p.To {
				if to := connection.Peek(tx).To; d.visited.Add(int64(to.ID() - root.ID())) {
					visit(to, to.Peek(tx), !u.RootOnly)
				}
			}
		}
		d.visited.Clear()
		d.visited.Add(0)
		visit(root, root.Peek(tx), true)
		return n, failed
	})
}

// T6 visits the roots only.
func (d *Database) T6() (int, error) {
	sum := int64(0)
	n, err := d.Traverse(func(tx *everheap.Tx, c *CompositePart) int {
		sum += c.Graph[0].Peek(tx).X
		return 1
	})
	plan.Sink = sum
	return n, err
}
