package micro

import (
	"context"
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

// BenchmarkEncoded_Batch stores a thousand entries in one transaction, and reads them in one version.
func BenchmarkEncoded_Batch(b *testing.B) {
	s := spacetest.Scratch(b)
	m, err := everheap.OpenMap[string, int](s, "m")
	spacetest.Must(b, err)
	var keys []string
	var forms [][]byte
	pairs := map[string][]byte{}
	for i := range 20_000 {
		key := fmt.Sprintf("key%06d", i)
		spacetest.Must(b, m.Set(s, key, i))
		if i < 1000 {
			form := append([]byte{9, 0, 0, 0}, key...)
			keys, forms, pairs[string(form)] = append(keys, key), append(forms, form), make([]byte, 8)
		}
	}
	c, err := s.Collection("m")
	spacetest.Must(b, err)
	e := c.As(everheap.Binary)
	room := make([]byte, 0, 16_000)
	for _, act := range []struct {
		name string
		do   func() error
	}{
		{"get/typed", func() error {
			return s.View(func(tx *everheap.Tx) error {
				for _, key := range keys {
					if _, err := m.Get(tx, key); err != nil {
						return err
					}
				}
				return nil
			})
		}},
		{"get/encoded", func() error {
			return s.View(func(tx *everheap.Tx) (err error) {
				to := room
				for _, form := range forms {
					if to, _, err = e.GetTo(tx, to, form); err != nil {
						return err
					}
				}
				return nil
			})
		}},
		{"set/typed", func() error {
			return s.Update(context.Background(), func(tx *everheap.Tx) error {
				for i, key := range keys {
					if err := m.Set(tx, key, i); err != nil {
						return err
					}
				}
				return nil
			})
		}},
		{"set/encoded", func() error {
			return e.SetAll(s, func(yield func(k, v []byte) bool) {
				for _, form := range forms {
					if !yield(form, pairs[string(form)]) {
						return
					}
				}
			})
		}},
	} {
		b.Run(act.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				spacetest.Must(b, act.do())
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(keys)), "ns/entry")
		})
	}
}
