package design

import (
	"strings"

	"github.com/everheap/everheap"
)

// Traverse is the frame of T1 and T6: a visit of each use of a composite part, which
// returns what it counted.
func (d *Database[G, P]) Traverse(visit func(tx *everheap.Tx, c *CompositePart[G]) int) (int, error) {
	return d.View(func(tx *everheap.Tx) int { return walk(tx, d.root(tx), visit) })
}

// TraverseAndChange is the frame of T2 and T3: Traverse in one transaction that writes.
// After an error there are no more visits, and nothing has changed.
func (d *Database[G, P]) TraverseAndChange(visit func(tx *everheap.Tx, c *CompositePart[G]) (int, error)) (int, error) {
	return d.Update(func(tx *everheap.Tx) (n int, failed error) {
		n = walk(tx, d.root(tx), func(tx *everheap.Tx, c *CompositePart[G]) (n int) {
			if failed == nil {
				n, failed = visit(tx, c)
			}
			return n
		})
		return n, failed
	})
}

// walk visits each use of a composite part below an assembly.
func walk[G any](tx *everheap.Tx, a *ComplexAssembly[G], visit func(tx *everheap.Tx, c *CompositePart[G]) int) (n int) {
	for _, sub := range a.Complex {
		n += walk(tx, sub.Peek(tx), visit)
	}
	for _, base := range a.Bases {
		for _, c := range base.Peek(tx).Components {
			n += visit(tx, c.Peek(tx))
		}
	}
	return n
}

// root returns the root of the tree of assemblies.
func (d *Database[G, P]) root(tx *everheap.Tx) *ComplexAssembly[G] {
	return d.module.Peek(tx).Root.Peek(tx)
}

// T7 goes up.
func (d *Database[G, P]) T7(part int64) (int, error) {
	return d.View(func(tx *everheap.Tx) int {
		bases, above := map[int64]bool{}, map[int64]bool{}
		for _, ref := range d.schema.PartOf(tx, d.Parts.Peek(tx, part)).Peek(tx).UsedIn {
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
		return len(bases) + len(above)
	})
}

// T8 counts a character of the manual.
func (d *Database[G, P]) T8() (int, error) {
	return d.View(func(tx *everheap.Tx) int { return strings.Count(d.module.Peek(tx).Manual, "I") })
}

// T9 compares the ends of the manual.
func (d *Database[G, P]) T9() (int, error) {
	return d.View(func(tx *everheap.Tx) int {
		if text := d.module.Peek(tx).Manual; text[0] == text[len(text)-1] {
			return 1
		}
		return 0
	})
}
