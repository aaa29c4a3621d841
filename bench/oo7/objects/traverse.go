package objects

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
			root := c.Parts[0]
			d.visited.Clear()
			d.visited.Add(0)
			n += d.visit(tx, root.ID(), root.Peek(tx))
		})
		return nil
	})
	return n, err
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
			if _, err := d.dates.Delete(tx, DateKey{p.BuildDate, p.ID}); err != nil {
				return err
			}
			p.BuildDate = plan.Toggle(p.BuildDate)
			return d.dates.Set(tx, DateKey{p.BuildDate, p.ID}, ref)
		})
	})
}

// updateParts is T1 with a change of parts, all in one transaction.
func (d *Database) updateParts(u plan.Updates, change func(*everheap.Tx, everheap.Ref[AtomicPart]) error) (n int, err error) {
	err = d.update(func(tx *everheap.Tx) error {
		var failed error
		var first everheap.ID // of the parts of the composite part
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
				if to := connection.Peek(tx).To; d.visited.Add(int64(to.ID() - first)) {
					visit(to, to.Peek(tx), !u.RootOnly)
				}
			}
		}
		walkComposites(tx, d.root(tx), func(c *CompositePart) {
			root := c.Parts[0]
			first = root.ID()
			d.visited.Clear()
			d.visited.Add(0)
			visit(root, root.Peek(tx), true)
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
			sum += c.Parts[0].Peek(tx).X
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
		for _, ref := range d.parts.Peek(tx, part).Peek(tx).PartOf.Peek(tx).UsedIn {
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
