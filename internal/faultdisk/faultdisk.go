// Package faultdisk is a disk that fails, for tests: it passes what a program does
// to its files on to the real ones, until it is told to fail.
//
// It fails as a kernel does. A write that fails has written a part, an allocation
// has allocated one. When a sync fails, each open file of that name is told once, by
// its next sync; a file that is opened later is not told.
//
// Start reading at Disk.Fail.
package faultdisk

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"

	"github.com/everheap/everheap/internal/mapping"
)

// Op is a kind of call.
type Op string

// The kinds.
const (
	Open     Op = "open"
	Read     Op = "read"
	Write    Op = "write"
	Truncate Op = "truncate"
	Allocate Op = "allocate"
	Sync     Op = "sync"
	Rename   Op = "rename"
	SyncDir  Op = "sync the directory"
)

// Rule says which calls fail. The zero values of Ops, Files and Begin stand for all.
type Rule struct {
	Ops   []Op
	Files []string      // names without directories
	Begin string        // how names begin
	After int           // calls that the rule is about and that succeed before
	Once  bool          // one call fails; else all from then on
	Err   syscall.Errno // EIO or ENOSPC
	// Failing is called before a failed call returns; nil: nothing is.
	Failing func(Call)
}

// Call is a call that was made.
type Call struct {
	Op   Op
	File string // name without directories
}

// String shows the call.
func (c Call) String() string { return string(c.Op) + " " + c.File }

// Disk is a disk that fails when it is told to. Its methods may be called by several
// goroutines.
type Disk struct {
	mu     sync.Mutex
	rule   *Rule
	seen   int // calls that the rule is about
	failed []Call
	lost   map[string]int // by path: syncs of the file that failed
}

// New returns a disk that works.
func New() *Disk { return &Disk{lost: map[string]int{}} }

// Fail makes calls fail by the rule, in place of any rule before, and counts anew.
func (d *Disk) Fail(r Rule) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.rule, d.seen, d.failed = &r, 0, nil
}

// Repair makes the disk work again. It tells of failed syncs still.
func (d *Disk) Repair() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.rule = nil
}

// Seen returns how many calls the rule was about.
func (d *Disk) Seen() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.seen
}

// Failed returns the calls that failed by the rule.
func (d *Disk) Failed() []Call {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.failed)
}

// turn decides on a call; the error is the system's.
func (d *Disk) turn(op Op, path string) error {
	d.mu.Lock()
	c := Call{op, filepath.Base(path)}
	r := d.rule
	if r == nil || r.Ops != nil && !slices.Contains(r.Ops, op) || r.Files != nil && !slices.Contains(r.Files, c.File) || !strings.HasPrefix(c.File, r.Begin) {
		d.mu.Unlock()
		return nil
	}
	d.seen++
	if d.seen <= r.After || r.Once && d.seen > r.After+1 {
		d.mu.Unlock()
		return nil
	}
	d.failed = append(d.failed, c)
	if op == Sync {
		d.lost[path]++
	}
	d.mu.Unlock()
	if r.Failing != nil {
		r.Failing(c)
	}
	return &os.PathError{Op: string(op), Path: path, Err: r.Err}
}

// OpenFile opens a file, as mapping.OpenFile does.
func (d *Disk) OpenFile(path string, flag int, perm os.FileMode) (mapping.File, error) {
	if err := d.turn(Open, path); err != nil {
		return nil, err
	}
	f, err := mapping.OpenFile(path, flag, perm)
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return &file{File: f, disk: d, path: path, told: d.lost[path]}, nil
}

// Rename is os.Rename.
func (d *Disk) Rename(from, to string) error {
	if err := d.turn(Rename, to); err != nil {
		return err
	}
	return os.Rename(from, to)
}

// SyncDir is mapping.SyncDir.
func (d *Disk) SyncDir(dir string) error {
	if err := d.turn(SyncDir, dir); err != nil {
		return fmt.Errorf("%w: %w", mapping.ErrIO, err)
	}
	return mapping.SyncDir(dir)
}

// file is one that fails.
type file struct {
	mapping.File
	disk *Disk
	path string
	told int // of failed syncs
}

// kind makes an error what mapping.OSFile makes of it.
func kind(err error) error {
	if errors.Is(err, syscall.ENOSPC) {
		return fmt.Errorf("%w: %w", mapping.ErrNoSpace, err)
	}
	return fmt.Errorf("%w: %w", mapping.ErrIO, err)
}

// ReadAt implements mapping.File.
func (f *file) ReadAt(p []byte, off int64) (int, error) {
	if err := f.disk.turn(Read, f.path); err != nil {
		n, _ := f.File.ReadAt(p[:len(p)/2], off)
		return n, kind(err)
	}
	return f.File.ReadAt(p, off)
}

// WriteAt implements mapping.File.
func (f *file) WriteAt(p []byte, off int64) (int, error) {
	if err := f.disk.turn(Write, f.path); err != nil {
		n, _ := f.File.WriteAt(p[:len(p)/2], off)
		return n, kind(err)
	}
	return f.File.WriteAt(p, off)
}

// Truncate implements mapping.File.
func (f *file) Truncate(size int64) error {
	if err := f.disk.turn(Truncate, f.path); err != nil {
		return kind(err)
	}
	return f.File.Truncate(size)
}

// Allocate implements mapping.File.
func (f *file) Allocate(off, n int64) error {
	if err := f.disk.turn(Allocate, f.path); err != nil {
		if n > 1 {
			_ = f.File.Allocate(off, n/2)
		}
		return kind(err)
	}
	return f.File.Allocate(off, n)
}

// Datasync implements mapping.File: whatever the reason, data did not arrive.
func (f *file) Datasync() error {
	err := f.disk.turn(Sync, f.path)
	if untold := f.tell(); err == nil && untold {
		err = &os.PathError{Op: string(Sync), Path: f.path, Err: syscall.EIO}
	}
	if err != nil {
		return fmt.Errorf("%w: %w", mapping.ErrIO, err)
	}
	return f.File.Datasync()
}

// tell reports whether a sync has failed since the file was told last, and notes that
// it is told now.
func (f *file) tell() bool {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	lost := f.disk.lost[f.path]
	untold := f.told < lost
	f.told = lost
	return untold
}
