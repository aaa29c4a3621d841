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

// measured is the time of operations on one Frob, in a space and in Go's map.
type measured struct {
	Peek, Get, Set          time.Duration
	GoRead, GoCopy, GoWrite time.Duration
}

const rounds = 2

// kept keeps the compiler from dropping an unused copy.
//
//lint:ignore U1000 it is written only
var kept *Frob

// copy copies a Frob as a Go program would.
func (f *Frob) copy() *Frob {
	c := *f
	c.Tags = slices.Clone(f.Tags)
	if f.Next != nil {
		c.Next = f.Next.copy()
	}
	return &c
}

// measure reads and writes Frobs in random order, in the space and in a Go map under a lock, by
// turns. It reports the best round of each.
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
		keys[i] = strings.Clone(key(j)) // new strings, so that maps cannot compare them by address
	}
	b := &bench{s: s, m: m, all: all, keys: keys, values: make([]Frob, 256)}
	for i := range b.values {
		b.values[i] = *all[keys[i%len(keys)]].copy()
	}
	for range rounds {
		if err := b.round(); err != nil {
			return errors.Join(err, s.Close())
		}
	}
	return errors.Join(s.Close(), w.tell(b.best))
}

// bench measures operations on one Frob, in random order.
type bench struct {
	s      *everheap.Space
	m      frobs
	mu     sync.RWMutex // of all
	all    map[string]*Frob
	keys   []string
	values []Frob // to write
	best   measured
	sum    int // of all values read: those of the space, minus those of Go's map
}

// round measures each operation once, and keeps the times that are faster than before.
func (b *bench) round() error {
	for _, step := range []struct {
		best *time.Duration
		run  func() error
	}{
		{&b.best.GoRead, b.goRead}, {&b.best.Peek, b.peek},
		{&b.best.GoCopy, b.goCopy}, {&b.best.Get, b.get},
		{&b.best.GoWrite, b.goWrite}, {&b.best.Set, b.set},
	} {
		began := time.Now()
		if err := step.run(); err != nil {
			return err
		}
		took := time.Since(began) / time.Duration(len(b.keys))
		if *step.best == 0 || took < *step.best {
			*step.best = took
		}
	}
	if b.sum != 0 {
		return errors.New("the space and Go's map do not hold the same")
	}
	return nil
}

// goRead reads in Go's map.
func (b *bench) goRead() error {
	for _, k := range b.keys {
		b.mu.RLock()
		b.sum -= b.all[k].Foo
		b.mu.RUnlock()
	}
	return nil
}

// peek reads in the space.
func (b *bench) peek() error {
	return b.s.View(func(tx *everheap.Tx) error {
		for _, k := range b.keys {
			b.sum += b.m.Peek(tx, k).Foo
		}
		return nil
	})
}

// goCopy copies out of Go's map, under the lock, since other goroutines may write.
func (b *bench) goCopy() error {
	for _, k := range b.keys {
		b.mu.RLock()
		kept = b.all[k].copy()
		b.mu.RUnlock()
	}
	return nil
}

// get copies out of the space.
func (b *bench) get() error {
	for _, k := range b.keys {
		if _, err := b.m.Get(b.s, k); err != nil {
			return err
		}
	}
	return nil
}

// goWrite writes to Go's map a copy that only the map has.
func (b *bench) goWrite() error {
	for i, k := range b.keys {
		f := b.values[i%len(b.values)].copy()
		b.mu.Lock()
		b.all[k] = f
		b.mu.Unlock()
	}
	return nil
}

// set writes to the space.
func (b *bench) set() error {
	for i, k := range b.keys {
		if err := b.m.Set(b.s, k, b.values[i%len(b.values)]); err != nil {
			return err
		}
	}
	return nil
}
