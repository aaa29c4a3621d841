package layout

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"net/netip"
	"runtime"
	"time"
	"unsafe"
)

// An index keeps its entries in the order of a part of the value, and stores the ordered form of that
// part in full. This form differs in three ways from the one of OrderWord. NaN has one form, below
// all numbers. A value that is coded by its own methods has a byte before it: 0 for the zero value,
// else 1. And every string that is not last ends with two zero bytes, so several forms can follow one
// another and still be read back.

// ErrOrdered says that bytes are not the ordered form of a value.
var ErrOrdered = errors.New("bytes that are not the ordered form of a value")

// Ordering says what follows an ordered form.
type Ordering uint8

// The orderings.
const (
	Inside Ordering = iota // another form follows: strings have an end
	Last                   // nothing follows: a last string is its bytes alone
	Open                   // the rest of the string follows: a last string has no end, and each zero byte in it is followed by 0xff
)

// AppendOrdered appends the ordered form of the stored value at p, whose addresses must lie in
// b. The type's OrderError is nil.
func (t *Type) AppendOrdered(dst []byte, p unsafe.Pointer, b Bounds, o Ordering) ([]byte, error) {
	switch t.kind {
	case Bool, Uint8:
		return append(dst, *(*uint8)(p)), nil
	case Int8:
		return append(dst, *(*uint8)(p)^1<<7), nil
	case Uint16:
		return binary.BigEndian.AppendUint16(dst, *(*uint16)(p)), nil
	case Int16:
		return binary.BigEndian.AppendUint16(dst, *(*uint16)(p)^1<<15), nil
	case Uint32:
		return binary.BigEndian.AppendUint32(dst, *(*uint32)(p)), nil
	case Int32:
		return binary.BigEndian.AppendUint32(dst, *(*uint32)(p)^1<<31), nil
	case Uint, Uint64, Map, Sorted, List, Ref:
		return binary.BigEndian.AppendUint64(dst, *(*uint64)(p)), nil
	case Int, Int64:
		return binary.BigEndian.AppendUint64(dst, *(*uint64)(p)^1<<63), nil
	case Float32:
		w := uint64(0)
		if f := *(*float32)(p); f == f {
			w = floatOrder(uint64(*(*uint32)(p)) << 32)
		}
		return binary.BigEndian.AppendUint32(dst, uint32(w>>32)), nil
	case Float64:
		w := uint64(0)
		if f := *(*float64)(p); f == f {
			w = floatOrder(*(*uint64)(p))
		}
		return binary.BigEndian.AppendUint64(dst, w), nil
	case Time:
		v := *(*time.Time)(p)
		dst = binary.BigEndian.AppendUint64(dst, uint64(v.Unix()+yearOne)^1<<63)
		return binary.BigEndian.AppendUint32(dst, uint32(v.Nanosecond())), nil
	case String:
		at, n := word(p, 0), word(p, 8)
		if n > 0 && !b.holds(at, n) {
			return nil, damage(t, b, p, "a string outside its block")
		}
		return appendText(dst, bytesAt(loadPointer(p), n), o), nil
	case Addr, AddrPort, Prefix, Binary, Text:
		return t.appendCoded(dst, p, b, o)
	}
	return t.appendParts(dst, p, b, o)
}

// appendParts is AppendOrdered for types with parts.
func (t *Type) appendParts(dst []byte, p unsafe.Pointer, b Bounds, o Ordering) (_ []byte, err error) {
	switch t.kind {
	case Struct:
		for i := range t.fields {
			f := &t.fields[i]
			if dst, err = f.Type.AppendOrdered(dst, unsafe.Add(p, f.Offset), b, partOrdering(i, len(t.fields), o)); err != nil {
				return nil, err
			}
		}
	case Array:
		if t.elem.kind == Uint8 {
			return append(dst, bytesAt(p, t.length)...), nil
		}
		for i := range int(t.length) {
			if dst, err = t.elem.AppendOrdered(dst, unsafe.Add(p, uintptr(i)*t.elem.size), b, partOrdering(i, int(t.length), o)); err != nil {
				return nil, err
			}
		}
	default:
		return nil, ErrOrdered
	}
	return dst, nil
}

// AppendOrderedBytes appends the ordered form of a string.
func AppendOrderedBytes(dst, s []byte, o Ordering) []byte { return appendText(dst, s, o) }

func appendText(dst, s []byte, o Ordering) []byte {
	if o == Last {
		return append(dst, s...)
	}
	for {
		i := bytes.IndexByte(s, 0)
		if i < 0 {
			break
		}
		dst = append(append(dst, s[:i+1]...), 0xff)
		s = s[i+1:]
	}
	if dst = append(dst, s...); o == Inside {
		dst = append(dst, 0, 0)
	}
	return dst
}

func (t *Type) appendCoded(dst []byte, p unsafe.Pointer, b Bounds, o Ordering) ([]byte, error) {
	if at := word(p, 0); at != 0 {
		if !b.holds(at, codedHead) || at%8 != 0 || !b.holds(at+codedHead, word(loadPointer(p), 0)) {
			return nil, damage(t, b, p, "a coded part outside its block")
		}
	}
	code := codedBytes(p)
	switch t.kind {
	case Addr:
		return appendAddress(dst, addrOf(code), o), nil
	case AddrPort:
		a := addrPortOf(code)
		return binary.BigEndian.AppendUint16(appendAddress(dst, a.Addr(), Inside), a.Port()), nil
	case Prefix:
		a := prefixOf(code)
		dst = appendAddress(dst, a.Masked().Addr(), Inside)
		dst = binary.BigEndian.AppendUint16(dst, uint16(a.Bits()+1))
		return appendAddress(dst, a.Addr(), o), nil
	}
	if code == nil {
		return append(dst, 0), nil
	}
	return appendText(append(dst, 1), code, o), nil
}

func appendAddress(dst []byte, a netip.Addr, o Ordering) []byte {
	dst = append(dst, byte(a.BitLen()))
	dst = append(dst, a.AsSlice()...)
	return appendText(dst, []byte(a.Zone()), o)
}

// An Ordered reads ordered forms. The values that it makes refer to the bytes that it reads, and to
// memory of its own. They do so by words, which the garbage collector does not take for pointers;
// only the Ordered keeps this memory alive (LY12). The bytes must not change until Done.
type Ordered struct {
	bytes []byte // all bytes, kept alive; rest is empty in the end and keeps nothing
	rest  []byte
	made  [][]uint64
}

// ReadOrdered returns an Ordered that reads the forms in b, which escapes.
func ReadOrdered(b []byte) *Ordered {
	if never {
		sink = unsafe.Pointer(unsafe.SliceData(b)) // LY12
	}
	return &Ordered{bytes: b, rest: b}
}

// Rest returns the bytes not read yet.
func (r *Ordered) Rest() []byte { return r.rest }

// New reads the form of a value, and returns the value in its stored form, which is valid until Done.
func (r *Ordered) New(t *Type, o Ordering) (unsafe.Pointer, error) {
	mem := make([]uint64, max((t.size+7)/8, 1))
	r.made = append(r.made, mem)
	p := unsafe.Pointer(unsafe.SliceData(mem))
	return p, r.value(t, p, o)
}

// CopyOrdered reads the form of a value into the program's variable at dst. The variable owns all
// that it refers to.
func (r *Ordered) CopyOrdered(t *Type, dst unsafe.Pointer, o Ordering) error {
	p, err := r.New(t, o)
	if err != nil {
		return err
	}
	err = t.CopyOut(dst, p, stretched)
	r.Done() // LY12
	return err
}

// stretched are the bounds of a stored value whose parts lie anywhere. They differ from everywhere,
// which marks a value of the program.
var stretched = Bounds{1, ^uintptr(0)}

// take returns the next n bytes; nil if fewer are left.
func (r *Ordered) take(n int) []byte {
	if len(r.rest) < n {
		return nil
	}
	b := r.rest[:n:n]
	r.rest = r.rest[n:]
	return b
}

// number reads a number of n bytes.
func (r *Ordered) number(n int) (v uint64, err error) {
	b := r.take(n)
	if b == nil {
		return 0, ErrOrdered
	}
	for _, c := range b {
		v = v<<8 | uint64(c)
	}
	return v, nil
}

// value reads the form of a value of t into zeroed memory at p.
func (r *Ordered) value(t *Type, p unsafe.Pointer, o Ordering) error {
	switch t.kind {
	case String:
		s, err := r.text(o)
		if len(s) > 0 {
			setWord(p, 0, uintptr(unsafe.Pointer(unsafe.SliceData(s))))
			setWord(p, 8, uintptr(len(s)))
		}
		return err
	case Time:
		return r.time(p)
	case Addr, AddrPort, Prefix, Binary, Text:
		return r.coded(t, p, o)
	case Struct:
		for i := range t.fields {
			f := &t.fields[i]
			if err := r.value(f.Type, unsafe.Add(p, f.Offset), partOrdering(i, len(t.fields), o)); err != nil {
				return err
			}
		}
		return nil
	case Array:
		for i := range int(t.length) {
			if err := r.value(t.elem, unsafe.Add(p, uintptr(i)*t.elem.size), partOrdering(i, int(t.length), o)); err != nil {
				return err
			}
		}
		return nil
	}
	v, err := r.number(int(t.size))
	if err == nil {
		err = t.setNumber(p, v)
	}
	return err
}

// partOrdering returns the ordering of one of n parts.
func partOrdering(i, n int, o Ordering) Ordering {
	if i < n-1 {
		return Inside
	}
	return o
}

// setNumber sets the variable at p to the number whose form is v.
func (t *Type) setNumber(p unsafe.Pointer, v uint64) error {
	switch t.kind {
	case Bool, Uint8:
		if t.kind == Bool && v > 1 {
			return ErrOrdered
		}
		*(*uint8)(p) = uint8(v)
	case Int8:
		*(*uint8)(p) = uint8(v) ^ 1<<7
	case Uint16:
		*(*uint16)(p) = uint16(v)
	case Int16:
		*(*uint16)(p) = uint16(v) ^ 1<<15
	case Uint32:
		*(*uint32)(p) = uint32(v)
	case Int32:
		*(*uint32)(p) = uint32(v) ^ 1<<31
	case Uint, Uint64, Map, Sorted, List, Ref:
		*(*uint64)(p) = v
	case Int, Int64:
		*(*uint64)(p) = v ^ 1<<63
	case Float32:
		*(*float32)(p) = float32(math.NaN())
		if v != 0 {
			*(*uint32)(p) = uint32(floatBits(v<<32) >> 32)
		}
	case Float64:
		*(*float64)(p) = math.NaN()
		if v != 0 {
			*(*uint64)(p) = floatBits(v)
		}
	default:
		return ErrOrdered
	}
	return nil
}

// floatBits is the inverse of floatOrder.
func floatBits(w uint64) uint64 {
	if w>>63 != 0 {
		return w &^ (1 << 63)
	}
	return ^w
}

// time reads the form of a time.
func (r *Ordered) time(p unsafe.Pointer) error {
	seconds, err := r.number(8)
	if err != nil {
		return err
	}
	nanos, err := r.number(4)
	if err != nil || nanos >= 1e9 {
		return ErrOrdered
	}
	v := time.Unix(int64(seconds^1<<63)-yearOne, int64(nanos)).UTC()
	copy(bytesAt(p, 16), bytesAt(unsafe.Pointer(&v), 16)) // the third word, the location, is zero for UTC
	return nil
}

// text reads the form of a string.
func (r *Ordered) text(o Ordering) ([]byte, error) {
	if o == Last {
		s := r.rest
		r.rest = nil
		return s, nil
	}
	var made []byte
	from := r.rest
	for at := 0; ; {
		i := bytes.IndexByte(from[at:], 0)
		if i < 0 || at+i+1 >= len(from) {
			return nil, ErrOrdered
		}
		i += at
		switch from[i+1] {
		case 0:
			r.rest = from[i+2:]
			if made == nil {
				return from[:i:i], nil
			}
			made = append(made, from[at:i]...)
			return r.kept(made), nil
		case 0xff:
			made = append(append(made, from[at:i]...), 0)
			at = i + 2
		default:
			return nil, ErrOrdered
		}
	}
}

// kept copies bytes to memory that r keeps alive.
func (r *Ordered) kept(b []byte) []byte {
	mem := make([]uint64, len(b)/8+1)
	r.made = append(r.made, mem)
	to := bytesAt(unsafe.Pointer(unsafe.SliceData(mem)), uintptr(len(b)))
	copy(to, b)
	return to
}

// coded reads the form of a coded value.
func (r *Ordered) coded(t *Type, p unsafe.Pointer, o Ordering) error {
	code, err := r.code(t, o)
	if err != nil || code == nil {
		return err
	}
	mem := make([]uint64, 1+(len(code)+7)/8)
	r.made = append(r.made, mem)
	at := unsafe.Pointer(unsafe.SliceData(mem))
	mem[0] = uint64(len(code))
	copy(bytesAt(unsafe.Add(at, codedHead), uintptr(len(code))), code)
	setWord(p, 0, uintptr(at))
	return nil
}

// code reads the bytes of a coded value; nil for the zero value.
func (r *Ordered) code(t *Type, o Ordering) ([]byte, error) {
	switch t.kind {
	case Addr:
		a, err := r.address(o)
		if err != nil || a == (netip.Addr{}) {
			return nil, err
		}
		return a.MarshalBinary()
	case AddrPort:
		a, err := r.address(Inside)
		if err != nil {
			return nil, err
		}
		port, err := r.number(2)
		if v := netip.AddrPortFrom(a, uint16(port)); err == nil && v != (netip.AddrPort{}) {
			return v.MarshalBinary()
		}
		return nil, err
	case Prefix:
		if _, err := r.address(Inside); err != nil {
			return nil, err
		}
		bits, err := r.number(2)
		if err != nil {
			return nil, err
		}
		a, err := r.address(o)
		if v := netip.PrefixFrom(a, int(bits)-1); err == nil && v != (netip.Prefix{}) {
			return v.MarshalBinary()
		}
		return nil, err
	}
	there, err := r.number(1)
	if err != nil || there == 0 {
		return nil, err
	}
	b, err := r.text(o)
	if b == nil {
		b = []byte{}
	}
	return b, err
}

// address reads the form of an address.
func (r *Ordered) address(o Ordering) (netip.Addr, error) {
	bits, err := r.number(1)
	if err != nil || bits != 0 && bits != 32 && bits != 128 {
		return netip.Addr{}, ErrOrdered
	}
	b := r.take(int(bits / 8))
	if bits != 0 && b == nil {
		return netip.Addr{}, ErrOrdered
	}
	a, _ := netip.AddrFromSlice(b)
	zone, err := r.text(o)
	if err != nil {
		return netip.Addr{}, err
	}
	return a.WithZone(string(zone)), nil
}

// Text reads the form of a string that something follows. The result is a copy.
func (r *Ordered) Text() ([]byte, error) {
	b, err := r.text(Inside)
	return append([]byte{}, b...), err
}

// AppendJSON reads the form of a value, and renders it.
func (r *Ordered) AppendJSON(dst []byte, t *Type, o Ordering) ([]byte, error) {
	p, err := r.New(t, o)
	if err != nil {
		return nil, err
	}
	dst, err = t.AppendJSON(dst, p, stretched)
	r.Done() // LY12
	return dst, err
}

// Done says that the caller no longer uses the values that New has made.
func (r *Ordered) Done() { runtime.KeepAlive(r) }
