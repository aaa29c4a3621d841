package layout

import (
	"encoding/base64"
	"fmt"
	"math"
	"strconv"
	"time"
	"unicode/utf8"
	"unsafe"
)

// The JSON form of a value is readable, and loses nothing:
//
//	struct               object with all fields in order
//	[]byte, [N]byte      base64 string; other slices and arrays: array
//	string               string, or {"$bytes": base64} if not UTF-8
//	number               number; NaN and infinities: string; complex: [re, im]
//	time.Time            RFC 3339 string, or {"$unix": s, "$nsec": n} outside its years
//	pointer              its target, or null; wrapped as {"$value": …} if that can be null itself
//	shared part          {"$id": n, "$value": …} at first, then {"$ref": n}
//	netip.Addr and such  text
//	other coded value    text, or base64 of its bytes; null for the zero value
//	Dict                 object, if its keys are strings that are UTF-8 and begin with no $;
//	                     else an array of arrays of key and value
//	built-in map         as a Dict, or null
//	interface            {"type": name of the concrete type, "value": …}, with parts of its own; or null
//	handle               {"$map": "16 hex digits"}, $sorted, $list, $ref

// maxDepth keeps the output within the depth that JSON parsers accept.
const maxDepth = 9000

var handleNames = map[Kind]string{Map: "$map", Sorted: "$sorted", List: "$list", Ref: "$ref"}

// shared marks a slot whose off has become the number of the part; before, off counts its references.
const shared = 1 << 40

// printer writes a value that walker has already checked.
type printer struct {
	b     []byte
	ids   *identity
	next  uintptr // the number of the next shared part
	depth int
	most  int // bytes; see mostWritten
}

// AppendJSON appends the stored value at p, in the block b, to dst as JSON. Damage is a
// *DamageError. ParseJSON of the result is an equal value.
func (t *Type) AppendJSON(dst []byte, p unsafe.Pointer, b Bounds) ([]byte, error) {
	if !t.graph {
		if err := t.Check(p, b); err != nil {
			return dst, err
		}
	}
	return t.appendJSON(dst, p, b, nil)
}

// appendJSON is AppendJSON without the check, if outer writes the envelope around the value, or if
// the value's parts cannot be shared.
func (t *Type) appendJSON(dst []byte, p unsafe.Pointer, b Bounds, outer *printer) ([]byte, error) {
	if outer == nil {
		outer = &printer{most: mostWritten(dst, b)}
	}
	if !t.graph {
		w := printer{b: dst, depth: outer.depth, most: outer.most}
		err := w.value(t, p)
		return w.b, err
	}
	w := walker{b: b, budget: b.Hi - b.Lo, ids: newIdentity(), shallow: outer.depth > 0}
	defer w.ids.release()
	if !b.holds(uintptr(p), t.size) || uintptr(p)%t.align != 0 {
		return dst, damage(t, b, p, "the value lies outside its block")
	}
	if err := w.walkGraph(t, p); err != nil {
		return dst, err
	}
	out := printer{b: dst, ids: w.ids, next: 1, depth: outer.depth, most: outer.most}
	var err error
	if t.kind == Struct || t.kind == Array {
		err = out.part(uintptr(p), t, 1, false, func() error { return out.value(t, p) })
	} else {
		err = out.value(t, p)
	}
	return out.b, err
}

// part writes a part that may be shared, by its table entry; wrap asks for {"$value": …} in any case.
func (w *printer) part(addr uintptr, t *Type, n uintptr, wrap bool, write func() error) error {
	s := w.ids.find(addr, t, n)
	switch {
	case s.off >= shared:
		w.b = fmt.Appendf(w.b, `{"$ref":%d}`, s.off-shared)
		return nil
	case s.off > 1:
		s.off = shared + w.next
		w.b = fmt.Appendf(w.b, `{"$id":%d,"$value":`, w.next)
		w.next++
	case wrap:
		w.b = append(w.b, `{"$value":`...)
	default:
		return write()
	}
	if w.depth++; w.depth > maxDepth {
		return ErrTooDeep
	}
	err := write()
	w.depth--
	w.b = append(w.b, '}')
	return err
}

func (w *printer) value(t *Type, p unsafe.Pointer) error {
	switch t.kind {
	case Bool:
		w.b = strconv.AppendBool(w.b, *(*bool)(p))
	case String:
		w.b = appendString(w.b, *(*string)(p))
	case Time:
		w.b = appendTime(w.b, *(*time.Time)(p))
	case Struct:
		return w.fields(t, p)
	case Array:
		if t.isBytes() {
			w.b = appendBytes(w.b, bytesAt(p, t.size))
			return nil
		}
		return w.elements(t.elem, p, t.length)
	case Slice:
		return w.slice(t, p)
	case Pointer:
		return w.pointer(t, p)
	case Dict:
		return w.dict(t, p)
	case Table:
		return w.table(t, p)
	case Interface:
		return w.enveloped(p)
	case Addr, AddrPort, Prefix, Binary, Text:
		w.coded(t, codedBytes(p))
	case Map, Sorted, List, Ref:
		w.b = fmt.Appendf(w.b, `{"%s":"%016x"}`, handleNames[t.kind], *(*uint64)(p))
	default:
		w.b = appendNumber(w.b, t.kind, p)
	}
	return nil
}

func (w *printer) fields(t *Type, p unsafe.Pointer) error {
	if w.depth++; w.depth > maxDepth {
		return ErrTooDeep
	}
	w.b = append(w.b, '{')
	for i := range t.fields {
		if i > 0 {
			w.b = append(w.b, ',')
		}
		f := &t.fields[i]
		w.b = append(appendString(w.b, f.Name), ':')
		if err := w.value(f.Type, unsafe.Add(p, f.Offset)); err != nil {
			return err
		}
	}
	w.b = append(w.b, '}')
	w.depth--
	return nil
}

func (w *printer) elements(t *Type, p unsafe.Pointer, n uintptr) error {
	if w.depth++; w.depth > maxDepth {
		return ErrTooDeep
	}
	w.b = append(w.b, '[')
	for i := uintptr(0); i < n; i++ {
		if i > 0 {
			w.b = append(w.b, ',')
		}
		if err := w.value(t, unsafe.Add(p, i*t.size)); err != nil {
			return err
		}
	}
	w.b = append(w.b, ']')
	w.depth--
	return nil
}

func (w *printer) slice(t *Type, p unsafe.Pointer) error {
	n := word(p, 8)
	if word(p, 0) == 0 {
		w.b = append(w.b, "null"...)
		return nil
	}
	data := loadPointer(p)
	switch {
	case t.isBytes():
		w.b = appendBytes(w.b, bytesAt(data, n))
		return nil
	case t.ident && n > 0:
		return w.part(uintptr(data), t, n|sliceBit, false, func() error { return w.elements(t.elem, data, n) })
	}
	return w.elements(t.elem, data, n)
}

func (w *printer) pointer(t *Type, p unsafe.Pointer) error {
	if word(p, 0) == 0 {
		w.b = append(w.b, "null"...)
		return nil
	}
	e, data := t.elem, loadPointer(p)
	if e.size == 0 {
		return w.value(e, data)
	}
	wrap := e.kind == Pointer || e.kind == Slice || e.kind == Binary || e.kind == Text || e.kind == Table || e.kind == Interface
	return w.part(uintptr(data), e, 1, wrap, func() error { return w.value(e, data) })
}

func appendBytes(b, v []byte) []byte {
	b = append(b, '"')
	b = base64.StdEncoding.AppendEncode(b, v)
	return append(b, '"')
}

// coded writes the bytes of a coded value: as text, if the text loses nothing.
func (w *printer) coded(t *Type, v []byte) {
	text, ok := t.textOf(v)
	switch {
	case v == nil && t.kind >= Binary:
		w.b = append(w.b, "null"...)
	case t.kind == Binary:
		w.b = appendBytes(w.b, v)
	case ok:
		w.b = appendString(w.b, string(text))
	default:
		w.b = append(appendBytes(append(w.b, `{"$bytes":`...), v), '}')
	}
}

func appendString(b []byte, s string) []byte {
	if !utf8.ValidString(s) {
		b = appendBytes(append(b, `{"$bytes":`...), []byte(s))
		return append(b, '}')
	}
	b = append(b, '"')
	from := 0
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c >= ' ' && c != '"' && c != '\\' {
			continue
		}
		b = append(b, s[from:i]...)
		from = i + 1
		switch c {
		case '"', '\\':
			b = append(b, '\\', c)
		case '\n':
			b = append(b, '\\', 'n')
		case '\t':
			b = append(b, '\\', 't')
		default:
			b = fmt.Appendf(b, `\u%04x`, c)
		}
	}
	return append(append(b, s[from:]...), '"')
}

func appendTime(b []byte, t time.Time) []byte {
	if y := t.Year(); y < 0 || y > 9999 {
		return fmt.Appendf(b, `{"$unix":%d,"$nsec":%d}`, t.Unix(), t.Nanosecond())
	}
	b = append(b, '"')
	b = t.AppendFormat(b, time.RFC3339Nano)
	return append(b, '"')
}

func appendNumber(b []byte, k Kind, p unsafe.Pointer) []byte {
	switch k {
	case Int, Int64:
		return strconv.AppendInt(b, *(*int64)(p), 10)
	case Int8:
		return strconv.AppendInt(b, int64(*(*int8)(p)), 10)
	case Int16:
		return strconv.AppendInt(b, int64(*(*int16)(p)), 10)
	case Int32:
		return strconv.AppendInt(b, int64(*(*int32)(p)), 10)
	case Uint, Uint64:
		return strconv.AppendUint(b, *(*uint64)(p), 10)
	case Uint8:
		return strconv.AppendUint(b, uint64(*(*uint8)(p)), 10)
	case Uint16:
		return strconv.AppendUint(b, uint64(*(*uint16)(p)), 10)
	case Uint32:
		return strconv.AppendUint(b, uint64(*(*uint32)(p)), 10)
	case Float32:
		return appendFloat32(b, *(*uint32)(p))
	case Float64:
		return appendFloat64(b, *(*uint64)(p))
	case Complex64:
		b = append(appendFloat32(append(b, '['), *(*uint32)(p)), ',')
		return append(appendFloat32(b, *(*uint32)(unsafe.Add(p, 4))), ']')
	case Complex128:
		b = append(appendFloat64(append(b, '['), *(*uint64)(p)), ',')
		return append(appendFloat64(b, *(*uint64)(unsafe.Add(p, 8))), ']')
	}
	return append(b, "null"...)
}

// A NaN is written with its bits, since there are many NaNs.
func appendFloat32(b []byte, bits uint32) []byte {
	f := math.Float32frombits(bits)
	if f != f {
		return fmt.Appendf(b, `"NaN:%08x"`, bits)
	}
	return appendFloat(b, float64(f), 32)
}

func appendFloat64(b []byte, bits uint64) []byte {
	f := math.Float64frombits(bits)
	if f != f {
		return fmt.Appendf(b, `"NaN:%016x"`, bits)
	}
	return appendFloat(b, f, 64)
}

func appendFloat(b []byte, f float64, size int) []byte {
	switch {
	case math.IsInf(f, 1):
		return append(b, `"Infinity"`...)
	case math.IsInf(f, -1):
		return append(b, `"-Infinity"`...)
	}
	return strconv.AppendFloat(b, f, 'g', -1, size)
}
