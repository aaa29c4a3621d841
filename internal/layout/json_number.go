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

// nan returns the bits of a NaN that is written with its bits.
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
