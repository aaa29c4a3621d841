package owned

import (
	"github.com/everheap/everheap"
	"github.com/everheap/everheap/bench/oo7/plan"
)

// composites of one transaction of Build.
const batch = 20

// Build makes the database of a plan in a directory that has none.
func Build(p *plan.Plan, dir string) (*Database, error) {
	d, err := Open(dir)
	if err != nil {
		return nil, err
	}
	for from := 0; from < len(p.Composites) && err == nil; from += batch {
		err = d.update(func(tx *everheap.Tx) error {
			for i := from; i < min(from+batch, len(p.Composites)); i++ {
				if err := d.addComposite(tx, &p.Composites[i]); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err == nil {
		err = d.update(func(tx *everheap.Tx) error { return d.addAssemblies(tx, p) })
	}
	if err != nil {
		d.Close()
		return nil, err
	}
	return d, nil
}

// addAssemblies adds the tree of assemblies: first each by itself, then what leads
// down from it.
func (d *Database) addAssemblies(tx *everheap.Tx, p *plan.Plan) error {
	refs := make([]everheap.Ref[ComplexAssembly], len(p.Complex))
	down := make([]ComplexAssembly, len(p.Complex))
	for i, c := range p.Complex {
		down[i] = ComplexAssembly{ID: c.ID, Type: c.Type, BuildDate: c.BuildDate}
		if c.Super >= 0 {
			down[i].Super = refs[c.Super]
		}
		ref, err := everheap.New(tx, down[i])
		if err != nil {
			return err
		}
		if refs[i] = ref; c.Super >= 0 {
			down[c.Super].Complex = append(down[c.Super].Complex, ref)
		}
		if err := d.complex.Set(tx, c.ID, ref); err != nil {
			return err
		}
	}
	for _, b := range p.Bases {
		ref, err := d.addBase(tx, &b, refs[b.Super])
		if err != nil {
			return err
		}
		down[b.Super].Bases = append(down[b.Super].Bases, ref)
	}
	for i, ref := range refs {
		if err := ref.Set(tx, down[i]); err != nil {
			return err
		}
	}
	return d.module.Set(tx, Module{
		ID: p.Module.ID, Type: p.Module.Type, BuildDate: p.Module.BuildDate,
		Title: p.Module.Title, Manual: p.Module.Text, Root: refs[0],
	})
}

func (d *Database) addBase(tx *everheap.Tx, b *plan.Base, super everheap.Ref[ComplexAssembly]) (everheap.Ref[BaseAssembly], error) {
	ref, err := everheap.New(tx, BaseAssembly{ID: b.ID, Type: b.Type, BuildDate: b.BuildDate, Super: super})
	if err != nil {
		return ref, err
	}
	if err := d.bases.Set(tx, b.ID, ref); err != nil {
		return ref, err
	}
	for _, id := range b.Components {
		if err := d.use(tx, b.ID, id); err != nil {
			return ref, err
		}
	}
	return ref, nil
}

// addComposite adds a composite part with its document and its graph. Objects that
// refer to each other are made first and told of each other afterwards.
func (d *Database) addComposite(tx *everheap.Tx, from *plan.Composite) error {
	c := CompositePart{ID: from.ID, Type: from.Type, BuildDate: from.BuildDate}
	ref, err := everheap.New(tx, c)
	if err != nil {
		return err
	}
	c.Document, err = everheap.New(tx, Document{ID: from.ID, Title: from.Title, Text: from.Text, Part: ref})
	if err != nil {
		return err
	}
	if err := d.documents.Set(tx, c.ID, c.Document); err != nil {
		return err
	}
	if err := d.titles.Set(tx, from.Title, c.Document); err != nil {
		return err
	}
	if c.Graph, err = d.addGraph(tx, from, ref); err != nil {
		return err
	}
	if err := ref.Set(tx, c); err != nil {
		return err
	}
	return d.composites.Set(tx, c.ID, ref)
}

// addGraph adds the graph of a composite part.
func (d *Database) addGraph(tx *everheap.Tx, from *plan.Composite, of everheap.Ref[CompositePart]) (everheap.Ref[Graph], error) {
	var g Graph
	for _, p := range from.Parts {
		g.Parts = append(g.Parts, &AtomicPart{
			ID: p.ID, Type: p.Type, BuildDate: p.BuildDate,
			X: p.X, Y: p.Y, DocID: p.DocID, PartOf: of,
		})
	}
	for i, p := range from.Parts {
		for _, k := range p.To {
			one, other := g.Parts[i], g.Parts[k.To]
			connection := &Connection{Type: k.Type, Length: k.Length, From: one, To: other}
			one.To = append(one.To, connection)
			other.From = append(other.From, connection)
		}
	}
	ref, err := everheap.New(tx, g)
	if err != nil {
		return ref, err
	}
	for i, p := range g.Parts {
		if err := d.parts.Set(tx, p.ID, Place{ref, i}); err != nil {
			return ref, err
		}
		if err := d.dates.Set(tx, DateKey{p.BuildDate, p.ID}, Place{ref, i}); err != nil {
			return ref, err
		}
	}
	return ref, nil
}

// use makes a composite part a component of a base assembly.
func (d *Database) use(tx *everheap.Tx, base, composite int64) error {
	a, err := d.bases.Get(tx, base)
	if err != nil {
		return err
	}
	c, err := d.composites.Get(tx, composite)
	if err != nil {
		return err
	}
	err = a.Modify(tx, func(v *BaseAssembly) error { v.Components = append(v.Components, c); return nil })
	if err != nil {
		return err
	}
	return c.Modify(tx, func(v *CompositePart) error { v.UsedIn = append(v.UsedIn, a); return nil })
}
