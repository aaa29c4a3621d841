package layout

import "math/bits"

// opCode says what lies at an offset of a fixed part.
type opCode uint8

const (
	opPad    opCode = iota // n bytes of padding
	opString               // a string header
	opSlice                // a slice header; typ is the slice type
	opPtr                  // a pointer; typ is the pointer type
	opTime                 // a time.Time
	opCoded                // a coded value or built-in map; typ is its type
	opEach                 // n consecutive values of typ, by their own program
)

// op is one step of a program.
type op struct {
	code opCode
	off  uintptr
	n    uintptr
	typ  *Type
}

// span is a range of bytes of a fixed part.
type span struct{ off, n uintptr }

const (
	maxUnrolled = 16 // steps that an array may add to the program that contains it
	maxInlined  = 64 // steps that a field may add
)

// finish derives all that the descriptors of a closed set of types need besides their shape. By-value
// nesting must be acyclic. It returns what is wrong, or "".
func finish(nodes []*Type) string {
	for _, t := range nodes {
		if what := t.build(0); what != "" {
			return what
		}
	}
	for _, t := range nodes {
		if t.kind == Slice {
			t.ident = t.elem.reaches(func(u *Type) bool { return u == t })
		}
	}
	for _, t := range nodes {
		if t.kind == Table {
			t.loops = t.table.reaches(func(u *Type) bool { return u == t })
		}
		t.graph = t.owns && t.reaches(func(u *Type) bool { return u.kind == Pointer || u.ident })
		t.handles = t.reaches(func(u *Type) bool { return u.isHandle() || u.kind == Interface })
		t.coded = t.reaches((*Type).isCoded)
		t.copies = t.reaches(func(u *Type) bool { return u.kind == Table || u.kind == Interface })
		t.flat = !t.reaches(func(u *Type) bool {
			return u.kind == Pointer || u.ident || u.kind == Dict || u.kind == Table || u.kind == Interface || u.isCoded()
		})
		t.checked = t.owns || t.reaches(func(u *Type) bool { return u.kind == Bool || u.kind == Time })
	}
	return ""
}

// reaches reports whether is holds for t, or for a type whose values lie in the block of a value of
// t.
func (t *Type) reaches(is func(*Type) bool) bool {
	seen := map[*Type]bool{t: true}
	for todo := []*Type{t}; len(todo) > 0; {
		u := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if is(u) {
			return true
		}
		u.reach(func(v *Type) {
			if !seen[v] {
				seen[v] = true
				todo = append(todo, v)
			}
		})
	}
	return false
}

// build makes the program of t, after the programs of the types it contains by value.
func (t *Type) build(depth int) (what string) {
	if t.done {
		return ""
	}
	if depth > 1000 {
		return "flatten the type: it nests more than 1000 levels by value"
	}
	t.done = true
	t.byValue(func(u *Type) {
		if what == "" {
			what = u.build(depth + 1)
		}
	})
	if what != "" {
		return what
	}
	t.weigh()
	// Elements of size zero are not bounded by the size of the type.
	if t.weight > 1<<16+16*t.size {
		return "use a List: the type has too many elements of size zero"
	}
	t.program()
	for i := range t.ops {
		t.owns = t.owns || t.ops[i].owned()
	}
	t.between()
	t.hashBytes = len(t.ops) == 0 && t.bytewise()
	t.orders()
	return ""
}

func (o *op) owned() bool {
	return o.code == opString || o.code == opSlice || o.code == opPtr || o.code == opCoded || o.code == opEach && o.typ.owns
}

// weigh counts the values that t contains by value, itself included.
func (t *Type) weigh() {
	const limit = 1 << 40
	t.weight = 1
	switch t.kind {
	case Struct:
		for i := range t.fields {
			t.weight = min(t.weight+t.fields[i].Type.weight, limit)
		}
	case Array:
		if hi, lo := bits.Mul64(uint64(t.length), uint64(t.elem.weight)); hi != 0 || lo > limit {
			t.weight = limit
		} else {
			t.weight += uintptr(lo)
		}
	}
}

func (t *Type) program() {
	switch t.kind {
	case String:
		t.ops = []op{{code: opString}}
	case Slice:
		t.ops = []op{{code: opSlice, typ: t}}
	case Pointer:
		t.ops = []op{{code: opPtr, typ: t}}
	case Time:
		t.ops = []op{{code: opTime}}
	case Addr, AddrPort, Prefix, Binary, Text, Table, Interface:
		t.ops = []op{{code: opCoded, typ: t}}
	case Array:
		if n := uintptr(len(t.elem.ops)); n == 0 || t.size == 0 {
			return
		} else if n*t.length > maxUnrolled {
			t.ops = []op{{opEach, 0, t.length, t.elem}}
			return
		}
		for i := range t.length {
			t.inline(i*t.elem.size, t.elem)
		}
	case Dict:
		t.inline(0, t.index)
		t.inline(dictEntries, t.entries)
	case Struct:
		end := uintptr(0)
		for i := range t.fields {
			f := &t.fields[i]
			t.pad(end, f.Offset)
			t.inline(f.Offset, f.Type)
			end = f.Offset + f.Type.size
		}
		t.pad(end, t.size)
	}
}

func (t *Type) pad(from, to uintptr) {
	if from < to {
		t.ops = append(t.ops, op{code: opPad, off: from, n: to - from})
	}
}

func (t *Type) inline(off uintptr, u *Type) {
	if len(u.ops) > maxInlined {
		t.ops = append(t.ops, op{opEach, off, 1, u})
		return
	}
	for _, o := range u.ops {
		o.off += off
		t.ops = append(t.ops, o)
	}
}

// between lists the ranges of bytes that CopyOut moves unchanged. They include padding, which is zero
// in the block.
func (t *Type) between() {
	end := uintptr(0)
	add := func(to uintptr) {
		if end < to {
			t.moves = append(t.moves, span{end, to - end})
		}
	}
	for i := range t.ops {
		o := &t.ops[i]
		n := uintptr(0)
		switch o.code {
		case opPad:
			continue
		case opString:
			n = 16
		case opPtr:
			n = 8
		case opSlice, opTime:
			n = 24
		case opCoded:
			n = o.typ.size
		case opEach:
			n = o.n * o.typ.size
		}
		add(o.off)
		end = o.off + n
	}
	add(t.size)
}

// bytewise reports whether == on a type without a program compares all of its bytes.
func (t *Type) bytewise() bool {
	switch t.kind {
	case Float32, Float64, Complex64, Complex128:
		return false
	}
	ok := true
	t.byValue(func(u *Type) { ok = ok && u.bytewise() })
	return ok
}
