package micro

import (
	"fmt"
	"testing"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/internal/spacetest"
)

// BenchmarkEncoded compares operations of callers without Go types, each a transaction of its own, in
// the compact binary encoding, with those of the typed map.
func BenchmarkEncoded(b *testing.B) {
	s := spacetest.Scratch(b)
	m, err := everheap.OpenMap[string, int](s, "m")
	spacetest.Must(b, err)
	var keys []string
	var forms [][]byte
	for i := range 20_000 {
		keys = append(keys, fmt.Sprintf("key%06d", i))
		forms = append(forms, append([]byte{9, 0, 0, 0}, keys[i]...))
		spacetest.Must(b, m.Set(s, keys[i], i))
	}
	c, err := s.Collection("m")
	spacetest.Must(b, err)
	e := c.As(everheap.Binary)
	value, err := e.Get(s, forms[7])
	spacetest.Must(b, err)
	for _, act := range []struct {
		name string
		do   func(i int) error
	}{
		{"has/typed", func(i int) error { _, err := m.Has(s, keys[i]); return err }},
		{"has/encoded", func(i int) error { _, err := e.Has(s, forms[i]); return err }},
		{"get/typed", func(i int) error { _, err := m.Get(s, keys[i]); return err }},
		{"get/encoded", func(i int) error { _, err := e.Get(s, forms[i]); return err }},
		{"set/typed", func(i int) error { return m.Set(s, keys[i], i) }},
		{"set/encoded", func(i int) error { return e.Set(s, forms[i], value) }},
	} {
		b.Run(act.name, func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				spacetest.Must(b, act.do(i%len(keys)))
			}
		})
	}
}
