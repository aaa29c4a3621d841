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

// reopen closes what is persistent, takes it out of the page cache, and opens it.
func (s *suite) reopen() (err error) {
	if err := errors.Join(s.objects.Close(), s.owned.Close(), s.bolt.Close()); err != nil {
		return err
	}
	for _, dir := range s.dirs() {
		if err := evict(dir); err != nil {
			return err
		}
	}
	if s.objects, err = objects.Open(s.objectsDir()); err != nil {
		return err
	}
	if s.owned, err = owned.Open(s.ownedDir()); err != nil {
		return err
	}
	s.bolt, err = bolt.Open(s.boltDir())
	return err
}

func (s *suite) close() error { return errors.Join(s.objects.Close(), s.owned.Close(), s.bolt.Close()) }
