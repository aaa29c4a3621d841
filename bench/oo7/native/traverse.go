package native

import (
	"strings"

	"github.com/everheap/everheap/bench/oo7/plan"
)

// walkComposites calls fn for each use of a composite part below an assembly.
func walkComposites(a *ComplexAssembly, fn func(c *CompositePart)) {
	for _, sub := range a.Complex {
		walkComposites(sub, fn)
	}
	for _, base := range a.Bases {
		for _, c := range base.Components {
			fn(c)
		}
	}
}

// T1 is described in plan.Database, as are the others.
func (d *Database) T1() (n int, err error) {
	walkComposites(d.module.Root, func(c *CompositePart) {
		d.visited.Clear()
		d.visited.Add(c.Parts[0].ID)
		n += d.visit(c.Parts[0])
	})
	return n, nil
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
	return d.update(u, func(p *AtomicPart) { p.X, p.Y = p.Y, p.X })
}

// T3 is T1 with changes of the build date.
func (d *Database) T3(u plan.Updates) (int, error) {
	return d.update(u, func(p *AtomicPart) {
		d.removeDate(p)
		p.BuildDate = plan.Toggle(p.BuildDate)
		d.addDate(p)
	})
}

// update is T1 with a change of parts.
func (d *Database) update(u plan.Updates, change func(p *AtomicPart)) (n int, err error) {
	var visit func(p *AtomicPart, changing bool)
	visit = func(p *AtomicPart, changing bool) {
		if changing {
			for range u.Times {
				change(p)
				n++
			}
		}
		for _, connection := range p.To {
			if to := connection.To; d.visited.Add(to.ID) {
				visit(to, !u.RootOnly)
			}
		}
	}
	walkComposites(d.module.Root, func(c *CompositePart) {
		d.visited.Clear()
		d.visited.Add(c.Parts[0].ID)
		visit(c.Parts[0], true)
	})
	return n, nil
}

// T6 visits the roots only.
func (d *Database) T6() (n int, err error) {
	sum := int64(0)
	walkComposites(d.module.Root, func(c *CompositePart) {
		sum += c.Parts[0].X
		n++
	})
	plan.Sink = sum
	return n, nil
}

// T7 goes up.
func (d *Database) T7(part int64) (int, error) {
	bases, above := map[int64]bool{}, map[int64]bool{}
	for _, base := range d.parts[part].PartOf.UsedIn {
		bases[base.ID] = true
		for a := base.Super; a != nil && !above[a.ID]; a = a.Super {
			above[a.ID] = true
		}
	}
	return len(bases) + len(above), nil
}

// T8 counts a character of the manual.
func (d *Database) T8() (int, error) { return strings.Count(d.module.Manual, "I"), nil }

// T9 compares the ends of the manual.
func (d *Database) T9() (int, error) {
	if text := d.module.Manual; text[0] == text[len(text)-1] {
		return 1, nil
	}
	return 0, nil
}
