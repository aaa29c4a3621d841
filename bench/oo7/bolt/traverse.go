package bolt

import (
	"strings"

	"github.com/everheap/everheap/bench/oo7/plan"
)

// walkComposites calls fn for each use of a composite part below an assembly.
func (t *tx) walkComposites(assembly int64, fn func(c *compositePart)) {
	a := t.assembly(assembly)
	for _, sub := range a.Complex {
		t.walkComposites(sub, fn)
	}
	for _, id := range a.Bases {
		base := t.base(id)
		for _, id := range base.Components {
			if c := t.composite(id); t.err == nil {
				fn(&c)
			}
		}
	}
}

// T1 is described in plan.Database, as are the others.
func (d *Database) T1() (n int, err error) {
	err = d.view(func(t *tx) {
		t.walkComposites(t.module().Root, func(c *compositePart) {
			d.visited.Clear()
			d.visited.Add(c.Parts[0])
			n += d.visit(t, c.Parts[0])
		})
	})
	return n, err
}

// visit goes in depth through the parts that were not visited; it returns their number.
func (d *Database) visit(t *tx, id int64) int {
	p, n := t.part(id), 1
	for _, id := range p.To {
		if to := t.connection(id).To; d.visited.Add(to) {
			n += d.visit(t, to)
		}
	}
	return n
}

// T2 is T1 with changes of x and y.
func (d *Database) T2(u plan.Updates) (int, error) {
	return d.updateParts(u, func(_ *tx, p *atomicPart) { p.X, p.Y = p.Y, p.X })
}

// T3 is T1 with changes of the build date.
func (d *Database) T3(u plan.Updates) (int, error) {
	return d.updateParts(u, func(t *tx, p *atomicPart) {
		t.removeDate(p)
		p.BuildDate = plan.Toggle(p.BuildDate)
		t.addDate(p)
	})
}

// updateParts is T1 with a change of parts, all in one transaction.
func (d *Database) updateParts(u plan.Updates, change func(t *tx, p *atomicPart)) (n int, err error) {
	err = d.update(func(t *tx) {
		var visit func(id int64, changing bool)
		visit = func(id int64, changing bool) {
			p := t.part(id)
			if changing {
				for i := range u.Times {
					if i > 0 {
						p = t.part(id)
					}
					change(t, &p)
					t.write(t.parts, id, &p)
					n++
				}
			}
			for _, id := range p.To {
				if to := t.connection(id).To; d.visited.Add(to) {
					visit(to, !u.RootOnly)
				}
			}
		}
		t.walkComposites(t.module().Root, func(c *compositePart) {
			d.visited.Clear()
			d.visited.Add(c.Parts[0])
			visit(c.Parts[0], true)
		})
	})
	return n, err
}

// T6 visits the roots only.
func (d *Database) T6() (n int, err error) {
	err = d.view(func(t *tx) {
		t.walkComposites(t.module().Root, func(c *compositePart) {
			plan.Sink += t.part(c.Parts[0]).X
			n++
		})
	})
	return n, err
}

// T7 goes up.
func (d *Database) T7(part int64) (n int, err error) {
	err = d.view(func(t *tx) {
		bases, above := map[int64]bool{}, map[int64]bool{}
		for _, id := range t.composite(t.part(part).PartOf).UsedIn {
			bases[id] = true
			for id := t.base(id).Super; id != 0 && !above[id]; id = t.assembly(id).Super {
				above[id] = true
			}
		}
		n = len(bases) + len(above)
	})
	return n, err
}

// T8 counts a character of the manual.
func (d *Database) T8() (n int, err error) {
	err = d.view(func(t *tx) { n = strings.Count(t.module().Manual, "I") })
	return n, err
}

// T9 compares the ends of the manual.
func (d *Database) T9() (n int, err error) {
	err = d.view(func(t *tx) {
		if text := t.module().Manual; len(text) > 0 && text[0] == text[len(text)-1] {
			n = 1
		}
	})
	return n, err
}
