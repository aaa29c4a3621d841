package micro

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/internal/spacetest"
)

// BenchmarkDict looks keys up in a stored Dict and in a Go map of the same size, in turns: all keys,
// in random order; each key exists.
func BenchmarkDict(b *testing.B) {
	for _, n := range []int{4, 64, 1000, 100_000} {
		m, keys := numbered(n, func(i int) string { return fmt.Sprintf("attribute-%d", i) })
		stored(b, m, func(d *everheap.Dict[string, int]) {
			inTurns(b, fmt.Sprintf("string/%d", n), func(i int) { hold, _ = d.Get(keys[i%n]) }, func(i int) { hold = m[keys[i%n]] })
		})
		im, ids := numbered(n, func(i int) int { return i * 7919 })
		stored(b, im, func(d *everheap.Dict[int, int]) {
			inTurns(b, fmt.Sprintf("int/%d", n), func(i int) { hold, _ = d.Get(ids[i%n]) }, func(i int) { hold = im[ids[i%n]] })
		})
	}
}

var hold int

// inTurns measures looking up in the Dict and in the map.
func inTurns(b *testing.B, name string, dict, goMap func(i int)) {
	for _, side := range []struct {
		name string
		fn   func(i int)
	}{{"dict", dict}, {"map", goMap}} {
		b.Run(name+"/"+side.name, func(b *testing.B) {
			for i := range b.N {
				side.fn(i)
			}
		})
	}
}

// numbered returns a map with n keys, and the keys in random order.
func numbered[K comparable](n int, key func(i int) K) (map[K]int, []K) {
	m, keys := map[K]int{}, make([]K, n)
	for i := range n {
		keys[i] = key(i)
		m[keys[i]] = i
	}
	rand.Shuffle(n, func(i, j int) { keys[i], keys[j] = keys[j], keys[i] })
	return m, keys
}

// stored passes a stored Dict to fn, in place.
func stored[K comparable](b *testing.B, m map[K]int, fn func(d *everheap.Dict[K, int])) {
	s := spacetest.Scratch(b)
	all := spacetest.MapOf[string, everheap.Dict[K, int]](b, s)
	spacetest.Must(b, all.Set(s, "d", everheap.DictOf(m)))
	spacetest.View(b, s, func(tx *everheap.Tx) error {
		fn(all.Peek(tx, "d"))
		return nil
	})
}
