package layout

import "unsafe"

// Step converts values of one Go type into another by a function of the program.
type Step struct {
	Old, New *Type
	convert  func(old unsafe.Pointer) (made unsafe.Pointer, err error)
}

// NewStep returns the step that fn is. The error is an *UnstorableError.
func NewStep[Old, New any](fn func(old Old) (New, error)) (*Step, error) {
	before, err := For[Old]()
	if err != nil {
		return nil, err
	}
	after, err := For[New]()
	if err != nil {
		return nil, err
	}
	return &Step{before, after, func(old unsafe.Pointer) (unsafe.Pointer, error) {
		made, err := fn(*(*Old)(old))
		return unsafe.Pointer(&made), err
	}}, nil
}

// chains returns, for each step from which steps lead to values of b, the shortest
// way there.
func chains(steps []*Step, b *Type) map[*Step][]*Step {
	found := map[*Step][]*Step{}
	type end struct {
		at    *Type
		chain []*Step
	}
	for ends := []end{{at: b}}; len(ends) > 0; ends = ends[1:] {
		for _, s := range steps {
			if found[s] == nil && Same(s.New, ends[0].at) {
				chain := append([]*Step{s}, ends[0].chain...)
				found[s] = chain
				ends = append(ends, end{s.Old, chain})
			}
		}
	}
	return found
}

// chain returns the steps that make values of type b of stored values of type a. A
// program's former types may go by other names than when they were stored. If by
// their layout more than one of them could be meant, it is none, and fits twice.
func chain(steps []*Step, a, b *Type) (way []*Step, twice bool) {
	found := chains(steps, b)
	var byLayout [][]*Step
	for _, s := range steps { // in their order: of two with the same types the first counts
		c := found[s]
		switch {
		case c == nil:
		case Same(a, s.Old):
			if way == nil || len(c) < len(way) {
				way = c
			}
		case alike(a, s.Old, map[[2]*Type]bool{}):
			byLayout = append(byLayout, c)
		}
	}
	switch {
	case way != nil || len(byLayout) == 0:
		return way, false
	case len(byLayout) > 1:
		return nil, true
	}
	return byLayout[0], false
}

// alike reports whether values of a are values of b: the types differ in nothing but
// their names. What handles lead to does not count: that is not in the value.
func alike(a, b *Type, seen map[[2]*Type]bool) bool {
	if a == b || seen[[2]*Type{a, b}] {
		return true
	}
	seen[[2]*Type{a, b}] = true
	if a.kind != b.kind || a.size != b.size || a.align != b.align || a.length != b.length || len(a.fields) != len(b.fields) {
		return false
	}
	if a.isHandle() || a.elem == nil && a.kind != Struct {
		return true
	}
	if a.elem != nil {
		return alike(a.elem, b.elem, seen)
	}
	for i := range a.fields {
		f, g := &a.fields[i], &b.fields[i]
		if f.Name != g.Name || f.Offset != g.Offset || !alike(f.Type, g.Type, seen) {
			return false
		}
	}
	return true
}
