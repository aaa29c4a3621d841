package demo

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"

	"github.com/everheap/everheap"
)

// Frob is the type that the demo stores: an ordinary struct with strings, a slice and a pointer. It
// needs no preparation for that.
type Frob struct {
	Foo, Bar int
	Name     string
	Tags     []string
	Next     *Frob
}

const (
	mapName  = "frobs"
	frobFoo  = 1000 // initial Foo of every Frob, which transfers move about
	window   = 8 << 30
	mostMove = 100
)

// frobs is the map.
type frobs = everheap.Map[string, Frob]

// openFrobs opens the space in a directory, and its map.
func openFrobs(dir string, opts ...everheap.Option) (*everheap.Space, frobs, error) {
	s, err := everheap.Open(dir, append(opts, everheap.WithMaxSize(window))...)
	if err != nil {
		return nil, frobs{}, err
	}
	m, err := everheap.OpenMap[string, Frob](s, mapName)
	if err != nil {
		return nil, m, errors.Join(err, s.Close())
	}
	return s, m, nil
}

// key is the key of the i-th Frob.
func key(i int) string { return fmt.Sprintf("frob-%06d", i) }

// frob makes the i-th Frob.
func frob(i int) Frob {
	return Frob{
		Foo: frobFoo, Name: fmt.Sprint("Frob number ", i), Tags: []string{"demo", fmt.Sprint("tag-", i%100)},
		Next: &Frob{Bar: i, Name: fmt.Sprint("the next of ", i)},
	}
}

// transfer moves a random amount of Foo from one random Frob to another, in one
// transaction. It calls half when the first Frob no longer has the amount, and the second does not
// have it yet.
func transfer(s *everheap.Space, m frobs, n int, half func() error) error {
	from := rand.IntN(n)
	to := (from + 1 + rand.IntN(n-1)) % n
	amount := 1 + rand.IntN(mostMove)
	return s.Update(context.Background(), func(tx *everheap.Tx) error {
		err := m.Modify(tx, key(from), func(f *Frob) error {
			f.Foo -= amount
			f.Bar++
			return nil
		})
		if err != nil {
			return err
		}
		if err := half(); err != nil {
			return err
		}
		return m.Modify(tx, key(to), func(f *Frob) error {
			f.Foo += amount
			f.Bar++
			return nil
		})
	})
}

// total counts the Frobs, and adds up their Foo, in one View.
func total(s *everheap.Space, m frobs) (count, sum int, err error) {
	err = s.View(func(tx *everheap.Tx) error {
		for _, f := range m.All(tx) {
			count++
			sum += f.Foo
		}
		return nil
	})
	return count, sum, err
}
