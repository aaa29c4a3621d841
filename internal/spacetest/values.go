//go:build unix

package spacetest

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
	"unsafe"

	"github.com/everheap/everheap"
)

// Kind is a pair of key and value types for the model tests. Its keys are numbered, its
// values are random.
type Kind[K comparable, V any] struct {
	Name  string
	Key   func(i int) K
	Value func(r *rand.Rand) V
}

// Compound has a field of every storable type.
type Compound struct {
	Name    string
	Tags    []string
	Blob    []byte
	Scores  [3]float32
	When    time.Time
	Inner   struct{ A, B *int64 }
	Next    *Compound
	Flag    bool
	Numbers []int32
	Lists   [][]uint16
}

// TripleKey is a struct as a key.
type TripleKey struct {
	A string
	B int32
	C float64
}

// oddKeys has strings that are easy to get wrong; the other keys are numbered.
var oddKeys = []string{"", "\x00", "\x00\x00", "\xff\xfe", "a\x00b", "a", "é", strings.Repeat("k", 300), strings.Repeat("k", 40000)}

// StringKey returns a key: an odd one, or a numbered one.
func StringKey(i int) string {
	if i < len(oddKeys) {
		return oddKeys[i]
	}
	return "key " + strconv.Itoa(i)
}

// RandomString returns a string that is usually short, and sometimes longer than the largest
// block of an extent or than an extent.
func RandomString(r *rand.Rand) string {
	n := r.IntN(100)
	switch r.IntN(100) {
	case 0:
		n = 32<<10 + r.IntN(200)
	case 1:
		n = 64<<10 - 100 + r.IntN(200)
	case 2:
		n = 100<<10 + r.IntN(100<<10)
	case 3, 4, 5:
		n = r.IntN(5000)
	}
	b := make([]byte, n)
	for i := range b {
		b[i] = byte('a' + (i+n)%26)
	}
	if n >= 8 {
		copy(b, strconv.FormatUint(r.Uint64(), 16))
	}
	return string(b)
}

func randomCompound(r *rand.Rand) Compound {
	c := Compound{Name: RandomString(r), When: time.Unix(r.Int64N(1<<33), r.Int64N(1e9)).UTC(), Flag: r.IntN(2) == 0}
	for range r.IntN(4) {
		c.Tags = append(c.Tags, strconv.Itoa(r.IntN(1000)))
		c.Numbers = append(c.Numbers, r.Int32())
		c.Lists = append(c.Lists, make([]uint16, r.IntN(3)+1))
	}
	if n := len(c.Name) / 2; n > 0 {
		c.Blob = []byte(c.Name)[:n]
	}
	c.Scores[r.IntN(3)] = r.Float32()
	if r.IntN(2) == 0 {
		n := r.Int64()
		c.Inner.A, c.Inner.B = &n, &n
	}
	if r.IntN(4) == 0 {
		next := randomCompound(r)
		c.Next = &next
	}
	return c
}

var (
	StringToString   = Kind[string, string]{"string to string", StringKey, RandomString}
	StringToCompound = Kind[string, Compound]{"string to struct", StringKey, randomCompound}
	IntToInt         = Kind[int64, int64]{"int64 to int64", func(i int) int64 { return int64(i) - 50 }, func(r *rand.Rand) int64 { return r.Int64() }}
	ArrayToBytes     = Kind[[3]uint16, []byte]{"array to bytes", func(i int) [3]uint16 { return [3]uint16{uint16(i), 0, uint16(i / 7)} },
		func(r *rand.Rand) []byte { return []byte(RandomString(r)) }}
	StructToArray = Kind[TripleKey, [2]*string]{"struct to array of pointers",
		func(i int) TripleKey { return TripleKey{StringKey(i / 4), int32(i % 2), float64(i % 4 / 2)} },
		func(r *rand.Rand) [2]*string {
			s := RandomString(r)
			return [2]*string{0: nil, 1: &s}
		}}
	TimeToUint8   = Kind[time.Time, uint8]{"time to uint8", func(i int) time.Time { return time.Unix(int64(i), int64(i)).UTC() }, func(r *rand.Rand) uint8 { return uint8(r.IntN(256)) }}
	FloatToStruct = Kind[float64, struct{}]{"float64 to nothing", func(i int) float64 { return float64(i-9) / 3 }, func(*rand.Rand) struct{} { return struct{}{} }}
)

// Convert turns a handle of one type into a handle of another type. A program should not do
// that, but can get such a handle in other ways, for example from JSON.
func Convert[H, G any](h H) G { return *(*G)(unsafe.Pointer(&h)) }

// SortedKey returns a key. All keys share a long prefix, so that the words of nodes begin late.
func SortedKey(i int) string { return fmt.Sprintf("the key with the number %04d", i) }

// Named is a string type with a name.
type Named string

// CompareKeys compares two keys part by part, as the documentation says.
func CompareKeys(a, b reflect.Value) int {
	if x, ok := a.Interface().(time.Time); ok {
		return x.Compare(b.Interface().(time.Time))
	}
	sign := func(less, greater bool) int {
		switch {
		case less:
			return -1
		case greater:
			return 1
		}
		return 0
	}
	switch {
	case a.Kind() == reflect.Bool:
		return sign(!a.Bool() && b.Bool(), a.Bool() && !b.Bool())
	case a.CanInt():
		return sign(a.Int() < b.Int(), a.Int() > b.Int())
	case a.CanUint():
		return sign(a.Uint() < b.Uint(), a.Uint() > b.Uint())
	case a.CanFloat():
		return sign(a.Float() < b.Float(), a.Float() > b.Float())
	case a.Kind() == reflect.String:
		return bytes.Compare([]byte(a.String()), []byte(b.String()))
	case a.Kind() == reflect.Array:
		for i := range a.Len() {
			if c := CompareKeys(a.Index(i), b.Index(i)); c != 0 {
				return c
			}
		}
	case a.Type().Implements(reflect.TypeFor[interface{ ID() everheap.ID }]()):
		x, y := a.Interface().(interface{ ID() everheap.ID }).ID(), b.Interface().(interface{ ID() everheap.ID }).ID()
		return sign(x < y, x > y)
	default:
		for i := range a.NumField() {
			if c := CompareKeys(a.Field(i), b.Field(i)); c != 0 {
				return c
			}
		}
	}
	return 0
}

// Index returns how many of the sorted keys are less than a key, and whether the key is
// among them.
func Index[K comparable](keys []K, key K) (int, bool) {
	return slices.BinarySearchFunc(keys, key, func(a, b K) int { return CompareKeys(reflect.ValueOf(a), reflect.ValueOf(b)) })
}
