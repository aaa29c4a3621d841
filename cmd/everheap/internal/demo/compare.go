package demo

import (
	"bufio"
	"encoding/gob"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/everheap/everheap"
)

// saveGob writes all Frobs to a file, as a program without a space would.
func saveGob(dir, path string) error {
	s, m, err := openFrobs(dir, everheap.WithReadOnly())
	if err != nil {
		return err
	}
	all, err := clone(s, m)
	if err = errors.Join(err, s.Close()); err != nil {
		return err
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	w := bufio.NewWriterSize(f, 1<<20)
	return errors.Join(gob.NewEncoder(w).Encode(all), w.Flush(), f.Close())
}

// clone copies all Frobs to Go's memory.
func clone(s *everheap.Space, m frobs) (map[string]*Frob, error) {
	all := map[string]*Frob{}
	err := s.View(func(tx *everheap.Tx) error {
		for k, f := range m.All(tx) {
			all[k] = everheap.Clone(f)
		}
		return nil
	})
	return all, err
}

// gob loads the file that saveGob wrote, up to the first value read.
func (w *worker) gob(args []string) error {
	began := time.Now()
	f, err := os.Open(args[0])
	if err != nil {
		return err
	}
	defer f.Close()
	all := map[string]*Frob{}
	if err := gob.NewDecoder(bufio.NewReaderSize(f, 1<<20)).Decode(&all); err != nil {
		return err
	}
	if all[key(w.n/2)] == nil {
		return fmt.Errorf("%s lacks a Frob", args[0])
	}
	return w.tell(opened{Open: time.Since(began), Count: len(all)})
}

// measured is what operations on one Frob take, in a space and in Go's map.
type measured struct {
	Peek, Get, Set          time.Duration
	GoRead, GoCopy, GoWrite time.Duration
}

const rounds = 2

// kept keeps the compiler from leaving out a copy that nothing uses.
var kept *Frob

// copy is what a Go program would write to get a copy of its own.
func (f *Frob) copy() *Frob {
	c := *f
	c.Tags = slices.Clone(f.Tags)
	if f.Next != nil {
		c.Next = f.Next.copy()
	}
	return &c
}

// measure reads and writes Frobs in random order, in the space and in a Go map
// under a lock, by turns, and tells the best of the rounds for each.
func (w *worker) measure() error {
	s, m, err := openFrobs(w.dir)
	if err != nil {
		return err
	}
	all, err := clone(s, m)
	if err != nil {
		return err
	}
	keys := make([]string, w.n)
	for i, j := range rand.Perm(w.n) {
		keys[i] = strings.Clone(key(j)) // not the very strings that the maps have
	}
	var best measured
	for range rounds {
		if err := best.round(s, m, all, keys); err != nil {
			return errors.Join(err, s.Close())
		}
	}
	return errors.Join(s.Close(), w.tell(best))
}

// round measures each operation once, and keeps what was faster than before.
func (b *measured) round(s *everheap.Space, m frobs, all map[string]*Frob, keys []string) error {
	var mu sync.RWMutex
	sum := 0
	values := make([]Frob, 256)
	for i := range values {
		values[i] = *all[keys[i%len(keys)]].copy()
	}
	steps := []struct {
		best *time.Duration
		run  func() error
	}{
		{&b.GoRead, func() error {
			for _, k := range keys {
				mu.RLock()
				sum += all[k].Foo
				mu.RUnlock()
			}
			return nil
		}},
		{&b.Peek, func() error {
			return s.View(func(tx *everheap.Tx) error {
				for _, k := range keys {
					sum -= m.Peek(tx, k).Foo
				}
				return nil
			})
		}},
		{&b.Get, func() error {
			for _, k := range keys {
				if _, err := m.Get(s, k); err != nil {
					return err
				}
			}
			return nil
		}},
		{&b.GoCopy, func() error {
			for _, k := range keys {
				mu.RLock()
				kept = all[k].copy()
				mu.RUnlock()
			}
			return nil
		}},
		{&b.GoWrite, func() error {
			for i, k := range keys {
				f := values[i%len(values)].copy()
				mu.Lock()
				all[k] = f
				mu.Unlock()
			}
			return nil
		}},
		{&b.Set, func() error {
			for i, k := range keys {
				if err := m.Set(s, k, values[i%len(values)]); err != nil {
					return err
				}
			}
			return nil
		}},
	}
	for _, step := range steps {
		began := time.Now()
		if err := step.run(); err != nil {
			return err
		}
		took := time.Since(began) / time.Duration(len(keys))
		if *step.best == 0 || took < *step.best {
			*step.best = took
		}
	}
	if sum != 0 {
		return errors.New("the space and Go's map do not hold the same")
	}
	return nil
}
