package layout

import (
	"fmt"
	"slices"
	"strings"
)

// verdict says which programs accept a difference.
type verdict uint8

const (
	evolves  verdict = iota // a program that lets its types evolve
	migrates                // a program that has steps for it
	refused                 // none
)

// note is one difference between two types.
type note struct {
	sign    byte // '-', '+' or '~'
	path    string
	what    string // types
	verdict verdict
	why     string // what is done with it, or why not
}

// text is the field and the types.
func (n *note) text() string {
	if n.path == "" {
		return n.what
	}
	return n.path + " " + n.what
}

// seen is a pair of types that were compared.
type seen struct {
	conv  *conv
	notes []note // of the pair itself; without paths
	parts []part // that are compared; without those of a struct
	busy  bool   // again is noting it already, further up the stack
}

// part is a pair of types that another pair contains or refers to.
type part struct {
	step string // of the path
	seen *seen
}

// maxPairs bounds how many pairs of types one conversion compares.
const maxPairs = 1 << 14

// matcher compares two types and compiles the conversion.
//
// A pair of types is compared once. At the next place where it occurs the matcher repeats its
// differences, except those inside structs, which it reports once.
type matcher struct {
	steps   []*Step
	pairs   map[[2]*Type]*seen
	order   []*seen
	handles map[*Type]bool
	notes   []note
}

// NewConversion compares a stored type with a program's type, given the steps that the program has.
func NewConversion(stored, program *Type, steps []*Step) *Conversion {
	m := matcher{steps: steps, pairs: map[[2]*Type]*seen{}, handles: map[*Type]bool{}}
	root := m.pair("", stored, program)
	if len(m.notes) == 0 && !Same(stored, program) {
		m.notes = []note{{'~', "", stored.String() + ": padding, alignment or the size", evolves, "Evolve lays it out anew"}}
	}
	m.findSame()
	made := slices.ContainsFunc(m.order, func(p *seen) bool { return p.conv.code == convStep })
	return &Conversion{stored, program, root.conv, m.handles, m.notes, made}
}

// Possible reports whether values can be converted; evolve says that the program
// lets its types evolve.
func (c *Conversion) Possible(evolve bool) bool {
	return !slices.ContainsFunc(c.notes, func(n note) bool {
		return n.verdict == refused || n.verdict == evolves && !evolve
	})
}

func (m *matcher) note(p *seen, path string, n note) {
	p.notes = append(p.notes, n)
	n.path = path
	m.notes = append(m.notes, n)
}

// change notes that the types of a pair differ.
func (m *matcher) change(p *seen, path string, v verdict, why string) {
	m.note(p, path, note{sign: '~', what: fmt.Sprintf("%s -> %s", p.conv.from, p.conv.to), verdict: v, why: why})
}

// again notes the differences of a pair that was compared before, at another path.
func (m *matcher) again(p *seen, path string) {
	if p.busy || p.conv.code == convStruct {
		return
	}
	p.busy = true
	for _, n := range p.notes {
		n.path = path
		m.notes = append(m.notes, n)
	}
	for _, q := range p.parts {
		m.again(q.seen, below(path, q.step))
	}
	p.busy = false
}

// pair returns how values of a become values of b. The rules, in this order:
//
//   - the types are the same: the value stays;
//   - the program has steps from a to b;
//   - a number of a kind that holds all values of the other;
//   - a struct: each field of b takes the value of its origin in a (see func origin), or is zero;
//     fields without a successor in b are dropped;
//   - an array that did not shrink, a slice, a pointer: its elements; an array
//     becomes a slice, and a value a pointer to it;
//   - a Dict or built-in map: its keys and its values; each becomes the other;
//   - handles of the same kind stay; their objects are converted by conversions of their own.
//
// Names of types do not matter. Everything else is refused.
func (m *matcher) pair(path string, a, b *Type) *seen {
	key := [2]*Type{a, b}
	if p := m.pairs[key]; p != nil {
		m.again(p, path)
		return p
	}
	c := &conv{from: a, to: b}
	p := &seen{conv: c, busy: true}
	m.pairs[key] = p
	m.order = append(m.order, p)
	way, twice := []*Step(nil), false
	if c.same = Same(a, b); !c.same {
		way, twice = chain(m.steps, a, b)
	}
	switch {
	case c.same:
	case len(m.order) > maxPairs:
		m.change(p, path, refused, "Evolve refuses it: there are too many types to compare")
	case twice:
		m.change(p, path, refused, "more than one Migrate fits: name the former types as they were named")
	case way != nil:
		c.code, c.chain = convStep, way
		m.change(p, path, migrates, "Migrate converts it")
		m.markHandles(b)
	case a.kind == b.kind:
		m.sameKind(path, p)
	default:
		m.otherKind(path, p)
	}
	p.busy = false
	return p
}

// part compares two types that the types of a pair contain or refer to.
func (m *matcher) part(p *seen, path, step string, a, b *Type) *conv {
	q := m.pair(below(path, step), a, b)
	p.parts = append(p.parts, part{step, q})
	return q.conv
}

// markHandles notes the handles in values that steps make.
func (m *matcher) markHandles(t *Type) {
	t.reaches(func(u *Type) bool {
		if u.isHandle() {
			m.handles[u] = true
		}
		return false
	})
}

// sameKind compiles the conversion of types of one kind.
func (m *matcher) sameKind(path string, p *seen) {
	c := p.conv
	a, b := c.from, c.to
	if a.isHandle() {
		m.handles[b] = true
		c.same = true
		if a.key != nil {
			m.part(p, path, ".key", a.key, b.key)
		}
		m.part(p, path, ".value", a.elem, b.elem)
		return
	}
	if a.name != b.name {
		m.change(p, path, evolves, "Evolve renames the type")
	}
	c.same = true // if its parts are
	switch a.kind {
	case Struct:
		c.code = convStruct
		m.fields(path, p)
	case Array:
		c.code, c.elem = convArray, m.part(p, path, "[]", a.elem, b.elem)
		c.same = a.length == b.length
		if a.length < b.length {
			m.change(p, path, evolves, "Evolve sets the new elements to zero")
		} else if !c.same {
			m.change(p, path, refused, "Evolve refuses it: elements would be lost")
		}
	case Slice:
		c.code, c.elem = convSlice, m.part(p, path, "[]", a.elem, b.elem)
	case Binary, Text:
		c.code, c.same = convMove, a.size == b.size
	case Pointer:
		c.code, c.elem = convPointer, m.part(p, path, "", a.elem, b.elem)
	case Dict:
		c.code, c.elem = convDict, m.dict(path, p, a, b)
	case Table:
		c.code, c.elem = convTable, m.tables(path, p, a.table, b.table)
	}
}

// otherKind compiles the conversion of types of two kinds.
func (m *matcher) otherKind(path string, p *seen) {
	c := p.conv
	a, b := c.from, c.to
	switch {
	case widens(a.kind, b.kind):
		c.code = convNumber
		c.same = a.size == b.size // of int and int64
		m.change(p, path, evolves, "Evolve widens it")
	case a.kind == Array && b.kind == Slice:
		c.code = convGather
		m.change(p, path, evolves, "Evolve makes it a slice")
		c.elem = m.part(p, path, "[]", a.elem, b.elem)
	case a.kind == Table && b.kind == Dict:
		c.code = convTable
		m.change(p, path, evolves, "Evolve makes it a Dict")
		c.elem = m.tables(path, p, a.table, b)
	case a.kind == Dict && b.kind == Table && b.loops:
		m.change(p, path, refused, "Evolve refuses it: Dicts may share entries, and maps that can contain maps of their type do not; use Migrate")
	case a.kind == Dict && b.kind == Table:
		c.code = convTable
		m.change(p, path, evolves, "Evolve makes it a map")
		c.elem = m.tables(path, p, a, b.table)
	case b.kind == Pointer && b.elem.kind != Pointer && a.kind != Pointer:
		c.code = convBox
		m.change(p, path, evolves, "Evolve makes it a pointer to the value")
		c.elem = m.part(p, path, "", a, b.elem)
	case a.kind.isNumber() && b.kind.isNumber():
		m.change(p, path, refused, "Evolve refuses it: not every value fits; use Migrate")
	case a.kind == Pointer && b.kind == a.elem.kind:
		m.change(p, path, refused, "Evolve refuses it: it may be nil; use Migrate")
	default:
		m.change(p, path, refused, "Evolve refuses it: they have nothing in common; use Migrate")
	}
}

// match is how the fields of two structs go together.
type match struct {
	seen      *seen
	path      string
	a, b      *Type
	origin    []*Field          // by field of b: the stored one that it takes its value from
	doubtful  []bool            // by field of b: its tag allows two origins
	successor map[*Field]*Field // by field of a
}

// fields compiles the conversion of structs.
func (m *matcher) fields(path string, p *seen) {
	c := p.conv
	a, b := c.from, c.to
	f := match{p, path, a, b, make([]*Field, len(b.fields)), make([]bool, len(b.fields)), map[*Field]*Field{}}
	for i := range b.fields {
		m.findOrigin(&f, i)
	}
	if len(f.successor) == 0 && len(a.fields) > 0 && len(b.fields) > 0 && !slices.Contains(f.doubtful, true) {
		m.change(p, path, refused, "Evolve refuses it: they have no field in common; use Migrate")
		return
	}
	m.former(&f)
	moved := m.moved(&f)
	c.same = a.size == b.size && a.align == b.align && len(a.fields) == len(b.fields) && !moved
	for i := range b.fields {
		to, from := &b.fields[i], f.origin[i]
		if from == nil {
			c.same = false
			continue
		}
		c.same = c.same && to.Offset == from.Offset
		c.steps = append(c.steps, convField{m.pairs[[2]*Type{from.Type, to.Type}].conv, from.Offset, to.Offset})
	}
	m.added(&f)
}

// findOrigin finds out where field i of the new type takes its value from.
func (m *matcher) findOrigin(f *match, i int) {
	to := &f.b.fields[i]
	from, doubt := origin(f.a, f.b, to)
	if other := f.successor[from]; from != nil && other != nil {
		doubt = other.Name + " takes the value of " + from.Name + " as well"
	}
	if doubt != "" {
		f.doubtful[i] = true
		m.field(f, '~', to, to.Type.String(), refused, "Evolve refuses it: "+doubt+", so its tag is ambiguous; use Migrate")
	} else if from != nil {
		f.successor[from], f.origin[i] = to, from
	}
}

func (m *matcher) field(f *match, sign byte, field *Field, what string, v verdict, why string) {
	m.note(f.seen, join(f.path, field.Name), note{sign: sign, what: what, verdict: v, why: why})
}

// former compares the stored fields, in their order.
func (m *matcher) former(f *match) {
	for i := range f.a.fields {
		from := &f.a.fields[i]
		to := f.successor[from]
		if to == nil {
			m.field(f, '-', from, from.Type.String(), evolves, "Evolve drops it")
			continue
		}
		if to.Name != from.Name {
			m.field(f, '~', from, "-> "+to.Name, evolves, "Evolve renames it")
		}
		m.pair(join(f.path, to.Name), from.Type, to.Type)
	}
}

// added notes the new fields. If exactly one new field and one dropped field have the same type, it
// adds the hint that the field may have been renamed.
func (m *matcher) added(f *match) {
	for i := range f.b.fields {
		to := &f.b.fields[i]
		if f.origin[i] != nil || f.doubtful[i] {
			continue
		}
		why := "Evolve sets it to zero"
		came, went, name := 0, 0, ""
		for j := range f.b.fields {
			if f.origin[j] == nil && Same(f.b.fields[j].Type, to.Type) {
				came++
			}
		}
		for j := range f.a.fields {
			if from := &f.a.fields[j]; f.successor[from] == nil && Same(from.Type, to.Type) {
				went++
				name = from.Name
			}
		}
		if came == 1 && went == 1 {
			why += fmt.Sprintf("; if it was %s, tag it `everheap:\"was=%s\"`", name, name)
		}
		m.field(f, '+', to, to.Type.String(), evolves, why)
	}
}

// moved notes the fields that stay, but in another order, and reports whether there are any. It notes
// as few as possible.
func (m *matcher) moved(f *match) bool {
	var kept []int // former places of the fields that stay, in their new order
	for _, from := range f.origin {
		if from != nil {
			kept = append(kept, slices.IndexFunc(f.a.fields, func(g Field) bool { return g.Name == from.Name }))
		}
	}
	best := make([]int, len(kept)) // length of the longest rise that ends there
	prior := make([]int, len(kept))
	last := -1
	for i := range kept {
		best[i], prior[i] = 1, -1
		for j := range i {
			if kept[j] < kept[i] && best[j] >= best[i] {
				best[i], prior[i] = best[j]+1, j
			}
		}
		if last < 0 || best[i] > best[last] {
			last = i
		}
	}
	stays := make([]bool, len(f.a.fields))
	for i := last; i >= 0; i = prior[i] {
		stays[kept[i]] = true
	}
	var names []string
	for _, k := range kept {
		if !stays[k] {
			names = append(names, join(f.path, f.successor[&f.a.fields[k]].Name))
		}
	}
	if len(names) == 0 {
		return false
	}
	why := "Evolve moves them"
	if len(names) == 1 {
		why = "Evolve moves it"
	}
	m.note(f.seen, "", note{sign: '~', what: strings.Join(names, ", ") + " moved", verdict: evolves, why: why})
	return true
}

// findSame finds out which conversions leave the bytes of values as they are: those whose parts all do.
// It starts from the assumption that every candidate does, and removes those that do not.
func (m *matcher) findSame() {
	for changed := true; changed; {
		changed = false
		for _, p := range m.order {
			c := p.conv
			if !c.same {
				continue
			}
			same := c.elem == nil || c.elem.same
			for _, s := range c.steps {
				same = same && s.conv.same
			}
			if !same {
				c.same, changed = false, true
			}
		}
	}
}

// below returns the path of a part: step begins with a dot, or is an index.
func below(path, step string) string {
	if path == "" {
		return strings.TrimPrefix(step, ".")
	}
	return path + step
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

// field returns the field of that name, or nil.
func (t *Type) field(name string) *Field {
	for i := range t.fields {
		if t.fields[i].Name == name {
			return &t.fields[i]
		}
	}
	return nil
}
