package main

import (
	"errors"
	"os"
	"path/filepath"

	"github.com/everheap/everheap/bench/oo7/bolt"
	"github.com/everheap/everheap/bench/oo7/native"
	"github.com/everheap/everheap/bench/oo7/objects"
	"github.com/everheap/everheap/bench/oo7/owned"
	"github.com/everheap/everheap/bench/oo7/plan"
)

// suite is one database in all implementations.
type suite struct {
	dir     string
	native  *native.Database
	objects *objects.Database
	owned   *owned.Database
	bolt    *bolt.Database
}

// build makes the database of a plan three times; what is persistent lies in dir.
func build(p *plan.Plan, dir string) (_ *suite, err error) {
	s := &suite{dir: dir, native: native.Build(p)}
	if err := os.MkdirAll(s.boltDir(), 0o700); err != nil {
		return nil, err
	}
	if s.objects, err = objects.Build(p, s.objectsDir()); err != nil {
		return nil, err
	}
	if s.owned, err = owned.Build(p, s.ownedDir()); err != nil {
		s.objects.Close()
		return nil, err
	}
	if s.bolt, err = bolt.Build(p, s.boltDir()); err != nil {
		s.objects.Close()
		s.owned.Close()
		return nil, err
	}
	return s, nil
}

// dirs are the directories of what is persistent, in the same order.
func (s *suite) dirs() []string { return []string{s.objectsDir(), s.ownedDir(), s.boltDir()} }

func (s *suite) objectsDir() string { return filepath.Join(s.dir, "refs") }
func (s *suite) ownedDir() string   { return filepath.Join(s.dir, "owned") }
func (s *suite) boltDir() string    { return filepath.Join(s.dir, "bbolt") }

// databases returns them in the order of names.
func (s *suite) databases() []plan.Database {
	return []plan.Database{s.native, s.objects, s.owned, s.bolt}
}

// names are those of the implementations: "refs" and "owned" are Everheap.
var names = []string{"pointers", "refs", "owned", "bbolt"}

// forget closes the database of an implementation and takes it out of the page cache.
// What follows is open. Pointers have nothing to close.
func (s *suite) forget(k int) error {
	if err := s.databases()[k].Close(); err != nil {
		return err
	}
	return evict(s.dirs()[k-1])
}

// open opens the database of an implementation again.
func (s *suite) open(k int) (_ plan.Database, err error) {
	switch names[k] {
	case "refs":
		s.objects, err = objects.Open(s.objectsDir())
	case "owned":
		s.owned, err = owned.Open(s.ownedDir())
	case "bbolt":
		s.bolt, err = bolt.Open(s.boltDir())
	}
	return s.databases()[k], err
}

func (s *suite) close() error { return errors.Join(s.objects.Close(), s.owned.Close(), s.bolt.Close()) }
