package layout

import (
	"strings"
	"time"
	"unsafe"

	"github.com/zeebo/xxh3"
)

// KeyError returns nil if values can be keys of a Map, else a *KeyError. Keys own
// nothing but strings: a pointer or slice has no equality that outlives a program.
func (t *Type) KeyError() error {
	return t.role("a key", func(u *Type) bool { return u.kind != Slice && u.kind != Pointer && u.kind != Dict && u.kind != Table })
}

func (t *Type) role(role string, allowed func(*Type) bool) error {
	path, bad := t.offender(allowed)
	if bad == nil {
		return nil
	}
	return &KeyError{t.String(), strings.TrimPrefix(path, "."), bad.String(), role}
}

// offender returns the first type by value in t that is not allowed, and its path.
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
// holds a NaN is refused with ErrNaN. Seed and type decide the function for good:
// hashes are stored.
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
