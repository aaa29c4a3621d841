package layout

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
)

// The stored form of a descriptor is a version byte, the number of types, and each
// type that the first one mentions in the order of first mention, depth first. Numbers
// are unsigned varints, strings a length and bytes. A type is
//
//	kind, name, size, align
//	array: length, element      slice, pointer, list, ref: element
//	map, sorted: key, value     struct: number of fields, for each
//	                            name, tag, offset, type
//
// where other types are given by their place in the list.
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

// Digest returns the digest by which an encoded descriptor is found again.
func Digest(encoded []byte) string {
	sum := sha256.Sum256(encoded)
	return string(sum[:16])
}

// Same reports whether a and b have the same layout and the same names of types and
// fields. Tags do not count: they say how to convert, not what is stored.
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
