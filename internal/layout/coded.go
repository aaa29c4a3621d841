package layout

import (
	"bytes"
	"encoding"
	"fmt"
	"net/netip"
	"reflect"
	"unsafe"
)

// Some types cannot be stored field by field: Go compares the pointer in a netip.Addr and does not
// follow it, and other types contain functions, maps or interfaces. Such types are coded: the space
// stores the bytes that their values marshal to.
//
// So a coded value has two forms: the form of the program, and the stored form (LY9). Both have the
// same size by value. The stored form is one word, followed by zeros. The word is 0 for the zero
// value, which is never marshaled; for every other value it is the address of the coded part. The
// part is aligned to 8 bytes: a length, then the bytes.

// codedHead is the size of the length of a coded part.
const codedHead = 8

// The stored form of a coded value needs a word; those of netip are as large as in Go.
var (
	_ [24]byte = [unsafe.Sizeof(netip.Addr{})]byte{}
	_ [32]byte = [unsafe.Sizeof(netip.AddrPort{})]byte{}
	_ [32]byte = [unsafe.Sizeof(netip.Prefix{})]byte{}
)

var (
	addrType     = reflect.TypeFor[netip.Addr]()
	addrPortType = reflect.TypeFor[netip.AddrPort]()
	prefixType   = reflect.TypeFor[netip.Prefix]()

	binaryType = [2]reflect.Type{reflect.TypeFor[encoding.BinaryMarshaler](), reflect.TypeFor[encoding.BinaryUnmarshaler]()}
	textType   = [2]reflect.Type{reflect.TypeFor[encoding.TextMarshaler](), reflect.TypeFor[encoding.TextUnmarshaler]()}
)

// CodedError says that the type's own method failed to turn a value into bytes, or bytes into a
// value.
type CodedError struct {
	Type   string
	Method string
	Err    error // of the method
}

// Error names the type and the method.
func (e *CodedError) Error() string {
	return fmt.Sprintf("everheap: %s of %s, by which it is stored: %v", e.Method, e.Type, e.Err)
}

// Unwrap returns the error of the method.
func (e *CodedError) Unwrap() error { return e.Err }

// Coded reports whether values of the program differ from stored ones because they hold coded parts.
// Then a value of the program goes through Stored, and no program can read a stored value in place.
func (t *Type) Coded() bool { return t.coded }

// isCoded reports whether a value of the type is itself coded; Coded is also true if only a part of
// it is.
func (t *Type) isCoded() bool {
	return t.kind >= Addr && t.kind <= Text || t.kind == Table || t.kind == Interface
}

// addressKind returns the kind of an address type of netip, or of a type defined as one; Invalid for
// other types.
func addressKind(rt reflect.Type) Kind {
	switch {
	case rt.Kind() != reflect.Struct:
	case rt.ConvertibleTo(addrType):
		return Addr
	case rt.ConvertibleTo(addrPortType):
		return AddrPort
	case rt.ConvertibleTo(prefixType):
		return Prefix
	}
	return Invalid
}

// marshalerKind returns how a type can be stored by its own methods: Binary, Text, or Invalid if it
// has no pair of them. A pair is one method for each direction. A method that is promoted from an
// embedded field does not count: it ignores the other fields.
func marshalerKind(rt reflect.Type) Kind {
	if rt.PkgPath() == "" || rt.Size() < 8 || rt.Align() != 8 || rt.Kind() == reflect.Interface {
		return Invalid
	}
	for _, k := range [2]struct {
		kind  Kind
		pair  [2]reflect.Type
		names [2]string
	}{{Binary, binaryType, [2]string{"MarshalBinary", "UnmarshalBinary"}}, {Text, textType, [2]string{"MarshalText", "UnmarshalText"}}} {
		p := reflect.PointerTo(rt)
		if p.Implements(k.pair[0]) && p.Implements(k.pair[1]) && !brings(rt, k.names[0]) && !brings(rt, k.names[1]) {
			return k.kind
		}
	}
	return Invalid
}

// brings reports whether a method of a struct is promoted from an embedded field.
func brings(rt reflect.Type, method string) bool {
	for i := 0; rt.Kind() == reflect.Struct && i < rt.NumField(); i++ {
		f := rt.Field(i)
		if !f.Anonymous {
			continue
		}
		ft := f.Type
		if ft.Kind() != reflect.Pointer && ft.Kind() != reflect.Interface {
			ft = reflect.PointerTo(ft)
		}
		if _, has := ft.MethodByName(method); has {
			return true
		}
	}
	return false
}

// Stored returns the stored form of the value of the program at src; the garbage collector keeps it
// while the result is in use. If the type is not Coded, the result is src itself. Errors:
// *CodedError, ErrTooLarge, and an *UnstorableError as of Measure. Stored calls methods of the
// program.
func (t *Type) Stored(src unsafe.Pointer) (unsafe.Pointer, error) {
	if !t.coded {
		return src, nil // inlined: every operation with a key comes here
	}
	return t.stored(src)
}

func (t *Type) stored(src unsafe.Pointer) (unsafe.Pointer, error) {
	m := measurer{limit: maxOwned, b: everywhere, program: true}
	if err := t.measureAll(&m, src); err != nil {
		return nil, err
	}
	fixed := alignUp(t.size, 8)
	mem := make([]uint64, max((fixed+m.n+7)/8, 1))
	p := unsafe.Pointer(unsafe.SliceData(mem))
	return p, t.flatten(p, uintptr(p), 0, fixed, m.n, src, m.codesOr())
}

// StoredRow is Stored for n consecutive values. The caller keeps the last result alive while it uses
// the row.
func (t *Type) StoredRow(src unsafe.Pointer, n int) (row unsafe.Pointer, keep any, err error) {
	if !t.coded || n == 0 {
		return src, nil, nil
	}
	parts := make([]unsafe.Pointer, n)
	mem := make([]uint64, max(uintptr(n)*t.size/8, 1)) // a type with an address has a size of whole words
	row = unsafe.Pointer(unsafe.SliceData(mem))
	for i := range parts {
		if parts[i], err = t.Stored(unsafe.Add(src, uintptr(i)*t.size)); err != nil {
			return nil, nil, err
		}
		move(unsafe.Add(row, uintptr(i)*t.size), parts[i], t.size)
	}
	return row, parts, nil
}

// code is the marshaled form of one coded value.
type code struct {
	typ   *Type
	bytes []byte         // nil: it is the zero value
	table unsafe.Pointer // for a built-in map, instead of bytes; nil if the map is nil
}

// codes lists the marshaled forms of the coded values in a value, in the order of the walk. A nil
// *codes means that the value is in its stored form.
type codes struct{ list []code }

// next returns the bytes of the next coded value. It reports false if that is not of type t: then the
// program has changed the value since it was measured.
func (c *codes) next(t *Type) ([]byte, bool) {
	got, ok := c.nextAny(t)
	return got.bytes, ok
}

// nextAny is next, and also accepts built-in maps.
func (c *codes) nextAny(t *Type) (code, bool) {
	if len(c.list) == 0 || c.list[0].typ != t {
		return code{}, false
	}
	got := c.list[0]
	c.list = c.list[1:]
	return got, true
}

// code measures the coded value at p.
func (m *measurer) code(t *Type, p unsafe.Pointer) error {
	if t.kind == Table {
		return m.table(t, p)
	}
	var n uintptr
	var part bool
	if m.program {
		var b []byte
		var err error
		if t.kind == Interface {
			b, err = m.seal(t, p)
		} else {
			b, err = t.marshal(p)
		}
		if err != nil {
			return err
		}
		if m.codes == nil {
			m.codes = &codes{}
		}
		m.codes.list = append(m.codes.list, code{typ: t, bytes: b})
		n, part = uintptr(len(b)), b != nil
	} else if at := word(p, 0); at != 0 {
		part = true
		if !m.b.holds(at, codedHead) || at%8 != 0 {
			return damage(t, m.b, p, "a coded part outside its block")
		}
		if n = word(loadPointer(p), 0); n > maxOwned || !m.b.holds(at+codedHead, n) {
			return damage(t, m.b, p, "a coded part outside its block")
		}
	}
	if n > m.limit {
		return ErrTooLarge
	}
	if part {
		m.n = alignUp(m.n, 8) + codedHead + n
	}
	return nil
}

// code places the coded value at p. It reports false if the value has changed.
func (f *flattener) code(t *Type, p, to unsafe.Pointer) bool {
	if t.kind == Table {
		return f.table(t, p, to)
	}
	var b []byte
	if f.codes != nil {
		var ok bool
		if b, ok = f.codes.next(t); !ok {
			return false
		}
	} else {
		b = codedBytes(p)
	}
	clearBytes(to, t.size)
	if b == nil {
		return true
	}
	n := uintptr(len(b))
	off, ok := f.reserve(codedHead+n, 8)
	if !ok {
		return false
	}
	at := unsafe.Add(f.rw, off)
	setWord(at, 0, n)
	copy(bytesAt(unsafe.Add(at, codedHead), n), b)
	setWord(to, 0, f.ro+off)
	return true
}

// codedBytes returns the bytes of the coded value at p, whose address was checked. They are nil for
// the zero value only.
func codedBytes(p unsafe.Pointer) []byte {
	at := loadPointer(p)
	if at == nil {
		return nil
	}
	return bytesAt(unsafe.Add(at, codedHead), word(at, 0))
}

// sameCodes is sameParts for two coded values.
func (t *Type) sameCodes(p, q unsafe.Pointer) bool {
	if t.kind == Table {
		return t.sameTables(p, q)
	}
	return equalCodes(codedBytes(p), codedBytes(q))
}

// equalCodes reports whether two coded values are equal: both zero, or the same bytes.
func equalCodes(a, b []byte) bool { return (a == nil) == (b == nil) && bytes.Equal(a, b) }

// checkCoded checks the address and the length at p, and changes the address if need be.
func (w *walker) checkCoded(t *Type, p unsafe.Pointer) error {
	for off := uintptr(8); off < t.size; off += 8 {
		if word(p, off) != 0 {
			return damage(t, w.b, p, "a coded value with more than an address")
		}
	}
	at, err := w.part(t, p, 0, codedHead, 8)
	if err != nil || at == nil {
		return err
	}
	n := word(at, 0)
	if n > maxOwned || !w.b.holds(uintptr(at)+codedHead, n) {
		return damage(t, w.b, p, "a coded part with a wrong length")
	}
	if !t.codeFits(n) {
		return damage(t, w.b, p, "a network address with a wrong length")
	}
	if err := w.spend(t, p, codedHead+n); err != nil || t.kind != Interface || w.from != 0 {
		return err // only a walk that changes nothing reads envelopes, and the keys of a Dict
	}
	return w.envelope(t, p)
}

// codeFits reports whether a coded value of the type can have n bytes.
func (t *Type) codeFits(n uintptr) bool {
	switch t.kind {
	case Addr:
		return n == 4 || n >= 16
	case AddrPort:
		return n == 2 || n == 6 || n >= 18
	case Prefix:
		return n == 1 || n == 5 || n == 17
	}
	return true
}

// code copies the coded value at p to the variable at to.
func (c *copier) code(t *Type, to, p unsafe.Pointer) error {
	if t.kind == Table {
		return c.table(t, to, p)
	}
	if c.b == everywhere { // a value of the program, too
		if t.kind <= Prefix {
			t.assign(to, p)
			return nil
		}
		var b []byte
		var err error
		if t.kind == Interface {
			b, err = (&measurer{}).seal(t, p)
		} else {
			b, err = t.marshal(p)
		}
		switch {
		case err != nil:
			return err
		case b == nil:
			t.assign(to, p)
			return nil
		case t.kind == Interface:
			return c.unseal(t, to, b)
		}
		return t.unmarshal(to, b)
	}
	at := word(p, 0)
	if at == 0 {
		t.assign(to, reflect.New(t.rt).UnsafePointer())
		return nil
	}
	if !c.b.holds(at, codedHead) || at%8 != 0 {
		return damage(t, c.b, p, "a coded part outside its block")
	}
	n := word(loadPointer(p), 0)
	if n > maxOwned || !c.b.holds(at+codedHead, n) {
		return damage(t, c.b, p, "a coded part outside its block")
	}
	if err := c.spend(t, p, codedHead+n); err != nil {
		return err
	}
	if t.kind == Interface {
		return c.unseal(t, to, codedBytes(p))
	}
	var b []byte // a copy: the program's method may keep it, or write to it
	if n > 0 {   // with n = 0, the bytes after the head may be unmapped
		b = append(b, bytesAt(unsafe.Add(loadPointer(p), codedHead), n)...)
	}
	return t.unmarshal(to, b)
}

// assign copies a variable of the program, coded or not. Neither address is kept.
func (t *Type) assign(to, from unsafe.Pointer) {
	reflect.NewAt(t.rt, to).Elem().Set(reflect.NewAt(t.rt, from).Elem())
}

// marshal returns the stored bytes of the variable of the program at p; nil if it is zero. It passes
// the methods a copy of the variable: p may be on a stack, and a method may keep its receiver.
func (t *Type) marshal(p unsafe.Pointer) (b []byte, err error) {
	if t.rt == nil {
		return nil, errNoGoType
	}
	v := reflect.New(t.rt)
	t.assign(v.UnsafePointer(), p)
	if v.Elem().IsZero() {
		return nil, nil
	}
	method := "MarshalBinary"
	switch t.kind {
	case Addr:
		b, err = (*netip.Addr)(v.UnsafePointer()).MarshalBinary()
	case AddrPort:
		b, err = (*netip.AddrPort)(v.UnsafePointer()).MarshalBinary()
	case Prefix:
		b, err = (*netip.Prefix)(v.UnsafePointer()).MarshalBinary()
	case Binary:
		b, err = v.Interface().(encoding.BinaryMarshaler).MarshalBinary()
	default:
		method = "MarshalText"
		b, err = v.Interface().(encoding.TextMarshaler).MarshalText()
	}
	if err != nil {
		return nil, &CodedError{t.String(), method, err}
	}
	if b == nil {
		b = []byte{}
	}
	return b, nil
}

// unmarshal sets the variable at to from the bytes, which belong to the variable from then on.
func (t *Type) unmarshal(to unsafe.Pointer, b []byte) (err error) {
	method := "UnmarshalBinary"
	v := reflect.New(t.rt)
	switch t.kind {
	case Addr:
		err = (*netip.Addr)(v.UnsafePointer()).UnmarshalBinary(b)
	case AddrPort:
		err = (*netip.AddrPort)(v.UnsafePointer()).UnmarshalBinary(b)
	case Prefix:
		err = (*netip.Prefix)(v.UnsafePointer()).UnmarshalBinary(b)
	case Binary:
		err = v.Interface().(encoding.BinaryUnmarshaler).UnmarshalBinary(b)
	default:
		method = "UnmarshalText"
		err = v.Interface().(encoding.TextUnmarshaler).UnmarshalText(b)
	}
	if err != nil {
		return &CodedError{t.String(), method, err}
	}
	t.assign(to, v.UnsafePointer())
	return nil
}

// CopyNew is CopyOut to a new variable.
func (t *Type) CopyNew(src unsafe.Pointer, b Bounds) (unsafe.Pointer, error) {
	if t.rt == nil {
		return nil, errNoGoType
	}
	dst := reflect.New(t.rt).UnsafePointer()
	return dst, t.CopyOut(dst, src, b)
}
