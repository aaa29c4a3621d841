package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand"
	"strings"

	"github.com/everheap/everheap"
)

// kind is a random type: its text, and what writes the binary form of a random value of it.
type kind struct {
	text  string
	write func(v *value)
}

// value is the binary form of a value that is being made; see VALUES.md.
type value struct {
	r     *rand.Rand
	b     []byte
	later []func(v *value) // the parts that pointers mention, in order
}

// whole writes a value with its parts.
func (k kind) whole(r *rand.Rand) []byte {
	v := &value{r: r}
	k.write(v)
	for i := 0; i < len(v.later); i++ {
		v.later[i](v)
	}
	return v.b
}

func (v *value) length(n int) { v.b = binary.LittleEndian.AppendUint32(v.b, uint32(n)) }

func (v *value) word(w uint64, bytes int) {
	v.b = append(v.b, binary.LittleEndian.AppendUint64(nil, w)[:bytes]...)
}

func (v *value) bytes(n int) {
	for range n {
		v.b = append(v.b, byte(v.r.Int()))
	}
}

// number is a kind of number with random bits.
func number(text string, size int) kind {
	return kind{text, func(v *value) { v.bytes(size) }}
}

// basic are the kinds without parts; keys are those that keys can be.
var (
	keys = []kind{
		{"bool", func(v *value) { v.b = append(v.b, byte(v.r.Intn(2))) }},
		number("int", 8), number("int8", 1), number("int16", 2), number("int32", 4), number("int64", 8),
		number("uint", 8), number("uint8", 1), number("uint16", 2), number("uint32", 4), number("uint64", 8),
		{"string", func(v *value) { n := v.r.Intn(9); v.length(n); v.bytes(n) }}, // any bytes, and not UTF-8 alone
		{"time.Time", func(v *value) { // of the years that Python has, in microseconds
			v.word(uint64(v.r.Int63n(2*62135596800)-62135596800), 8)
			v.word(uint64(v.r.Intn(1e6))*1000, 4)
		}},
		{"netip.Addr", func(v *value) { n := 4 + 12*v.r.Intn(2); v.length(n); v.bytes(n) }},
	}
	basic = append([]kind{
		{"float64", func(v *value) { v.word(math.Float64bits(v.r.NormFloat64()), 8) }},
		{"float32", func(v *value) { v.word(uint64(math.Float32bits(float32(v.r.NormFloat64()))), 4) }},
		{"complex128", func(v *value) { v.word(math.Float64bits(v.r.NormFloat64()), 8); v.word(math.Float64bits(-0.5), 8) }},
		{"complex64", func(v *value) {
			v.word(uint64(math.Float32bits(1.5)), 4)
			v.word(uint64(math.Float32bits(float32(v.r.NormFloat64()))), 4)
		}},
		{"time.Duration", func(v *value) { v.word(uint64(v.r.Int63n(1<<50)-1<<49)*1000, 8) }},
		{"[]byte", func(v *value) { n := v.r.Intn(9); v.length(n); v.bytes(n) }},
		{"[5]byte", func(v *value) { v.bytes(5) }},
	}, keys...)
)

// randomKey returns a kind that keys can be.
func randomKey(r *rand.Rand) kind {
	k := keys[r.Intn(len(keys))]
	switch r.Intn(6) {
	case 0:
		return structOf([]kind{k, keys[r.Intn(len(keys))]})
	case 1:
		return arrayOf(k, 2)
	}
	return k
}

// randomKind returns any kind.
func randomKind(r *rand.Rand, depth int) kind {
	if depth > 3 || r.Intn(3) == 0 {
		return basic[r.Intn(len(basic))]
	}
	elem := randomKind(r, depth+1)
	switch r.Intn(6) {
	case 0:
		return kind{"[]" + elem.text, func(v *value) {
			n := v.r.Intn(4)
			v.length(n)
			for range n {
				elem.write(v)
			}
		}}
	case 1:
		return arrayOf(elem, 1+r.Intn(3))
	case 2:
		if !strings.HasPrefix(elem.text, "*") {
			return pointerTo(elem)
		}
	case 3:
		return table("map[%s]%s", randomKey(r), elem)
	case 4:
		return table("everheap.Dict[%s, %s]", randomKey(r), elem)
	}
	fields := []kind{elem}
	for range r.Intn(4) {
		fields = append(fields, randomKind(r, depth+1))
	}
	return structOf(fields)
}

func structOf(fields []kind) kind {
	var text []string
	for i, f := range fields {
		text = append(text, fmt.Sprintf("Field%c %s", 'A'+i, f.text))
	}
	return kind{"struct{" + strings.Join(text, "; ") + "}", func(v *value) {
		for _, f := range fields {
			f.write(v)
		}
	}}
}

func arrayOf(elem kind, n int) kind {
	return kind{fmt.Sprintf("[%d]%s", n, elem.text), func(v *value) {
		for range n {
			elem.write(v)
		}
	}}
}

func pointerTo(elem kind) kind {
	return kind{"*" + elem.text, func(v *value) {
		if v.r.Intn(3) == 0 {
			v.length(0)
			return
		}
		v.later = append(v.later, elem.write)
		v.length(len(v.later) + 1)
	}}
}

// table is a map or a Dict, with different keys.
func table(text string, key, elem kind) kind {
	return kind{fmt.Sprintf(text, key.text, elem.text), func(v *value) {
		seen := map[string]bool{}
		var list [][]byte
		for range v.r.Intn(4) {
			if k := key.whole(v.r); !seen[string(k)] {
				seen[string(k)] = true
				list = append(list, k)
			}
		}
		v.length(len(list))
		for _, k := range list {
			v.b = append(v.b, k...)
			elem.write(v)
		}
	}}
}

// randomTypes makes collections of random types with random values, and an empty copy of each.
func randomTypes(s *everheap.Space, seed int64) error {
	r := rand.New(rand.NewSource(seed))
	for i := range 60 {
		key, elem := randomKey(r), randomKind(r, 0)
		spec := fmt.Sprintf("%s[%s]%s", []string{"map", "sorted"}[r.Intn(2)], key.text, elem.text)
		c, err := everheap.OpenCollection(s, fmt.Sprint("random", i), spec)
		if err != nil {
			return fmt.Errorf("%s: %w", spec, err)
		}
		if _, err := everheap.OpenCollection(s, fmt.Sprint("random", i, "_copy"), spec); err != nil {
			return err
		}
		for range 6 {
			k, v := key.whole(r), elem.whole(r)
			if err := c.As(everheap.Binary).Set(s, k, v); err != nil {
				return fmt.Errorf("%s: %x: %x: %w", spec, k, v, err)
			}
		}
	}
	return nil
}

// equalCopies compares the collections of randomTypes with their copies, byte by byte.
func equalCopies(s *everheap.Space) error {
	for i := range 60 {
		c, err := s.Collection(fmt.Sprint("random", i))
		if err != nil {
			return err
		}
		clone, err := s.Collection(fmt.Sprint("random", i, "_copy"))
		if err != nil {
			return err
		}
		n, err := clone.Len(s)
		if err != nil {
			return err
		}
		err = s.View(func(tx *everheap.Tx) error {
			for k, v := range c.As(everheap.Binary).All(tx) {
				w, err := clone.As(everheap.Binary).Get(tx, k)
				if err != nil || !bytes.Equal(v, w) {
					return fmt.Errorf("%s[%s]%s: the value of %x is\n%x, and that of the copy\n%x (%v)", c.Kind(), c.KeyType(), c.ValueType(), k, v, w, err)
				}
				n--
			}
			return nil
		})
		if err != nil || n != 0 {
			return fmt.Errorf("the copy has %d entries more than %s (%w)", n, c.Name(), err)
		}
	}
	return nil
}
