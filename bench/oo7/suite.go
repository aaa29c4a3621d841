package main

import (
	"errors"
	"os"
	"path/filepath"

	"github.com/everheap/everheap/bench/oo7/bolt"
	"github.com/everheap/everheap/bench/oo7/native"
	"github.com/everheap/everheap/bench/oo7/objects"
	"github.com/everheap/everheap/bench/oo7/plan"
)

// suite is one database in all implementations.
type suite struct {
	dir     string
	native  *native.Database
	objects *objects.Database
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
	if s.bolt, err = bolt.Build(p, s.boltDir()); err != nil {
		s.objects.Close()
		return nil, err
	}
	return s, nil
}

func (s *suite) objectsDir() string { return filepath.Join(s.dir, "everheap") }
func (s *suite) boltDir() string    { return filepath.Join(s.dir, "bbolt") }

// databases returns them in the order of names.
func (s *suite) databases() []plan.Database { return []plan.Database{s.native, s.objects, s.bolt} }

// names are those of the implementations.
var names = []string{"pointers", "Everheap", "bbolt"}

// reopen closes what is persistent, takes it out of the page cache, and opens it.
func (s *suite) reopen() (err error) {
	if err := errors.Join(s.objects.Close(), s.bolt.Close()); err != nil {
		return err
	}
	if err := errors.Join(evict(s.objectsDir()), evict(s.boltDir())); err != nil {
		return err
	}
	if s.objects, err = objects.Open(s.objectsDir()); err != nil {
		return err
	}
	s.bolt, err = bolt.Open(s.boltDir())
	return err
}

func (s *suite) close() error { return errors.Join(s.objects.Close(), s.bolt.Close()) }
