package layout

import (
	"fmt"
	"reflect"
	"unicode/utf8"
	"unsafe"
)

// A conversion is a small program that turns stored values of one type into values of another. It is
// compiled once, from two descriptors; pair in match.go has the rules. Parts that are the same in
// both types are moved as they are, headers and pointers included. So the result refers to the block
// of the stored value wherever nothing had to be converted, and Flatten copies from there.

// convCode says how a value is converted.
type convCode uint8

const (
	convMove    convCode = iota // the bytes are the same
	convNumber                  // a wider number
	convStruct                  // field by field
	convArray                   // element by element
	convSlice                   // element by element
	convGather                  // an array to a slice
	convPointer                 // the target
	convBox                     // a value to a pointer to it
	convTable                   // a built-in map, and to or from a Dict
	convDict                    // key by key and value by value
	convStep                    // by functions of the program
)

// conv converts values of one type into another. It is immutable once compiled.
type conv struct {
	code  convCode
	from  *Type
	to    *Type
	steps []convField // of a struct
	elem  *conv       // of an array, slice, pointer; of a box, the value; of a Dict, the entries
	chain []*Step
	same  bool // the bytes of a value stay as they are, and so does its hash
}

// convField is one field of a struct that keeps its value.
type convField struct {
	conv     *conv
	from, to uintptr // offsets
}

// Conversion is the outcome of comparing two types: how to convert values, if that
// can be done, and the differences. It is immutable.
type Conversion struct {
	From, To *Type
	root     *conv
	handles  map[*Type]bool // handle types of To that differ from the corresponding ones of From
	notes    []note
	steps    bool
}

// Same reports whether a stored value keeps its bytes and its hash: then no value is converted, and
// only the descriptor changes.
func (c *Conversion) Same() bool { return c.root.same }

// Affects reports whether handles of a type that To contains can refer to objects of another type:
// From declared another one for them.
func (c *Conversion) Affects(handle *Type) bool { return c.handles[handle] }

// AffectsAny reports whether Affects can be true.
func (c *Conversion) AffectsAny() bool { return len(c.handles) > 0 }

// HasSteps reports whether functions of the program make values or parts of them.
func (c *Conversion) HasSteps() bool { return c.steps }

// Converter converts values, one after the other. It belongs to one goroutine.
type Converter struct {
	c      *Conversion
	b      Bounds
	chunks [][]uint64 // memory of the value being made; without pointers, never moved
	free   []uint64   // of the last chunk
	spent  uintptr    // bytes
	parts  map[convPart]uintptr
	todo   []convWork
	dicts  []unsettled
	kept   []unsafe.Pointer // results of functions of the program, which the value refers to
}

// convPart is a part of the stored value that several pointers can refer to. A part that is converted
// in two ways becomes two parts.
type convPart struct {
	addr uintptr
	conv *conv
	n    uintptr // elements, and sliceBit for a slice
}

// convWork is a part that has its place and is not converted yet. A stack of them replaces recursion,
// as in identity.
type convWork struct {
	conv     *conv
	dst, src unsafe.Pointer
	n        uintptr
}

const convChunk = 1 << 13 // words

// NewConverter returns a converter. The conversion must be possible.
func (c *Conversion) NewConverter() *Converter {
	return &Converter{c: c, parts: map[convPart]uintptr{}}
}

// Convert checks the stored value at src, in the block b, and converts it. The new type can measure
// and flatten the result until the next call; the result refers to the block, and to memory that
// lives as long as x. Errors: a *DamageError, ErrTooLarge, and those of steps.
func (x *Converter) Convert(src unsafe.Pointer, b Bounds) (unsafe.Pointer, error) {
	root := x.c.root
	if err := root.from.Check(src, b); err != nil {
		return nil, err
	}
	if root.same {
		return src, nil
	}
	x.reset(b)
	dst, err := x.place(root.to.size)
	if err != nil {
		return nil, err
	}
	if (root.from.kind == Struct || root.from.kind == Array) && root.from.size > 0 {
		x.parts[convPart{uintptr(src), root, 1}] = uintptr(dst)
	}
	if err := x.run(root, dst, src); err != nil {
		return nil, err
	}
	for len(x.todo) > 0 {
		w := x.todo[len(x.todo)-1]
		x.todo = x.todo[:len(x.todo)-1]
		if err := x.each(w.conv, w.dst, w.src, w.n); err != nil {
			return nil, err
		}
	}
	if err := settleAll(x.dicts, func(d unsettled) unsafe.Pointer { return d.p }); err != nil {
		return nil, fmt.Errorf("everheap: converting a value of type %s: %w", root.from, err)
	}
	return dst, nil
}

// reset forgets the value made last.
func (x *Converter) reset(b Bounds) {
	x.b = b
	if len(x.chunks) > 1 || len(x.chunks) == 1 && len(x.chunks[0]) > convChunk {
		x.chunks = nil
	}
	if len(x.chunks) == 1 {
		clear(x.chunks[0][:len(x.chunks[0])-len(x.free)])
		x.free = x.chunks[0]
	} else {
		x.free = nil
	}
	clear(x.parts)
	clear(x.todo[:cap(x.todo)])
	clear(x.kept)
	x.spent, x.todo, x.kept, x.dicts = 0, x.todo[:0], x.kept[:0], x.dicts[:0]
}

// place returns n zeroed bytes, aligned to 8.
func (x *Converter) place(n uintptr) (unsafe.Pointer, error) {
	if n > maxFixed+maxOwned-x.spent {
		return nil, ErrTooLarge
	}
	x.spent += n
	words := max(n+7, 8) / 8 // a part of size zero needs an address of its own, too
	if words > uintptr(len(x.free)) {
		x.free = make([]uint64, max(words, convChunk))
		x.chunks = append(x.chunks, x.free)
	}
	p := unsafe.Pointer(&x.free[0])
	x.free = x.free[words:]
	return p, nil
}

func (x *Converter) each(c *conv, dst, src unsafe.Pointer, n uintptr) error {
	if c.same {
		if c.to.size > 0 {
			move(dst, src, n*c.to.size)
		}
		return nil
	}
	for i := uintptr(0); i < n; i++ {
		if err := x.run(c, unsafe.Add(dst, i*c.to.size), unsafe.Add(src, i*c.from.size)); err != nil {
			return err
		}
	}
	return nil
}

// run converts one fixed part. The memory at dst is zero.
func (x *Converter) run(c *conv, dst, src unsafe.Pointer) error {
	if c.same {
		move(dst, src, c.to.size)
		return nil
	}
	switch c.code {
	case convMove: // coded, of another size
		setWord(dst, 0, word(src, 0))
	case convNumber:
		convertNumber(c.to.kind, c.from.kind, dst, src)
	case convStruct:
		for i := range c.steps {
			s := &c.steps[i]
			if err := x.run(s.conv, unsafe.Add(dst, s.to), unsafe.Add(src, s.from)); err != nil {
				return err
			}
		}
	case convArray:
		return x.each(c.elem, dst, src, c.from.length)
	case convSlice:
		return x.slice(c, dst, src)
	case convGather:
		return x.elements(c, dst, src, c.from.length)
	case convPointer:
		return x.pointer(c, dst, src)
	case convBox:
		p, err := x.place(c.elem.to.size)
		if err != nil {
			return err
		}
		setWord(dst, 0, uintptr(p))
		return x.run(c.elem, p, src)
	case convStep:
		return x.step(c, dst, src)
	case convDict:
		return x.dict(c, dst, src)
	case convTable:
		return x.table(c, dst, src)
	}
	return nil
}

func (x *Converter) slice(c *conv, dst, src unsafe.Pointer) error {
	addr, n := word(src, 0), word(src, 8)
	if addr == 0 {
		return nil
	}
	if n == 0 || !c.from.ident {
		return x.elements(c, dst, loadPointer(src), n)
	}
	part := convPart{addr, c, n | sliceBit}
	if at, ok := x.parts[part]; ok {
		setWord(dst, 0, at)
		setWord(dst, 8, n)
		setWord(dst, 16, n)
		return nil
	}
	p, err := x.header(c, dst, n)
	if err != nil {
		return err
	}
	x.parts[part] = uintptr(p)
	x.todo = append(x.todo, convWork{c.elem, p, loadPointer(src), n})
	return nil
}

// header makes a slice of n zero elements, and returns their address.
func (x *Converter) header(c *conv, dst unsafe.Pointer, n uintptr) (unsafe.Pointer, error) {
	if n > maxOwned {
		return nil, ErrTooLarge
	}
	p, err := x.place(n * c.to.elem.size)
	if err != nil {
		return nil, err
	}
	setWord(dst, 0, uintptr(p))
	setWord(dst, 8, n)
	setWord(dst, 16, n)
	return p, nil
}

// elements makes a slice of n converted elements.
func (x *Converter) elements(c *conv, dst, src unsafe.Pointer, n uintptr) error {
	p, err := x.header(c, dst, n)
	if err != nil {
		return err
	}
	return x.each(c.elem, p, src, n)
}

func (x *Converter) pointer(c *conv, dst, src unsafe.Pointer) error {
	addr := word(src, 0)
	if addr == 0 {
		return nil
	}
	part := convPart{addr, c.elem, 1}
	at, ok := x.parts[part]
	if !ok {
		p, err := x.place(c.to.elem.size)
		if err != nil {
			return err
		}
		at = uintptr(p)
		x.parts[part] = at
		x.todo = append(x.todo, convWork{c.elem, p, loadPointer(src), 1})
	}
	setWord(dst, 0, at)
	return nil
}

// step copies the value to a variable of the program's former type, and calls the program's function
// for the new value. x keeps the new value alive: the bytes copied from it refer to what it owns.
func (x *Converter) step(c *conv, dst, src unsafe.Pointer) error {
	old := reflect.New(c.chain[0].Old.rt).UnsafePointer()
	if err := c.chain[0].Old.CopyOut(old, src, x.b); err != nil {
		return err
	}
	for _, s := range c.chain {
		made, err := s.convert(old)
		if err != nil {
			return err
		}
		old = made
	}
	made, err := c.to.Stored(old)
	if err != nil {
		return err
	}
	x.kept = append(x.kept, old, made)
	move(dst, made, c.to.size)
	return nil
}

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

// chains returns the shortest chain of steps to b from each step that has one.
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

// chain returns the steps that turn stored values of type a into values of type b. The program may
// have renamed its former types since they were stored. So a type with the layout of a also matches;
// if several such types do, chain returns no step and twice is true.
func chain(steps []*Step, a, b *Type) (way []*Step, twice bool) {
	found := chains(steps, b)
	var byLayout [][]*Step
	for _, s := range steps { // in order: the first of two steps with the same types counts
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

// alike reports whether the types differ in their names only, so that a value of one is a value of
// the other. The types of the objects behind handles do not count: they are not in the value.
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
		return (a.key == nil || alike(a.key, b.key, seen)) && alike(a.elem, b.elem, seen)
	}
	for i := range a.fields {
		f, g := &a.fields[i], &b.fields[i]
		if f.Name != g.Name || f.Offset != g.Offset || !alike(f.Type, g.Type, seen) {
			return false
		}
	}
	return true
}

// maxColumn is the greatest column at which the text behind a difference begins.
const maxColumn = 48

// Diff returns how the stored type differs from that of the program, like a diff:
// "- Gone string", "+ New []uint8", "~ Age int32 -> int64", each with what Evolve does
// with it, or why not; "!" marks what it refuses. It is empty if, and only if, Same
// holds.
func Diff(stored, program *Type) []string {
	return NewConversion(stored, program, nil).Lines()
}

// Lines returns one line for each difference.
func (c *Conversion) Lines() (lines []string) {
	width := 0
	for _, n := range c.notes {
		if w := utf8.RuneCountInString(n.text()); w <= maxColumn {
			width = max(width, w)
		}
	}
	for _, n := range c.notes {
		sign := n.sign
		if n.verdict == refused {
			sign = '!'
		}
		line := append([]byte{sign, ' '}, n.text()...)
		for w := utf8.RuneCountInString(n.text()); w < width; w++ {
			line = append(line, ' ')
		}
		lines = append(lines, string(line)+"  "+n.why)
	}
	return lines
}
