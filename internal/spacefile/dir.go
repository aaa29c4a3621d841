// Package spacefile handles the directory of a space: its files, the locks by which
// processes share them, and what can be read from them before the space is open.
//
// Terms: the files of a space are the heap file, the journal and the live file. A process
// opens the heap file twice: for its contents, and for its locks. The gate and presence are
// locks on two bytes of the heap file. A creation creates a space. An anchor is a page of
// the heap file that names a version.
//
// Invariants: gate.go states K4 to K7, about how processes open and close a space;
// create_in.go states K11 and K12, about how they create one.
//
// Start reading at Dir, then Dir.TakeGate and Creation.Create.
package spacefile

import (
	"os"

	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/mapping"
)

// HeapName is the name of the heap file in the directory of a space. NewHeapName is the name
// of a new heap file until it replaces the present one.
const (
	HeapName    = "heap"
	NewHeapName = HeapName + ".new"
)

// A Dir is the directory of a space, for a process that opens or rewrites the space.
type Dir struct {
	*mapping.Dir
	Locks  *os.File       // the heap file, opened for its locks
	Heap   mapping.File   // the heap file; a mapping may own it
	HeapID mapping.FileID // of the file in Locks
	Header *format.Header // the header of the heap file

	system System
	wanted mapping.FileID // the heap file that the caller asked for; zero: any
	here   *mapping.Pin   // holds the shared lock on presence; nil: Locks holds it
}

// OpenDir opens the directory of a space by its path, which should be absolute. wanted is
// the heap file that the caller asks for; zero: any. system opens and moves the files.
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

// Rename renames a file of the space.
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

// CreateJournal creates the journal, with one segment.
func (d *Dir) CreateJournal() error { return d.system.createJournal(d.Dir, d.Perm()) }
