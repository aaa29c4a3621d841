package design

import (
	"github.com/everheap/everheap"
	"github.com/everheap/everheap/bench/oo7/plan"
)

// composites of one transaction of Build.
const batch = 20

// Build makes the database of a plan in a directory that has none.
func Build[G, P any](p *plan.Plan, dir string, schema Schema[G, P]) (*Database[G, P], error) {
	d, err := Open(dir, schema)
	if err != nil {
		return nil, err
	}
	for from := 0; from < len(p.Composites) && err == nil; from += batch {
		_, err = d.Insert(p.Composites[from:min(from+batch, len(p.Composites))], nil)
	}
	if err == nil {
		_, err = d.Update(func(tx *everheap.Tx) (int, error) { return len(p.Complex), d.addAssemblies(tx, p) })
	}
	if err != nil {
		d.Close()
		return nil, err
	}
	return d, nil
}

// addAssemblies adds the tree of assemblies: first each by itself, then what leads
// down from it.
func (d *Database[G, P]) addAssemblies(tx *everheap.Tx, p *plan.Plan) error {
	refs := make([]everheap.Ref[ComplexAssembly[G]], len(p.Complex))
	down := make([]ComplexAssembly[G], len(p.Complex))
	for i, c := range p.Complex {
		down[i] = ComplexAssembly[G]{ID: c.ID, Type: c.Type, BuildDate: c.BuildDate}
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
	return d.module.Set(tx, Module[G]{
		ID: p.Module.ID, Type: p.Module.Type, BuildDate: p.Module.BuildDate,
		Title: p.Module.Title, Manual: p.Module.Text, Root: refs[0],
	})
}

func (d *Database[G, P]) addBase(tx *everheap.Tx, b *plan.Base, super everheap.Ref[ComplexAssembly[G]]) (everheap.Ref[BaseAssembly[G]], error) {
	ref, err := everheap.New(tx, BaseAssembly[G]{ID: b.ID, Type: b.Type, BuildDate: b.BuildDate, Super: super})
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
func (d *Database[G, P]) addComposite(tx *everheap.Tx, from *plan.Composite) error {
	c := CompositePart[G]{ID: from.ID, Type: from.Type, BuildDate: from.BuildDate}
	ref, err := everheap.New(tx, c)
	if err != nil {
		return err
	}
	c.Document, err = everheap.New(tx, Document[G]{ID: from.ID, Title: from.Title, Text: from.Text, Part: ref})
	if err != nil {
		return err
	}
	if err := d.Documents.Set(tx, c.ID, c.Document); err != nil {
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

// addGraph adds the graph of a composite part, and its atomic parts to the indexes.
func (d *Database[G, P]) addGraph(tx *everheap.Tx, from *plan.Composite, of everheap.Ref[CompositePart[G]]) (G, error) {
	graph, parts, err := d.schema.Add(tx, from, of)
	if err != nil {
		return graph, err
	}
	for i, p := range from.Parts {
		if err := d.Parts.Set(tx, p.ID, parts[i]); err != nil {
			return graph, err
		}
		if err := d.Dates.Set(tx, DateKey{p.BuildDate, p.ID}, parts[i]); err != nil {
			return graph, err
		}
	}
	return graph, nil
}

// use makes a composite part a component of a base assembly.
func (d *Database[G, P]) use(tx *everheap.Tx, base, composite int64) error {
	a, err := d.bases.Get(tx, base)
	if err != nil {
		return err
	}
	c, err := d.composites.Get(tx, composite)
	if err != nil {
		return err
	}
	err = a.Modify(tx, func(v *BaseAssembly[G]) error { v.Components = append(v.Components, c); return nil })
	if err != nil {
		return err
	}
	return c.Modify(tx, func(v *CompositePart[G]) error { v.UsedIn = append(v.UsedIn, a); return nil })
}
