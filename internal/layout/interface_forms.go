package layout

import (
	"encoding/binary"
	"runtime"
	"unsafe"
)

// Interfaces as JSON and in the compact form.

// enveloped writes the interface at p: the name of the concrete type, and the value.
func (w *printer) enveloped(p unsafe.Pointer) (err error) {
	b := codedBytes(p)
	if b == nil {
		w.b = append(w.b, "null"...)
		return nil
	}
	if w.depth++; w.depth > maxDepth {
		return ErrTooDeep
	}
	e, _ := openEnvelope(b) // it was checked
	learn(e.name, e.typ)
	d, err := e.value()
	if err != nil {
		return err
	}
	w.b = append(appendString(append(w.b, `{"type":`...), e.name), `,"value":`...)
	w.b, err = e.typ.appendJSON(w.b, d.Pointer(), d.Bounds(), &printer{depth: w.depth, most: w.most})
	runtime.KeepAlive(d)
	w.b = append(w.b, '}')
	w.depth--
	return err
}

// enveloped stores an interface: null, or an object with the name of the concrete type and the value.
func (d *parser) enveloped(t *Type, off uintptr, v any) error {
	if v == nil {
		return nil
	}
	const want = `null or {"type": "…", "value": …}`
	object, ok := v.(map[string]any)
	if !ok {
		return d.want(want, v)
	}
	name, named := object["type"].(string)
	value, has := object["value"]
	switch {
	case !named || !has || len(object) != 2:
		return d.errorf("want %s, got a different object", want)
	case d.nested >= maxEnveloped:
		return d.errorf("%v", ErrEnveloped)
	}
	typ, err := concrete(name)
	if err != nil {
		return d.errorf("%v", err)
	}
	if typ == nil {
		err := d.errorf("the type %q is not known: let a program that has registered it store a value of it in the collection first", name).(*JSONError)
		err.Unknown = name
		return err
	}
	d.path = append(d.path, ".value")
	defer func() { d.path = d.path[:len(d.path)-1] }()
	in := parser{root: typ, nested: d.nested + 1}
	made, err := in.whole(value, false)
	if e, ok := err.(*JSONError); ok { // its path continues this one
		step := e.Path
		if step != "" && step[0] != '[' {
			step = "." + step
		}
		outer := d.errorf("%s", e.What).(*JSONError)
		outer.Path, outer.Unknown = outer.Path+step, e.Unknown
		return outer
	}
	if err != nil {
		return err
	}
	return d.putEnvelope(off, name, typ, made)
}

// putEnvelope stores a value in an interface.
func (d *parser) putEnvelope(off uintptr, name string, t *Type, v *Detached) error {
	b, err := resealed(name, t, v.Pointer(), v.Bounds())
	runtime.KeepAlive(v)
	if err != nil {
		return err
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

// enveloped writes the interface at p: how many bytes follow, the name of the concrete type,
// its descriptor, and the compact form of the value.
func (w *packer) enveloped(p unsafe.Pointer) {
	b := codedBytes(p)
	switch {
	case w.err != nil:
		return
	case b == nil:
		w.length(nilLength)
		return
	}
	e, _ := openEnvelope(b) // it was checked
	learn(e.name, e.typ)
	d, err := e.value()
	if err != nil {
		w.err = err
		return
	}
	at := len(w.b)
	w.length(0)
	w.length(uintptr(len(e.name)))
	w.b = append(w.b, e.name...)
	w.length(uintptr(len(e.bytes)))
	w.b = append(w.b, e.bytes...)
	w.b, w.err = e.typ.appendCompact(w.b, d.Pointer(), d.Bounds(), w.most)
	runtime.KeepAlive(d)
	if n := len(w.b) - at - 4; n > maxOwned {
		w.err = ErrTooLarge
	} else {
		binary.LittleEndian.PutUint32(w.b[at:], uint32(n))
	}
}

// enveloped reads an interface to the offset.
func (u *unpacker) enveloped(off uintptr) error {
	n, err := u.length()
	if err != nil || n == nilLength {
		return err
	}
	if n > uintptr(len(u.b)-u.pos) {
		_, err := u.take(n)
		return err
	}
	if u.d.nested >= maxEnveloped {
		return u.errorf("%v", ErrEnveloped)
	}
	end := u.pos + int(n)
	in := unpacker{b: u.b[:end], pos: u.pos}
	in.d.root = u.d.root
	name, err := in.text()
	if err != nil {
		return err
	}
	descriptor, err := in.text()
	if err != nil {
		return err
	}
	var typ *Type
	if len(descriptor) > 0 {
		typ, err = descriptorOf(descriptor)
	} else {
		typ, err = concrete(string(name))
	}
	if err != nil {
		return in.errorf("the type %q: %v", name, err)
	}
	if typ == nil {
		err := in.errorf("the type %q is not known: let a program that has registered it store a value of it in the collection first", name).(*CompactError)
		err.Unknown = string(name)
		return err
	}
	if len(name) == 0 || len(name) > maxTypeName {
		return in.errorf("want a shorter name of a type, got %d bytes", len(name))
	}
	value := unpacker{b: in.b, pos: in.pos}
	value.d = parser{root: typ, nested: u.d.nested + 1}
	made, err := value.whole(false)
	if err != nil {
		return err
	}
	u.pos = end
	if err := u.d.putEnvelope(off, string(name), typ, made); err != nil {
		return u.errorf("%v", err)
	}
	return nil
}

// text reads a length and bytes.
func (u *unpacker) text() ([]byte, error) {
	n, err := u.length()
	if err != nil {
		return nil, err
	}
	return u.take(n)
}
