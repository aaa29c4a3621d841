package micro

import (
	"fmt"
	"testing"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/internal/spacetest"
)

// member has a field for each kind of index.
type member struct {
	Email string
	City  string
	Score int64
	Note  [64]byte
}

const members = 20_000

func memberOf(i int) member {
	return member{Email: fmt.Sprintf("user%07d@example.org", i), City: fmt.Sprint("city ", i%500), Score: int64(i)}
}

// membersOf makes a map, with the indexes of the options.
func membersOf(b *testing.B, opts ...everheap.TypeOption) (*everheap.Space, everheap.Map[int, member]) {
	s := spacetest.Scratch(b, everheap.WithMaxSize(1<<30))
	m, err := everheap.OpenMap[int, member](s, "m", opts...)
	spacetest.Must(b, err)
	spacetest.Update(b, s, func(tx *everheap.Tx) error {
		for i := range members {
			if err := m.Set(tx, i, memberOf(i)); err != nil {
				return err
			}
		}
		return nil
	})
	return s, m
}

// Sets, each a transaction: without an index, with an index that the change does not affect, and with
// an index in which it moves an entry.
func BenchmarkIndexed_Set(b *testing.B) {
	for _, c := range []struct {
		name  string
		moves bool
		opts  []everheap.TypeOption
	}{
		{"none", false, nil},
		{"unchanged", false, []everheap.TypeOption{everheap.WithIndex("email", "Email", everheap.Unique)}},
		{"changed", true, []everheap.TypeOption{everheap.WithIndex("score", "Score")}},
		{"unique changed", true, []everheap.TypeOption{everheap.WithIndex("score", "Score", everheap.Unique)}},
		{"three unchanged", false, []everheap.TypeOption{everheap.WithIndex("email", "Email", everheap.Unique), everheap.WithIndex("city", "City"), everheap.WithIndex("score", "Score")}},
	} {
		b.Run(c.name, func(b *testing.B) {
			s, m := membersOf(b, c.opts...)
			list := make([]member, members)
			for i := range list {
				list[i] = memberOf(i)
			}
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				k := i * 7919 % members
				if c.moves {
					list[k].Score += members
				}
				if err := m.Set(s, k, list[k]); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// Lookups by a field, 1,000 in one View: by a unique index, and by a Go map from the field to the key
// and another from the key to the value.
func BenchmarkIndexed_Peek(b *testing.B) {
	emails := make([]string, members)
	for i := range emails {
		emails[i] = memberOf(i).Email
	}
	b.Run("index", func(b *testing.B) {
		s, m := membersOf(b, everheap.WithIndex("email", "Email", everheap.Unique))
		byEmail := everheap.IndexOf[member, string](m, "email")
		b.ReportAllocs()
		for i := 0; i < b.N; {
			spacetest.View(b, s, func(tx *everheap.Tx) error {
				for range min(1000, b.N-i) {
					if _, v := byEmail.Peek(tx, emails[i*7919%members]); v == nil {
						b.Fatal("it is not there")
					}
					i++
				}
				return nil
			})
		}
	})
	b.Run("Go maps", func(b *testing.B) {
		keys, values := map[string]int{}, map[int]*member{}
		for i, e := range emails {
			v := memberOf(i)
			keys[e], values[i] = i, &v
		}
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			if v := values[keys[emails[i*7919%members]]]; v == nil {
				b.Fatal("it is not there")
			}
		}
	})
}
