// Package spacefile has the directory of a space: its files, the locks by which processes
// use them, and what they say before the space is open.
//
// Terms: the heap file, the journal and the live file are the files of a space. The
// heap file is opened twice: for its contents, and for its locks. The gate and the
// presence are locks on two of its bytes. A creation makes a space. An anchor is a page
// of the heap file that names a version.
//
// Invariants: K4 to K7, of how processes come and go, are stated in gate.go; K11 and
// K12, of how a space comes to be, in create_in.go.
//
// Start reading at Dir, then Dir.TakeGate and Creation.Create.
package spacefile

import (
	"os"

	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/mapping"
)

// HeapName is the name of the heap file in the directory of a space. NewHeapName is that of
// one which is to take its place, until it has.
const (
	HeapName    = "heap"
	NewHeapName = HeapName + ".new"
)

// A Dir is the directory of a space. A process that opens the space, or rewrites it as a
// whole, has one.
type Dir struct {
	*mapping.Dir
	Locks  *os.File       // the heap file, opened for its locks
	Heap   mapping.File   // the heap file; a mapping may own it
	HeapID mapping.FileID // of the heap file whose locks are there
	Header *format.Header // of the heap file

	system System
	wanted mapping.FileID // the heap file that was asked for; zero: whichever is there
	here   *mapping.Pin   // of the shared lock of presence; nil: Locks has it
}

// OpenDir opens the directory of a space by its path, which should be absolute. wanted is
// the heap file that the caller asks for; zero: whichever is there. system opens and moves
// the files.
func OpenDir(path string, wanted mapping.FileID, system System) (*Dir, error) {
	dir, err := mapping.OpenDir(path)
	if err != nil {
		return nil, err
	}
	return &Dir{Dir: dir, wanted: wanted, system: system}, nil
}

// OpenFile opens a file of the space. A file that it creates gets the owner of the heap
// file.
func (d *Dir) OpenFile(name string, flag int, perm os.FileMode) (mapping.File, error) {
	return d.system.Open(d.Dir, name, flag, perm)
}

// Rename moves a file of the space.
func (d *Dir) Rename(from, to string) error { return d.system.Move(d.Dir, from, to) }

// SyncNames makes the names of the files of the space durable.
func (d *Dir) SyncNames() error { return d.system.SyncNames(d.Dir) }

// SyncName makes the name of the directory of the space durable.
func (d *Dir) SyncName() error { return d.system.SyncName(d.Dir) }

// Perm returns the permissions of the heap file, which all files of the space have.
func (d *Dir) Perm() os.FileMode {
	if info, err := d.Locks.Stat(); err == nil {
		return info.Mode().Perm()
	}
	return 0o600
}

// CreateJournal makes the journal with one segment.
func (d *Dir) CreateJournal() error { return d.system.createJournal(d.Dir, d.Perm()) }
