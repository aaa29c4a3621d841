package layout

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/everheap/everheap/internal/jsontree"
)

// parser builds the detached form of a value. The form grows at its end; addresses are offset+1.
type parser struct {
	root  *Type
	img   []byte
	path  []string
	empty uintptr
	parts map[uint64]partRef // shared parts by their "$id"
	dicts []unsettled        // Dicts whose entries have been placed
	depth int                // of Dicts in Dicts

	nested int // envelopes that the value is in
}

// partRef is where a shared part was placed.
type partRef struct {
	typ *Type
	n   uintptr // elements of a slice, with sliceBit; else 1
	off uintptr
}

// ParseJSON parses a value in the form that AppendJSON writes. Missing fields are zero, unknown ones
// an error. The error is a *JSONError.
func (t *Type) ParseJSON(data []byte) (*Detached, error) {
	d := parser{root: t}
	if !utf8.Valid(data) {
		return nil, d.errorf("want UTF-8")
	}
	v, err := jsontree.Read(data)
	if err != nil {
		return nil, d.errorf("%v", err)
	}
	return d.whole(v, true)
}

// whole returns the value of the parsed JSON v.
func (d *parser) whole(v any, attach bool) (*Detached, error) {
	t := d.root
	d.img, d.parts = make([]byte, alignUp(t.size, 8)), make(map[uint64]partRef)
	err := error(nil)
	if t.graph && (t.kind == Struct || t.kind == Array) {
		err = d.wrapped(t, 0, v)
	} else {
		err = d.value(t, 0, v)
	}
	if err != nil {
		return nil, err
	}
	made, err := t.attach(d.img, d.dicts, attach)
	if err != nil && !errors.As(err, new(*DamageError)) {
		err = d.errorf("%v", err)
	}
	return made, err
}

func (d *parser) errorf(format string, args ...any) error {
	return &JSONError{Type: d.root.String(), Path: strings.TrimPrefix(strings.Join(d.path, ""), "."), What: fmt.Sprintf(format, args...)}
}

// want returns the error for a JSON value of the wrong type.
func (d *parser) want(what string, v any) error {
	got := "null"
	switch v := v.(type) {
	case string:
		got = "a string"
	case json.Number:
		got = "the number " + v.String()
	case bool:
		got = strconv.FormatBool(v)
	case []any:
		got = "an array"
	case map[string]any:
		got = "an object"
	}
	return d.errorf("want %s, got %s", what, got)
}

// alloc appends n aligned zero bytes and returns their offset.
func (d *parser) alloc(n, align uintptr) (uintptr, error) {
	off := alignUp(uintptr(len(d.img)), align)
	if n > maxOwned || off+n > maxOwned {
		return 0, d.errorf("%v", ErrTooLarge)
	}
	d.img = append(d.img, make([]byte, off+n-uintptr(len(d.img)))...)
	return off, nil
}

func (d *parser) at(step string, t *Type, off uintptr, v any) error {
	d.path = append(d.path, step)
	err := d.value(t, off, v)
	d.path = d.path[:len(d.path)-1]
	return err
}

// put stores a number of the given size.
func (d *parser) put(off, size uintptr, v uint64) {
	for i := uintptr(0); i < size; i++ {
		d.img[off+i] = byte(v >> (8 * i))
	}
}

func (d *parser) putHeader(off, addr, n uintptr) {
	d.put(off, 8, uint64(addr))
	d.put(off+8, 8, uint64(n))
}

// value stores v as the value of t at offset off.
func (d *parser) value(t *Type, off uintptr, v any) error {
	switch t.kind {
	case Bool:
		b, ok := v.(bool)
		if !ok {
			return d.want("true or false", v)
		}
		if b {
			d.img[off] = 1
		}
		return nil
	case String:
		return d.string(off, v)
	case Time:
		return d.time(off, v)
	case Struct:
		return d.fields(t, off, v)
	case Array:
		return d.array(t, off, v)
	case Slice:
		return d.slice(t, off, v)
	case Pointer:
		return d.pointer(t, off, v)
	case Dict:
		return d.dict(t, off, v)
	case Table:
		return d.table(t, off, v)
	case Interface:
		return d.enveloped(t, off, v)
	case Addr, AddrPort, Prefix, Binary, Text:
		return d.coded(t, off, v)
	case Map, Sorted, List, Ref:
		return d.handle(t, off, v)
	case Complex64, Complex128:
		list, ok := v.([]any)
		if !ok || len(list) != 2 {
			return d.want("[real, imaginary]", v)
		}
		half, part := t.size/2, Float32+(t.kind-Complex64)
		if err := d.number(part, off, half, list[0]); err != nil {
			return err
		}
		return d.number(part, off+half, half, list[1])
	}
	return d.number(t.kind, off, t.size, v)
}

func (d *parser) fields(t *Type, off uintptr, v any) error {
	object, ok := v.(map[string]any)
	if !ok {
		return d.want("an object", v)
	}
	known := 0
	for i := range t.fields {
		f := &t.fields[i]
		if fv, ok := object[f.Name]; ok {
			known++
			if err := d.at("."+f.Name, f.Type, off+f.Offset, fv); err != nil {
				return err
			}
		}
	}
	if known == len(object) {
		return nil
	}
	for name := range object {
		if t.field(name) == nil {
			return d.errorf("unknown field %q; %s has no such field", name, t)
		}
	}
	return nil
}

func (d *parser) array(t *Type, off uintptr, v any) error {
	if t.isBytes() {
		b, err := d.base64(v)
		if err == nil && uintptr(len(b)) != t.length {
			err = d.errorf("want %d bytes, got %d", t.length, len(b))
		}
		if err == nil {
			copy(d.img[off:], b)
		}
		return err
	}
	list, ok := v.([]any)
	if !ok {
		return d.want("an array", v)
	}
	if uintptr(len(list)) != t.length {
		return d.errorf("want %d elements, got %d", t.length, len(list))
	}
	return d.elements(t.elem, off, list)
}

func (d *parser) elements(t *Type, off uintptr, list []any) error {
	for i, v := range list {
		d.path = append(d.path, "[", strconv.Itoa(i), "]")
		if err := d.value(t, off+uintptr(i)*t.size, v); err != nil {
			return err
		}
		d.path = d.path[:len(d.path)-3]
	}
	return nil
}

func (d *parser) slice(t *Type, off uintptr, v any) error {
	if v == nil {
		return nil
	}
	if t.isBytes() {
		b, err := d.base64(v)
		if err != nil {
			return err
		}
		at, err := d.alloc(uintptr(len(b)), 1)
		if err != nil {
			return err
		}
		copy(d.img[at:], b)
		d.putSlice(off, at, uintptr(len(b)))
		return nil
	}
	object, isObject := v.(map[string]any)
	id := uint64(0)
	if isObject && t.ident {
		done, n, inner, err := d.reference(off, t, object)
		if done || err != nil {
			return err
		}
		id, v = n, inner
	}
	list, ok := v.([]any)
	if !ok {
		return d.want("an array or null", v)
	}
	n := uintptr(len(list))
	if t.elem.size == 0 {
		if d.empty += n; d.empty > maxEmpty {
			return d.errorf("%v", ErrTooLarge)
		}
	}
	at, err := d.alloc(n*t.elem.size, t.elem.align)
	if err != nil {
		return err
	}
	if id != 0 {
		d.parts[id] = partRef{t, n | sliceBit, at}
	}
	d.putSlice(off, at, n)
	return d.elements(t.elem, at, list)
}

func (d *parser) putSlice(off, at, n uintptr) {
	d.putHeader(off, at+1, n)
	d.put(off+16, 8, uint64(n))
}

// reference handles the objects that stand for shared parts. If v is a {"$ref"}, it stores the
// address of the part at off, and the length if the part is a slice; then done is true. Otherwise it
// returns the "$id", if any, and the "$value".
func (d *parser) reference(off uintptr, t *Type, v map[string]any) (done bool, id uint64, inner any, err error) {
	if ref, ok := v["$ref"].(json.Number); ok && len(v) == 1 {
		n, _ := strconv.ParseUint(ref.String(), 10, 64)
		part, ok := d.parts[n]
		if !ok || part.typ != t {
			return false, 0, nil, d.errorf("want the $id of an earlier %s, got %s", t, ref)
		}
		if part.n&sliceBit != 0 {
			d.putSlice(off, part.off, part.n&^sliceBit)
		} else {
			d.put(off, 8, uint64(part.off+1))
		}
		return true, 0, nil, nil
	}
	inner, ok := v["$value"]
	if !ok {
		return false, 0, v, nil
	}
	known := 1
	if number, ok := v["$id"].(json.Number); ok {
		known++
		id, _ = strconv.ParseUint(number.String(), 10, 64)
		if _, twice := d.parts[id]; twice || id == 0 {
			return false, 0, nil, d.errorf("want a new $id that is not 0, got %s", number)
		}
	}
	if known != len(v) {
		return false, 0, nil, d.errorf("want only a number $id beside $value")
	}
	return false, id, inner, nil
}

func (d *parser) pointer(t *Type, off uintptr, v any) error {
	if v == nil {
		return nil
	}
	e := t.elem
	wrap := e.kind == Pointer || e.kind == Slice || e.kind == Binary || e.kind == Text || e.kind == Table || e.kind == Interface
	object, isObject := v.(map[string]any)
	if isObject && e.size != 0 {
		done, _, _, err := d.reference(off, e, object)
		if done || err != nil {
			return err
		}
	}
	if _, ok := object["$value"]; wrap && !ok {
		return d.want(`null or {"$value": …}`, v)
	}
	at, err := d.alloc(e.size, e.align)
	if err != nil {
		return err
	}
	d.put(off, 8, uint64(at+1))
	if e.size == 0 {
		return d.value(e, at, v)
	}
	return d.wrapped(e, at, v)
}

// wrapped stores v, which may be wrapped with an "$id", as the part of type t at off.
func (d *parser) wrapped(t *Type, off uintptr, v any) error {
	if object, ok := v.(map[string]any); ok {
		if _, ok := object["$value"]; ok {
			_, id, inner, err := d.reference(off, t, object)
			if err != nil {
				return err
			}
			if id != 0 {
				d.parts[id] = partRef{t, 1, off}
			}
			v = inner
		}
	}
	return d.value(t, off, v)
}

func (d *parser) handle(t *Type, off uintptr, v any) error {
	name := handleNames[t.kind]
	object, ok := v.(map[string]any)
	if !ok || len(object) != 1 {
		return d.want(`{"`+name+`": "16 hex digits"}`, v)
	}
	digits, _ := object[name].(string)
	id, err := strconv.ParseUint(digits, 16, 64)
	if err != nil || len(digits) != 16 {
		return d.errorf(`want {"%s": "16 hex digits"}, got a different object`, name)
	}
	d.put(off, 8, id)
	return nil
}

// coded stores the bytes of a coded value, as a part.
func (d *parser) coded(t *Type, off uintptr, v any) (err error) {
	var b []byte
	text, isText := v.(string)
	switch {
	case v == nil && t.kind >= Binary:
		return nil
	case t.kind == Binary:
		b, err = d.base64(v)
	case isText:
		if b, err = t.bytesOf(text); err != nil {
			err = d.errorf("want %s: %v", t, err)
		}
	default:
		text, err = d.text(v)
		b = []byte(text)
	}
	if err != nil || b == nil {
		return err
	}
	if !t.codeFits(uintptr(len(b))) {
		return d.errorf("want the bytes of %s, got %d bytes", t, len(b))
	}
	at, err := d.alloc(codedHead+uintptr(len(b)), 8)
	if err != nil {
		return err
	}
	d.put(at, 8, uint64(len(b)))
	copy(d.img[at+codedHead:], b)
	d.put(off, 8, uint64(at+1))
	return nil
}

// text returns the bytes of a string, or of an object that stands for one.
func (d *parser) text(v any) (string, error) {
	s, ok := v.(string)
	if object, isObject := v.(map[string]any); isObject && len(object) == 1 {
		if encoded, has := object["$bytes"]; has {
			b, err := d.base64(encoded)
			return string(b), err
		}
	}
	if !ok {
		return "", d.want("a string", v)
	}
	return s, nil
}

func (d *parser) string(off uintptr, v any) error {
	s, err := d.text(v)
	if err != nil {
		return err
	}
	if s == "" {
		return nil
	}
	at, err := d.alloc(uintptr(len(s)), 1)
	if err != nil {
		return err
	}
	copy(d.img[at:], s)
	d.putHeader(off, at+1, uintptr(len(s)))
	return nil
}

func (d *parser) base64(v any) ([]byte, error) {
	s, ok := v.(string)
	if !ok {
		return nil, d.want("a base64 string", v)
	}
	b, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		return nil, d.errorf("want a base64 string: %v", err)
	}
	return b, nil
}

func (d *parser) time(off uintptr, v any) error {
	var t time.Time
	switch v := v.(type) {
	case string:
		var err error
		if t, err = time.Parse(time.RFC3339Nano, v); err != nil {
			return d.errorf("want a time as in RFC 3339: %v", err)
		}
	case map[string]any:
		sec, ok1 := v["$unix"].(json.Number)
		nsec, ok2 := v["$nsec"].(json.Number)
		if !ok1 || !ok2 || len(v) != 2 {
			return d.want("a time", v)
		}
		s, err1 := sec.Int64()
		n, err2 := nsec.Int64()
		if err1 != nil || err2 != nil || n < 0 || n >= 1e9 {
			return d.want("a time", v)
		}
		t = time.Unix(s, n)
	default:
		return d.want("a time", v)
	}
	for i, w := range timeWords(t) {
		d.put(off+8*uintptr(i), 8, w)
	}
	return nil
}
