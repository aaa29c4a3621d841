package layout

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"unicode/utf8"
)

// The stored form of a descriptor is a version byte, the number of types, and each
// type that the first one mentions in the order of first mention, depth first. Numbers
// are unsigned varints, strings a length and bytes. A type is
//
//	kind, name, size, align
//	array: length, element      slice, pointer, list, ref: element
//	map, sorted, Dict, built-in map: key, value   struct: number of fields, for each
//	                            name, tag, offset, type
//
// where other types are given by their index in the list.
const encodingVersion = 1

// Encode returns the stored form, which the caller must not change. Equal types have equal forms.
func (t *Type) Encode() []byte {
	if p := t.encoded.Load(); p != nil {
		return *p
	}
	b := t.encode(true)
	t.encoded.Store(&b)
	return b
}

// Digest returns the digest under which a space stores an encoded descriptor.
func Digest(encoded []byte) string {
	sum := sha256.Sum256(encoded)
	return string(sum[:16])
}

// Same reports whether a and b have the same layout and the same names of types and
// fields. Tags do not count: they say how to convert a value, not how it is stored.
func Same(a, b *Type) bool {
	return a == b || bytes.Equal(a.untagged(), b.untagged())
}

func (t *Type) untagged() []byte {
	if p := t.identity.Load(); p != nil {
		return *p
	}
	b := t.encode(false)
	t.identity.Store(&b)
	return b
}

func (t *Type) encode(tags bool) []byte {
	index := make(map[*Type]uint64)
	var order []*Type
	var visit func(*Type)
	visit = func(u *Type) {
		if _, ok := index[u]; ok {
			return
		}
		index[u] = uint64(len(order))
		order = append(order, u)
		u.refs(visit)
	}
	visit(t)

	num := binary.AppendUvarint
	str := func(b []byte, s string) []byte { return append(num(b, uint64(len(s))), s...) }
	b := num([]byte{encodingVersion}, uint64(len(order)))
	for _, u := range order {
		b = append(b, byte(u.kind))
		b = str(b, u.name)
		b = num(num(b, uint64(u.size)), uint64(u.align))
		switch u.kind {
		case Array:
			b = num(b, uint64(u.length))
		case Struct:
			b = num(b, uint64(len(u.fields)))
			for i := range u.fields {
				f := &u.fields[i]
				b = str(b, f.Name)
				if tags {
					b = str(b, f.Tag)
				}
				b = num(num(b, uint64(f.Offset)), index[f.Type])
			}
			continue
		}
		u.refs(func(v *Type) { b = num(b, index[v]) })
	}
	return b
}

// decoder reads the stored form of a descriptor. Once bad is set, it reads zeros.
type decoder struct {
	all   []byte
	pos   int
	bad   string
	nodes []*Type
}

// Decode returns the descriptor whose stored form is b. It accepts any bytes: the error is a
// *DamageError if Encode cannot have written them. GoType of the result is nil.
func Decode(b []byte) (*Type, error) {
	d := decoder{all: b}
	t := d.types()
	if d.bad == "" {
		d.bad = checkShapes(d.nodes)
	}
	if d.bad == "" {
		d.bad = checkText(d.nodes)
	}
	all := d.nodes
	if d.bad == "" {
		all, d.bad = completeDicts(d.nodes)
	}
	if d.bad == "" {
		d.bad = finish(all)
	}
	if d.bad == "" {
		d.checkKeys()
	}
	if d.bad == "" && !bytes.Equal(t.Encode(), b) {
		d.bad = "the bytes are not in canonical form"
	}
	if d.bad != "" {
		return nil, &DamageError{"", uintptr(d.pos), d.bad}
	}
	return t, nil
}

func (d *decoder) fail(what string) {
	if d.bad == "" {
		d.bad = what
	}
}

// num reads a number of at most limit.
func (d *decoder) num(limit uint64) uintptr {
	if d.bad != "" {
		return 0
	}
	v, n := binary.Uvarint(d.all[d.pos:])
	if n <= 0 || v > limit {
		d.fail("a number is cut off or out of range")
		return 0
	}
	d.pos += n
	return uintptr(v)
}

func (d *decoder) str() string {
	n := int(d.num(uint64(len(d.all) - d.pos)))
	if d.bad != "" || n > len(d.all)-d.pos {
		d.fail("a name is cut off")
		return ""
	}
	s := string(d.all[d.pos : d.pos+n])
	d.pos += n
	if !utf8.ValidString(s) {
		d.fail("a name is not UTF-8")
	}
	return s
}

// ref reads the index of a type in the list.
func (d *decoder) ref() *Type {
	if len(d.nodes) == 0 {
		return nil
	}
	return d.nodes[d.num(uint64(len(d.nodes)-1))]
}

func (d *decoder) types() *Type {
	if d.num(encodingVersion) != encodingVersion {
		d.fail("the version of the encoding is unknown")
	}
	n := d.num(uint64(min(maxNodes, len(d.all))))
	if n == 0 {
		d.fail("there is no type")
		return nil
	}
	d.nodes = make([]*Type, n)
	for i := range d.nodes {
		d.nodes[i] = new(Type)
	}
	for _, t := range d.nodes {
		d.node(t)
	}
	if d.pos != len(d.all) {
		d.fail("bytes follow the last type")
	}
	return d.nodes[0]
}

func (d *decoder) node(t *Type) {
	t.kind = Kind(d.num(uint64(kindEnd - 1)))
	if t.kind == Invalid {
		d.fail("a kind is unknown")
	}
	t.name = d.str()
	t.size = d.num(maxFixed)
	t.align = d.num(8)
	switch t.kind {
	case Struct:
		n := d.num(uint64(len(d.all) - d.pos))
		for i := uintptr(0); i < n && d.bad == ""; i++ {
			f := Field{Name: d.str(), Tag: d.str(), Offset: d.num(maxFixed), Type: d.ref()}
			t.fields = append(t.fields, f)
		}
	case Array:
		t.length = d.num(1 << 40)
		t.elem = d.ref()
	case Slice, Pointer, List, Ref:
		t.elem = d.ref()
	case Map, Sorted, Dict, Table:
		t.key, t.elem = d.ref(), d.ref()
	}
}

// checkKeys refuses handles of maps whose keys cannot be keys.
func (d *decoder) checkKeys() {
	for _, t := range d.nodes {
		if t.key != nil && (t.key.KeyError() != nil || t.kind == Sorted && t.key.OrderError() != nil) {
			d.fail("a map has keys of a type that cannot be a key")
		}
	}
}

// checkShapes returns what is wrong with the sizes, offsets and nesting of decoded types, or "".
func checkShapes(nodes []*Type) string {
	state := make(map[*Type]int, len(nodes)) // 1: being checked, 2: good
	var visit func(t *Type, depth int) string
	visit = func(t *Type, depth int) (what string) {
		switch {
		case state[t] == 2:
			return ""
		case state[t] == 1 || depth > 1000:
			return "a type contains itself by value"
		}
		state[t] = 1
		t.byValue(func(u *Type) {
			if what == "" {
				what = visit(u, depth+1)
			}
		})
		if what == "" {
			what = t.checkShape()
		}
		state[t] = 2
		return what
	}
	for _, t := range nodes {
		if what := visit(t, 0); what != "" {
			return what
		}
	}
	return ""
}

// maxText is more bytes than the text of any type of a program has.
const maxText = 1 << 24

// checkText returns why the text of decoded types would be too long, or "". A type without a name is
// written as its parts. In Go only a type with a name can contain itself, behind a pointer or in a
// handle. Damaged bytes can describe an unnamed type that does: its text would have no end. They can
// also nest parts that are each written twice, level by level: that text is finite, but too long to
// write.
func checkText(nodes []*Type) string {
	sizes := make(map[*Type]int, len(nodes)) // -1: being measured
	var measure func(t *Type, depth int) int
	measure = func(t *Type, depth int) int {
		if t == nil || t.name != "" {
			return 1
		}
		if n, ok := sizes[t]; ok && n >= 0 {
			return n
		} else if ok || depth > 1000 {
			return maxText + 1
		}
		sizes[t] = -1
		n := 1 + measure(t.key, depth+1) + measure(t.elem, depth+1)
		for _, f := range t.fields {
			n = min(n+len(f.Name)+measure(f.Type, depth+1), maxText+1)
		}
		sizes[t] = min(n, maxText+1)
		return sizes[t]
	}
	for _, t := range nodes {
		if measure(t, 0) > maxText {
			return "a type without a name contains itself, or too much"
		}
	}
	return ""
}

func (t *Type) checkShape() string {
	const wrong = "a type has a wrong size or alignment"
	switch t.kind {
	case Array:
		if t.elem.size > 0 && t.length > maxFixed/t.elem.size {
			return wrong
		}
		if t.align != t.elem.align || t.size != t.length*t.elem.size {
			return wrong
		}
		return ""
	case Struct:
		return t.checkStruct()
	case Binary, Text:
		if t.align != 8 || t.size < 8 || t.size%8 != 0 {
			return wrong
		}
		return ""
	}
	if k := scalarKinds[t.kind]; t.size != k.size || t.align != k.algn {
		return wrong
	}
	return ""
}

func (t *Type) checkStruct() string {
	if t.align == 0 || t.align > 8 || t.align&(t.align-1) != 0 || t.size%t.align != 0 {
		return "a struct has a wrong size or alignment"
	}
	names := make(map[string]bool, len(t.fields))
	end := uintptr(0)
	for i := range t.fields {
		f := &t.fields[i]
		if f.Name == "" || f.Name == "_" || names[f.Name] {
			return "a struct has a field without a name of its own"
		}
		names[f.Name] = true
		if f.Offset < end || f.Type.align > t.align || f.Offset%f.Type.align != 0 ||
			f.Offset > t.size || f.Type.size > t.size-f.Offset {
			return "a field lies outside its struct, or overlaps another"
		}
		end = f.Offset + f.Type.size
	}
	return ""
}

// Info describes a stored type to programs that do not have it. A type that contains
// itself is a cycle.
type Info struct {
	Name string // in Go syntax
	// Kind is bool, int, int8 … complex128, string, time.Time, struct, array, slice, pointer,
	// netip.Addr, netip.AddrPort, netip.Prefix; Map, Sorted, List or Ref for a handle; Dict,
	// built-in map; interface; text or binary for a type that is stored by its own methods.
	Kind   string
	Len    int         // of an array
	Key    *Info       // of the keys of a Dict or built-in map, or of the map behind a handle
	Elem   *Info       // of elements, of the target of a pointer, of the values in a map, or of the object behind a handle
	Fields []FieldInfo // of a struct
}

// FieldInfo is a field of a struct.
type FieldInfo struct {
	Name string
	Type *Info
}

// InfoOf describes a type; nil if t is nil.
func InfoOf(t *Type) *Info { return describe(t, map[*Type]*Info{}) }

// describe describes a type and its parts, each once.
func describe(t *Type, seen map[*Type]*Info) *Info {
	if t == nil {
		return nil
	}
	if info := seen[t]; info != nil {
		return info
	}
	info := &Info{Name: t.String(), Kind: t.Kind().String(), Len: int(t.Len())}
	seen[t] = info
	info.Key, info.Elem = describe(t.Key(), seen), describe(t.Elem(), seen)
	for _, f := range t.Fields() {
		info.Fields = append(info.Fields, FieldInfo{f.Name, describe(f.Type, seen)})
	}
	return info
}

// SameOrNone is Same for types that may be nil: both nil are the same.
func SameOrNone(a, b *Type) bool { return a == b || a != nil && b != nil && Same(a, b) }

// TextOf returns a type in Go syntax; "" for nil.
func TextOf(t *Type) string {
	if t == nil {
		return ""
	}
	return t.String()
}
