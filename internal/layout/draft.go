package layout

import "fmt"

// A Draft describes a type without a Go type; it can be read from text, for instance. Drafts refer to
// each other as types do, and may form cycles. Compile makes the type that the Go compiler would
// make. Drafts of equal types without a name must be the same Draft, as they are the same
// reflect.Type.
type Draft struct {
	Kind   Kind
	Name   string // package-qualified, as in forum.User; empty for types without a name
	Length uintptr
	Elem   *Draft       // of an array, slice or pointer; value type of a handle, Dict or built-in map
	Key    *Draft       // key type of a Map or Sorted handle, Dict or built-in map
	Fields []DraftField // of a struct, and of a type that is coded by its own methods
}

// DraftField is a field of a struct; a field named _ only takes room.
type DraftField struct {
	Name string
	Tag  string // the value of the struct tag "everheap"
	Type *Draft
}

// DraftError says why a draft is not a type that can be stored.
type DraftError struct {
	At     *Draft
	Advice string // what to do, as an imperative; or what is wrong
}

// Error implements error.
func (e *DraftError) Error() string { return e.Advice }

// Compile returns the type of a draft. It has no Go type. The error is a *DraftError.
func (d *Draft) Compile() (*Type, error) {
	c := drafting{types: map[*Draft]*Type{}, laid: map[*Draft]int{}}
	t := c.node(d)
	for i := 0; i < len(c.order); i++ { // node adds more
		if len(c.order) > maxNodes {
			return nil, &DraftError{d, "split the type: it mentions more than 2048 types"}
		}
		c.refer(c.order[i])
	}
	for _, n := range c.order {
		if err := c.layOut(n, 0); err != nil {
			return nil, err
		}
	}
	var nodes []*Type
	for _, n := range c.order {
		nodes = append(nodes, c.types[n])
	}
	if what := checkShapes(nodes); what != "" {
		return nil, &DraftError{d, what}
	}
	if what := checkText(nodes); what != "" {
		return nil, &DraftError{d, what}
	}
	nodes, what := completeDicts(nodes)
	if what == "" {
		what = finish(nodes)
	}
	if what != "" {
		return nil, &DraftError{d, what}
	}
	for _, n := range c.order {
		if what := c.types[n].keyAdvice(); what != "" {
			return nil, &DraftError{n, what}
		}
	}
	return t, nil
}

// badKey says why a type cannot be the key of a map.
func badKey(t *Type) string {
	what := " holds pointers or slices; use strings, numbers and structs of those as keys"
	if _, bad := t.offender(func(u *Type) bool { return u.kind != Interface }); bad != nil {
		what = " has an interface, whose concrete type is known only with each value; use strings, numbers and structs of those as keys, and put the interface into the value"
	}
	return "its key type " + t.String() + what
}

// keyAdvice returns what is wrong with the key type of a map's handle, as advice, or "".
func (t *Type) keyAdvice() string {
	switch {
	case t.key == nil:
	case t.key.KeyError() != nil:
		return badKey(t.key)
	case t.kind == Sorted && t.key.OrderError() != nil:
		return "the key type " + t.key.String() + " of a Sorted holds complex numbers, which have no order; use two floats"
	}
	return ""
}

// drafting compiles drafts.
type drafting struct {
	types map[*Draft]*Type
	order []*Draft
	laid  map[*Draft]int // 1: being laid out, 2: done
}

// node returns the type of a draft, which refer and layOut complete.
func (c *drafting) node(d *Draft) *Type {
	if d == nil {
		return nil
	}
	t := c.types[d]
	if t == nil {
		t = &Type{kind: d.Kind, name: d.Name, length: d.Length}
		c.types[d] = t
		c.order = append(c.order, d)
	}
	return t
}

// refer sets what a type refers to.
func (c *drafting) refer(d *Draft) {
	t := c.types[d]
	t.key, t.elem = c.node(d.Key), c.node(d.Elem)
	for _, f := range d.Fields {
		c.node(f.Type)
	}
}

// layOut computes the size of a type, as the Go compiler does on 64-bit machines.
func (c *drafting) layOut(d *Draft, depth int) error {
	if c.laid[d] == 2 {
		return nil
	}
	if c.laid[d] == 1 || depth > 1000 {
		return &DraftError{d, "use a pointer: the type contains itself by value, or nests more than 1000 levels"}
	}
	c.laid[d] = 1
	t := c.types[d]
	var err error
	switch d.Kind {
	case Struct, Binary, Text:
		err = c.structure(d, t, depth)
	case Array:
		if err = c.layOut(d.Elem, depth+1); err != nil {
			return err
		}
		if t.elem.size > 0 && t.length > maxFixed/t.elem.size || t.length > 1<<40 {
			return &DraftError{d, "use a slice or a List: the type is larger than 2 GiB"}
		}
		t.size, t.align = t.length*t.elem.size, t.elem.align
	default:
		t.size, t.align = scalarKinds[d.Kind].size, scalarKinds[d.Kind].algn
	}
	c.laid[d] = 2
	return err
}

// structure lays out a struct. For a type that is coded by its own methods only the size counts.
func (c *drafting) structure(d *Draft, t *Type, depth int) error {
	end, last := uintptr(0), uintptr(1)
	t.align = 1
	names := map[string]bool{}
	for _, f := range d.Fields {
		if err := c.layOut(f.Type, depth+1); err != nil {
			return err
		}
		if names[f.Name] {
			return &DraftError{d, fmt.Sprintf("rename a field: two fields have the name %s", f.Name)}
		}
		if advice := checkTag(f.Tag); advice != "" {
			return &DraftError{d, advice}
		}
		ft := c.types[f.Type]
		off := alignUp(end, ft.align)
		if f.Name != "_" {
			names[f.Name] = true
			t.fields = append(t.fields, Field{f.Name, f.Tag, off, ft})
		}
		end, last, t.align = off+ft.size, ft.size, max(t.align, ft.align)
		if end > maxFixed {
			return &DraftError{d, "use slices or Lists: the type is larger than 2 GiB"}
		}
	}
	if end > 0 && last == 0 {
		end++ // the address of the last field then lies inside the struct
	}
	t.size = alignUp(end, t.align)
	if d.Kind != Struct {
		t.fields = nil
		if t.align != 8 || t.size < 8 {
			return &DraftError{d, "give it a pointer field: a type that is stored by its own methods needs room for an address"}
		}
	}
	return nil
}
