package everheap_test

import (
	"math/rand/v2"
	"strconv"
	"strings"
	"time"
)

// kind is a pair of key and value types for the model tests: its keys are
// numbered, its values random.
type kind[K comparable, V any] struct {
	name  string
	key   func(i int) K
	value func(r *rand.Rand) V
}

// compound has a field of every storable sort.
type compound struct {
	Name    string
	Tags    []string
	Blob    []byte
	Scores  [3]float32
	When    time.Time
	Inner   struct{ A, B *int64 }
	Next    *compound
	Flag    bool
	Numbers []int32
	Lists   [][]uint16
}

// tripleKey is a struct as a key.
type tripleKey struct {
	A string
	B int32
	C float64
}

// oddKeys are strings that are easily got wrong; the other keys are numbered.
var oddKeys = []string{"", "\x00", "\x00\x00", "\xff\xfe", "a\x00b", "a", "é", strings.Repeat("k", 300), strings.Repeat("k", 40000)}

func stringKey(i int) string {
	if i < len(oddKeys) {
		return oddKeys[i]
	}
	return "key " + strconv.Itoa(i)
}

// randomString is short most of the time; sometimes longer than the largest
// block of an extent, or than an extent.
func randomString(r *rand.Rand) string {
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

func randomCompound(r *rand.Rand) compound {
	c := compound{Name: randomString(r), When: time.Unix(r.Int64N(1<<33), r.Int64N(1e9)).UTC(), Flag: r.IntN(2) == 0}
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
	stringToString   = kind[string, string]{"string to string", stringKey, randomString}
	stringToCompound = kind[string, compound]{"string to struct", stringKey, randomCompound}
	intToInt         = kind[int64, int64]{"int64 to int64", func(i int) int64 { return int64(i) - 50 }, func(r *rand.Rand) int64 { return r.Int64() }}
	arrayToBytes     = kind[[3]uint16, []byte]{"array to bytes", func(i int) [3]uint16 { return [3]uint16{uint16(i), 0, uint16(i / 7)} },
		func(r *rand.Rand) []byte { return []byte(randomString(r)) }}
	structToArray = kind[tripleKey, [2]*string]{"struct to array of pointers",
		func(i int) tripleKey { return tripleKey{stringKey(i / 4), int32(i % 2), float64(i % 4 / 2)} },
		func(r *rand.Rand) [2]*string {
			s := randomString(r)
			return [2]*string{0: nil, 1: &s}
		}}
	timeToUint8   = kind[time.Time, uint8]{"time to uint8", func(i int) time.Time { return time.Unix(int64(i), int64(i)).UTC() }, func(r *rand.Rand) uint8 { return uint8(r.IntN(256)) }}
	floatToStruct = kind[float64, struct{}]{"float64 to nothing", func(i int) float64 { return float64(i-9) / 3 }, func(*rand.Rand) struct{} { return struct{}{} }}
)
