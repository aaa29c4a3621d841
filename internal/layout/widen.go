package layout

import "unsafe"

// number describes a kind of number: how many bits of a whole number it holds for sure.
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

// convertNumber stores the number of kind from at src as one of kind to, which
// from widens to.
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
