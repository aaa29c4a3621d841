package work

import (
	"fmt"

	"github.com/everheap/everheap/bench/peers/engines"
	"github.com/everheap/everheap/bench/peers/model"
)

// indexed finds users by their mail addresses, which have a unique index, and replaces
// records: without the index, with it and the same address, and with a new address.
func (b *Bench) indexed(dir string) error {
	plain, err := subdir(dir, "plain")
	if err != nil {
		return err
	}
	workers := newWorkers(1, 5000)
	t := workers[0]
	emails := make([]string, b.N)
	for i := range emails {
		var u model.User
		newUser(i, &u)
		emails[i] = u.Email
	}
	draw := func() (int, *model.User) {
		i := t.rng.N(b.N)
		u := t.pool.Take(i, int64(i))
		u.Email = emails[i]
		return i, u
	}
	o, err := b.loaded(plain, b.N, engines.Options{Durability: engines.Async}, 1)
	if err != nil {
		return err
	}
	if err := b.point(o, "put-no-index", "async", 1, loop{times: true, call: func(s engines.Session, w int) error {
		i, u := draw()
		return s.Put(t.key.Key(i), u)
	}}); err != nil {
		return err
	}
	if err := o.close(); err != nil {
		return err
	}
	with, err := subdir(dir, "indexed")
	if err != nil {
		return err
	}
	if o, err = b.loaded(with, b.N, engines.Options{Durability: engines.Async, Indexed: true}, 1); err != nil {
		return err
	}
	if err := b.point(o, "lookup", "", 1, loop{call: func(s engines.Session, w int) error {
		_, err := s.(engines.Indexer).ByEmail(emails[t.rng.N(b.N)])
		return err
	}}); err != nil {
		return err
	}
	if err := b.point(o, "put-same", "async", 1, loop{times: true, call: func(s engines.Session, w int) error {
		i, u := draw()
		return s.(engines.Indexer).PutIndexed(t.key.Key(i), u)
	}}); err != nil {
		return err
	}
	moves := 0
	if err := b.point(o, "put-moved", "async", 1, loop{times: true, call: func(s engines.Session, w int) error {
		i, u := draw()
		moves++
		u.Email = fmt.Sprintf("%010d@%07d.org", moves, i)
		emails[i] = u.Email
		return s.(engines.Indexer).PutIndexed(t.key.Key(i), u)
	}}); err != nil {
		return err
	}
	return o.close()
}
