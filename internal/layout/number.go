package layout

import (
	"encoding/json"
	"errors"
	"math"
	"strconv"
	"strings"
	"time"
	"unsafe"
)

// number describes a kind of number: it holds every whole number of so many bits exactly.
type number struct {
	signed  bool
	float   bool
	complex bool
	bits    uint // of a whole number without its sign
}

var numbers = [kindEnd]number{
	Int: {signed: true, bits: 63}, Int8: {signed: true, bits: 7}, Int16: {signed: true, bits: 15},
	Int32: {signed: true, bits: 31}, Int64: {signed: true, bits: 63},
	Uint: {bits: 64}, Uint8: {bits: 8}, Uint16: {bits: 16}, Uint32: {bits: 32}, Uint64: {bits: 64},
	Float32: {signed: true, float: true, bits: 24}, Float64: {signed: true, float: true, bits: 53},
	Complex64: {complex: true, bits: 24}, Complex128: {complex: true, bits: 53},
}

func (k Kind) isNumber() bool { return numbers[k].bits != 0 }

// widens reports whether every value of kind a is one of kind b, without loss.
func widens(a, b Kind) bool {
	x, y := numbers[a], numbers[b]
	if x.bits == 0 || y.bits < x.bits || x.complex != y.complex {
		return false
	}
	if x.float {
		return y.float
	}
	return y.signed || !x.signed
}

// convertNumber stores the number of kind from at src as a number of kind to, which holds all numbers
// of from.
func convertNumber(to, from Kind, dst, src unsafe.Pointer) {
	switch n := numbers[from]; {
	case n.complex:
		*(*complex128)(dst) = complex128(*(*complex64)(src))
	case n.float:
		*(*float64)(dst) = float64(*(*float32)(src))
	case n.signed:
		storeNumber(to, dst, loadSigned(from, src))
	default:
		storeNumber(to, dst, loadUnsigned(from, src))
	}
}

func loadSigned(k Kind, p unsafe.Pointer) int64 {
	switch k {
	case Int8:
		return int64(*(*int8)(p))
	case Int16:
		return int64(*(*int16)(p))
	case Int32:
		return int64(*(*int32)(p))
	}
	return *(*int64)(p)
}

func loadUnsigned(k Kind, p unsafe.Pointer) uint64 {
	switch k {
	case Uint8:
		return uint64(*(*uint8)(p))
	case Uint16:
		return uint64(*(*uint16)(p))
	case Uint32:
		return uint64(*(*uint32)(p))
	}
	return *(*uint64)(p)
}

// storeNumber stores a whole number that the kind can hold.
func storeNumber[T int64 | uint64](k Kind, p unsafe.Pointer, v T) {
	switch scalarKinds[k].size {
	case 1:
		*(*uint8)(p) = uint8(v)
	case 2:
		*(*uint16)(p) = uint16(v)
	case 4:
		if k == Float32 {
			*(*float32)(p) = float32(v)
			return
		}
		*(*uint32)(p) = uint32(v)
	default:
		if k == Float64 {
			*(*float64)(p) = float64(v)
			return
		}
		*(*uint64)(p) = uint64(v)
	}
}

// number stores v as a number of the kind k, which has size bytes, at off.
func (d *parser) number(k Kind, off, size uintptr, v any) error {
	if k == Float32 || k == Float64 {
		bits, err := d.float(int(8*size), v)
		d.put(off, size, bits)
		return err
	}
	text, ok := v.(json.Number)
	if !ok {
		return d.want("a number", v)
	}
	var bits uint64
	var err error
	if k >= Uint {
		bits, err = strconv.ParseUint(text.String(), 10, int(8*size))
	} else {
		var n int64
		n, err = strconv.ParseInt(text.String(), 10, int(8*size))
		bits = uint64(n)
	}
	if errors.Is(err, strconv.ErrRange) {
		return d.errorf("the number %s does not fit %s", text, k)
	} else if err != nil {
		return d.want("a whole number for "+k.String(), v)
	}
	d.put(off, size, bits)
	return nil
}

// float returns the bits of a floating-point number of size bits.
func (d *parser) float(size int, v any) (uint64, error) {
	var f float64
	switch v := v.(type) {
	case json.Number:
		var err error
		if f, err = strconv.ParseFloat(v.String(), size); err != nil {
			return 0, d.errorf("the number %s does not fit float%d", v, size)
		}
	case string:
		switch {
		case v == "Infinity":
			f = math.Inf(1)
		case v == "-Infinity":
			f = math.Inf(-1)
		case v == "NaN":
			f = math.NaN()
		default:
			return d.nan(size, v)
		}
	default:
		return 0, d.want("a number", v)
	}
	if size == 32 {
		return uint64(math.Float32bits(float32(f))), nil
	}
	return math.Float64bits(f), nil
}

// nan parses a NaN that is written with its bits.
func (d *parser) nan(size int, v string) (uint64, error) {
	digits, ok := strings.CutPrefix(v, "NaN:")
	bits, err := strconv.ParseUint(digits, 16, size)
	f := math.Float64frombits(bits)
	if size == 32 {
		f = float64(math.Float32frombits(uint32(bits)))
	}
	if !ok || err != nil || f == f {
		return 0, d.want("a number", v)
	}
	return bits, nil
}

// timeWords returns the words of a time as Flatten stores them.
func timeWords(t time.Time) [3]uint64 {
	u := t.UTC()
	return *(*[3]uint64)(unsafe.Pointer(&u))
}
