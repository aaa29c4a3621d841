package bolt

import "github.com/everheap/everheap/bench/oo7/plan"

// composites of one transaction of Build.
const batch = 20

// Build makes the database of a plan in a directory that has none.
func Build(p *plan.Plan, dir string) (*Database, error) {
	d, err := Open(dir)
	if err != nil {
		return nil, err
	}
	for from := 0; from < len(p.Composites) && err == nil; from += batch {
		err = d.update(func(t *tx) {
			for i := from; i < min(from+batch, len(p.Composites)); i++ {
				t.addComposite(&p.Composites[i])
			}
		})
	}
	if err == nil {
		err = d.update(func(t *tx) { t.addAssemblies(p) })
	}
	if err != nil {
		d.Close()
		return nil, err
	}
	return d, nil
}

// addAssemblies adds the module and the tree of assemblies.
func (t *tx) addAssemblies(p *plan.Plan) {
	assemblies := make([]complexAssembly, len(p.Complex))
	for i, c := range p.Complex {
		assemblies[i] = complexAssembly{ID: c.ID, Type: c.Type, BuildDate: c.BuildDate}
		if c.Super >= 0 {
			super := &assemblies[c.Super]
			assemblies[i].Super = super.ID
			super.Complex = append(super.Complex, c.ID)
		}
	}
	for _, b := range p.Bases {
		super := &assemblies[b.Super]
		super.Bases = append(super.Bases, b.ID)
		t.write(t.bases, b.ID, &baseAssembly{ID: b.ID, Type: b.Type, BuildDate: b.BuildDate, Super: super.ID})
		for _, c := range b.Components {
			t.use(b.ID, c)
		}
	}
	for i := range assemblies {
		t.write(t.complex, assemblies[i].ID, &assemblies[i])
	}
	t.write(t.modules, 1, &module{
		ID: p.Module.ID, Type: p.Module.Type, BuildDate: p.Module.BuildDate,
		Title: p.Module.Title, Manual: p.Module.Text, Root: assemblies[0].ID,
	})
}

// addComposite adds a composite part with its document and its graph.
func (t *tx) addComposite(from *plan.Composite) {
	c := compositePart{ID: from.ID, Type: from.Type, BuildDate: from.BuildDate}
	parts := make([]atomicPart, len(from.Parts))
	for i, p := range from.Parts {
		parts[i] = atomicPart{
			ID: p.ID, Type: p.Type, BuildDate: p.BuildDate,
			X: p.X, Y: p.Y, DocID: p.DocID, PartOf: c.ID,
		}
		c.Parts = append(c.Parts, p.ID)
		t.addDate(&parts[i])
	}
	for i, p := range from.Parts {
		for _, k := range p.To {
			one, other := &parts[i], &parts[k.To]
			t.write(t.connections, k.ID, &connection{Type: k.Type, Length: k.Length, From: one.ID, To: other.ID})
			one.To = append(one.To, k.ID)
			other.From = append(other.From, k.ID)
		}
	}
	for i := range parts {
		t.write(t.parts, parts[i].ID, &parts[i])
	}
	t.write(t.documents, c.ID, &document{ID: c.ID, Title: from.Title, Text: from.Text})
	var id key
	if err := t.titles.Put([]byte(from.Title), append([]byte(nil), id.id(c.ID)...)); err != nil {
		t.fail(err)
	}
	t.write(t.composites, c.ID, &c)
}

// use makes a composite part a component of a base assembly.
func (t *tx) use(base, composite int64) {
	a, c := t.base(base), t.composite(composite)
	a.Components = append(a.Components, composite)
	c.UsedIn = append(c.UsedIn, base)
	t.write(t.bases, base, &a)
	t.write(t.composites, composite, &c)
}
