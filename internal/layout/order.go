package layout

import (
	"cmp"
	"encoding/binary"
	"math/bits"
	"strings"
	"time"
	"unsafe"

	"github.com/zeebo/xxh3"
)

// The ordered form of a key is a string of bytes that is never computed as a whole. Take the ordered
// forms of two keys, and let each be followed by endless zeros: they compare as the keys do, or they
// are equal, and then the keys themselves must be compared. So a few bytes, from the first place
// where keys can differ, tell most keys apart; they can be kept away from the key itself.
//
// The ordered form is, for a number, its bytes, the highest first, mapped so that they compare like
// the numbers; for a time, seconds and nanoseconds; for a handle, the ID; for arrays and structs, the
// forms of the parts, one after another; for a string, its bytes; for a coded value, see
// orderer.coded. If something follows a string, the string ends with two zero bytes, and each zero
// byte in it is followed by 0xff.

const orderedRole = "the key of a Sorted"

// varies stands for the size of ordered forms that differ in size.
const varies = ^uintptr(0)

// OrderError returns nil if values can be keys of a Sorted, else a *KeyError.
func (t *Type) OrderError() error {
	return t.role(orderedRole, func(u *Type) bool {
		switch u.kind {
		case Slice, Pointer, Complex64, Complex128, Dict, Table, Interface:
			return false
		}
		return true
	})
}

// Compare orders two values of a type whose KeyError is nil: -1, 0 or 1. Strings
// compare bytewise, bools false first, times by instant, handles by ID, structs and
// arrays part by part, NaN below all numbers, complex numbers, which only a Dict orders, by
// their real parts first; for coded values see compareCoded.
func (t *Type) Compare(a, b unsafe.Pointer) int {
	switch t.kind {
	case String:
		return strings.Compare(*(*string)(a), *(*string)(b))
	case Int, Int64:
		return compareAs[int64](a, b)
	case Int8:
		return compareAs[int8](a, b)
	case Int16:
		return compareAs[int16](a, b)
	case Int32:
		return compareAs[int32](a, b)
	case Uint, Uint64, Map, Sorted, List, Ref:
		return compareAs[uint64](a, b)
	case Uint8, Bool:
		return compareAs[uint8](a, b)
	case Uint16:
		return compareAs[uint16](a, b)
	case Uint32:
		return compareAs[uint32](a, b)
	case Float32:
		return compareAs[float32](a, b)
	case Float64:
		return compareAs[float64](a, b)
	case Complex64:
		return cmp.Or(compareAs[float32](a, b), compareAs[float32](unsafe.Add(a, 4), unsafe.Add(b, 4)))
	case Complex128:
		return cmp.Or(compareAs[float64](a, b), compareAs[float64](unsafe.Add(a, 8), unsafe.Add(b, 8)))
	case Time:
		return (*(*time.Time)(a)).Compare(*(*time.Time)(b))
	case Addr, AddrPort, Prefix, Binary, Text:
		return t.compareCoded(codedBytes(a), codedBytes(b))
	case Array:
		for i := uintptr(0); i < t.length; i++ {
			if c := t.elem.Compare(unsafe.Add(a, i*t.elem.size), unsafe.Add(b, i*t.elem.size)); c != 0 {
				return c
			}
		}
	case Struct:
		for i := range t.fields {
			f := &t.fields[i]
			if c := f.Type.Compare(unsafe.Add(a, f.Offset), unsafe.Add(b, f.Offset)); c != 0 {
				return c
			}
		}
	}
	return 0
}

func compareAs[T cmp.Ordered](a, b unsafe.Pointer) int { return cmp.Compare(*(*T)(a), *(*T)(b)) }

// CheckOrder returns ErrNaN if the key at p holds a NaN, which has no place in an order.
func (t *Type) CheckOrder(p unsafe.Pointer) error {
	if !t.floats || !t.nan(p) {
		return nil
	}
	return ErrNaN
}

// nan reports whether the value at p holds a NaN by value.
func (t *Type) nan(p unsafe.Pointer) bool {
	switch t.kind {
	case Float32:
		f := *(*float32)(p)
		return f != f
	case Float64:
		f := *(*float64)(p)
		return f != f
	case Array:
		for i := uintptr(0); i < t.length && t.elem.floats; i++ {
			if t.elem.nan(unsafe.Add(p, i*t.elem.size)) {
				return true
			}
		}
	case Struct:
		for i := range t.fields {
			if f := &t.fields[i]; f.Type.floats && f.Type.nan(unsafe.Add(p, f.Offset)) {
				return true
			}
		}
	}
	return false
}

// orders computes the size of the ordered form, and whether a value can hold a NaN.
func (t *Type) orders() {
	t.floats = t.kind == Float32 || t.kind == Float64
	t.byValue(func(u *Type) { t.floats = t.floats || u.floats })
	switch t.kind {
	case Time:
		t.ordered = 12
	case Struct:
		for i := range t.fields {
			if t.fields[i].Type.ordered == varies {
				t.ordered = varies
				return
			}
			t.ordered += t.fields[i].Type.ordered
		}
	case Array:
		t.ordered = varies
		if t.elem.ordered != varies || t.length == 0 {
			t.ordered = t.elem.ordered * t.length
		}
	case String, Slice, Pointer, Complex64, Complex128, Addr, AddrPort, Prefix, Binary, Text, Dict, Table, Interface:
		t.ordered = varies
	default:
		t.ordered = t.size
	}
}

// OrderDecides reports whether the first eight bytes of the ordered form decide: keys with equal ones
// are equal.
func (t *Type) OrderDecides() bool { return t.ordered <= 8 }

// OrderWord returns eight bytes of the ordered form of the key at p, from the given place on, the first
// one highest. The type's OrderError is nil.
func (t *Type) OrderWord(p unsafe.Pointer, from uintptr) uint64 {
	switch t.kind {
	case String:
		return BytesWord(loadPointer(p), word(p, 8), from)
	case Uint, Uint64:
		if from == 0 {
			return *(*uint64)(p)
		}
	case Int, Int64:
		if from == 0 {
			return *(*uint64)(p) ^ 1<<63
		}
	}
	o := orderer{skip: from}
	o.value(t, p, true)
	return o.word
}

// StringsWithin reports whether the strings of a stored key lie within bounds, so that the key can be
// compared. An address outside, made up by damage, may be unmapped.
func (t *Type) StringsWithin(p unsafe.Pointer, b Bounds) bool {
	for i := range t.ops {
		o := &t.ops[i]
		switch o.code {
		case opString:
			if n := word(p, o.off+8); n > 0 && !b.holds(word(p, o.off), n) {
				return false
			}
		case opCoded:
			if at := word(p, o.off); at != 0 && (!b.holds(at, codedHead) || at%8 != 0 || !b.holds(at+codedHead, word(loadPointer(unsafe.Add(p, o.off)), 0))) {
				return false
			}
		case opEach:
			for j := range o.n {
				if !o.typ.StringsWithin(unsafe.Add(p, o.off+j*o.typ.size), b) {
					return false
				}
			}
		}
	}
	return true
}

// BytesWord is OrderWord of a string with n bytes at data.
func BytesWord(data unsafe.Pointer, n, from uintptr) (w uint64) {
	if from >= n {
		return 0
	}
	if n -= from; n >= 8 {
		return bits.ReverseBytes64(*(*uint64)(unsafe.Add(data, from)))
	}
	for i := range n {
		w |= uint64(*(*byte)(unsafe.Add(data, from+i))) << (56 - 8*i)
	}
	return w
}

// orderer collects eight bytes of an ordered form.
type orderer struct {
	skip uintptr // bytes of the form before the first one to collect
	word uint64
	n    uint // bytes in word, from the highest
}

// put adds the low bytes of v, size of them.
func (o *orderer) put(v uint64, size uintptr) {
	if o.skip >= size {
		o.skip -= size
		return
	}
	v <<= 8 * (8 - size + o.skip)
	o.word |= v >> (8 * o.n)
	o.n += uint(size - o.skip)
	o.skip = 0
}

// value adds the form of a value; last says that nothing follows it. It does not trust the lengths of
// stored strings: it reads only the bytes that it collects.
func (o *orderer) value(t *Type, p unsafe.Pointer, last bool) {
	switch t.kind {
	case Bool, Uint8:
		o.put(uint64(*(*uint8)(p)), 1)
	case Int8:
		o.put(uint64(*(*uint8)(p))^1<<7, 1)
	case Uint16:
		o.put(uint64(*(*uint16)(p)), 2)
	case Int16:
		o.put(uint64(*(*uint16)(p))^1<<15, 2)
	case Uint32:
		o.put(uint64(*(*uint32)(p)), 4)
	case Int32:
		o.put(uint64(*(*uint32)(p))^1<<31, 4)
	case Uint, Uint64, Map, Sorted, List, Ref:
		o.put(*(*uint64)(p), 8)
	case Int, Int64:
		o.put(*(*uint64)(p)^1<<63, 8)
	case Float32:
		o.put(floatOrder(uint64(*(*uint32)(p))<<32)>>32, 4)
	case Float64:
		o.put(floatOrder(*(*uint64)(p)), 8)
	case Time:
		v := *(*time.Time)(p)
		o.put(uint64(v.Unix()+yearOne)^1<<63, 8)
		o.put(uint64(v.Nanosecond()), 4)
	case String:
		o.text(loadPointer(p), word(p, 8), last)
	case Addr, AddrPort, Prefix, Binary, Text:
		o.coded(t, codedBytes(p), last)
	case Array:
		o.array(t, p, last)
	case Struct:
		for i := range t.fields {
			f := &t.fields[i]
			if size := f.Type.ordered; size <= o.skip && size != varies {
				o.skip -= size
			} else if o.n < 8 {
				o.value(f.Type, unsafe.Add(p, f.Offset), last && i == len(t.fields)-1)
			}
		}
	}
}

// yearOne, added to Unix seconds, makes them count from the year 1, as time.Time does. The sum wraps
// where Unix does; so the count is right for all times.
const yearOne = 62135596800

// floatOrder maps the bits of a float to a number that compares as floats do.
func floatOrder(b uint64) uint64 {
	switch {
	case b == 1<<63: // -0 equals +0
		return 1 << 63
	case b>>63 != 0:
		return ^b
	}
	return b | 1<<63
}

func (o *orderer) array(t *Type, p unsafe.Pointer, last bool) {
	if t.elem.kind == Uint8 && o.skip < t.length {
		var b [8]byte
		n := copy(b[:], bytesAt(unsafe.Add(p, o.skip), t.length-o.skip))
		o.skip = 0
		o.put(binary.BigEndian.Uint64(b[:])>>(64-8*n), uintptr(n))
		return
	}
	i := uintptr(0)
	if size := t.elem.ordered; size != varies && size > 0 {
		i = min(o.skip/size, t.length)
		o.skip -= i * size
	}
	for ; i < t.length && o.n < 8; i++ {
		o.value(t.elem, unsafe.Add(p, i*t.elem.size), last && i == t.length-1)
	}
}

// text adds the n bytes of a string at data.
func (o *orderer) text(data unsafe.Pointer, n uintptr, last bool) {
	if last {
		w, skipped := BytesWord(data, n, o.skip), min(o.skip, n)
		o.skip -= skipped
		if n -= skipped; n > 0 {
			n = min(n, 8)
			o.put(w>>(64-8*n), n)
		}
		return
	}
	for i := uintptr(0); i < n && o.n < 8; i++ {
		c := *(*byte)(unsafe.Add(data, i))
		if o.put(uint64(c), 1); c == 0 {
			o.put(0xff, 1)
		}
	}
	o.put(0, 2)
}

// KeyError returns nil if values can be keys of a Map, else a *KeyError. Keys own only strings:
// equality of pointers or slices does not outlive a program.
func (t *Type) KeyError() error {
	return t.role("a key", func(u *Type) bool {
		return u.kind != Slice && u.kind != Pointer && u.kind != Dict && u.kind != Table && u.kind != Interface
	})
}

func (t *Type) role(role string, allowed func(*Type) bool) error {
	path, bad := t.offender(allowed)
	if bad == nil {
		return nil
	}
	return &KeyError{t.String(), strings.TrimPrefix(path, "."), bad.String(), role, bad.kind == Interface}
}

// offender returns the first disallowed type that t contains by value, and its path.
func (t *Type) offender(allowed func(*Type) bool) (string, *Type) {
	if !allowed(t) {
		return "", t
	}
	switch t.kind {
	case Array:
		if path, bad := t.elem.offender(allowed); bad != nil {
			return "[]" + path, bad
		}
	case Struct:
		for i := range t.fields {
			if path, bad := t.fields[i].Type.offender(allowed); bad != nil {
				return "." + t.fields[i].Name + path, bad
			}
		}
	}
	return "", nil
}

// Hash returns the xxh3 hash of the key at p. Equal keys have equal hashes: padding
// does not count, nor the sign of zero, nor the location of a time. A key that
// holds a NaN is refused with ErrNaN. The function depends on seed and type alone, and can never
// change: spaces store hashes.
func (t *Type) Hash(seed uint64, p unsafe.Pointer) (uint64, error) {
	if t.kind == String {
		return xxh3.HashStringSeed(*(*string)(p), seed), nil
	}
	if t.hashBytes {
		return xxh3.HashSeed(bytesAt(p, t.size), seed), nil
	}
	return t.hashParts(seed, p)
}

func (t *Type) hashParts(h uint64, p unsafe.Pointer) (_ uint64, err error) {
	switch t.kind {
	case Float32:
		return hashFloat(h, float64(*(*float32)(p)))
	case Float64:
		return hashFloat(h, *(*float64)(p))
	case Complex64:
		c := *(*complex64)(p)
		return hashComplex(h, complex128(c))
	case Complex128:
		return hashComplex(h, *(*complex128)(p))
	case Time:
		u := (*(*time.Time)(p)).UTC()
		return xxh3.HashSeed(bytesAt(unsafe.Pointer(&u), 16), h), nil
	case Addr, AddrPort, Prefix, Binary, Text:
		return xxh3.HashSeed(codedBytes(p), h), nil
	case Array:
		for i := uintptr(0); i < t.length && err == nil; i++ {
			h, err = t.elem.Hash(h, unsafe.Add(p, i*t.elem.size))
		}
	case Struct:
		for i := range t.fields {
			if h, err = t.fields[i].Type.Hash(h, unsafe.Add(p, t.fields[i].Offset)); err != nil {
				break
			}
		}
	default:
		return 0, t.KeyError()
	}
	return h, err
}

func hashFloat(h uint64, f float64) (uint64, error) {
	if f != f {
		return 0, ErrNaN
	}
	if f == 0 {
		f = 0 // drops the sign
	}
	return xxh3.HashSeed(bytesAt(unsafe.Pointer(&f), 8), h), nil
}

func hashComplex(h uint64, c complex128) (uint64, error) {
	h, err := hashFloat(h, real(c))
	if err != nil {
		return 0, err
	}
	return hashFloat(h, imag(c))
}

// Equal reports whether two keys are equal, as == of Go does, by instant for time.Time, and by
// their bytes if they are coded.
func (t *Type) Equal(a, b unsafe.Pointer) bool {
	if t.kind == String {
		return *(*string)(a) == *(*string)(b)
	}
	if t.hashBytes {
		return equalBytes(a, b, t.size)
	}
	switch t.kind {
	case Float32:
		return *(*float32)(a) == *(*float32)(b)
	case Float64:
		return *(*float64)(a) == *(*float64)(b)
	case Complex64:
		return *(*complex64)(a) == *(*complex64)(b)
	case Complex128:
		return *(*complex128)(a) == *(*complex128)(b)
	case Time:
		return (*(*time.Time)(a)).Equal(*(*time.Time)(b))
	case Addr, AddrPort, Prefix, Binary, Text:
		return equalCodes(codedBytes(a), codedBytes(b))
	case Array:
		for i := uintptr(0); i < t.length; i++ {
			if !t.elem.Equal(unsafe.Add(a, i*t.elem.size), unsafe.Add(b, i*t.elem.size)) {
				return false
			}
		}
		return true
	case Struct:
		for i := range t.fields {
			f := &t.fields[i]
			if !f.Type.Equal(unsafe.Add(a, f.Offset), unsafe.Add(b, f.Offset)) {
				return false
			}
		}
		return true
	}
	return false
}
