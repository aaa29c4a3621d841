// Package faultdisk is a disk that fails, for tests. It passes the calls of a program to the
// real files, until a test makes it fail.
//
// It fails as a kernel does. A write that fails has written a part, and an allocation that
// fails has allocated a part. After a failed sync, the next sync of each open file of that
// name returns the error, once; a file that is opened later gets no error.
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

// Rule says which calls fail. Zero values of Ops, Files and Begin match all calls.
type Rule struct {
	Ops   []Op
	Files []string      // file names, without directories
	Begin string        // prefix of file names
	After int           // how many matching calls succeed first
	Once  bool          // only one call fails; otherwise all later ones fail as well
	Err   syscall.Errno // EIO or ENOSPC
	// Failing is called before a failed call returns; it may be nil.
	Failing func(Call)
}

// Call is a call to the disk.
type Call struct {
	Op   Op
	File string // file name, without directories
}

// String formats the call.
func (c Call) String() string { return string(c.Op) + " " + c.File }

// Disk is a disk that fails by a rule. Several goroutines may call its methods at once.
type Disk struct {
	mu     sync.Mutex
	rule   *Rule
	seen   int // how many calls matched the rule
	failed []Call
	lost   map[string]int // by path: how many syncs of the file have failed
}

// New returns a disk that works.
func New() *Disk { return &Disk{lost: map[string]int{}} }

// Fail makes calls fail by the rule, which replaces any earlier rule, and counts from 0.
func (d *Disk) Fail(r Rule) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.rule, d.seen, d.failed = &r, 0, nil
}

// Repair makes the disk work again. Open files still get the errors of failed syncs.
func (d *Disk) Repair() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.rule = nil
}

// Seen returns how many calls matched the rule.
func (d *Disk) Seen() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.seen
}

// Failed returns the calls that the rule made fail.
func (d *Disk) Failed() []Call {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.failed)
}

// turn decides whether a call fails; the error is a system error.
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

// file is a file of a Disk.
type file struct {
	mapping.File
	disk *Disk
	path string
	told int // how many failed syncs it has reported
}

// kind wraps an error as mapping.OSFile does.
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

// Datasync implements mapping.File. Every failure is an ErrIO, as in mapping.OSFile.
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

// tell reports whether a sync of the file has failed that this file has not reported yet,
// and notes that it reports it now.
func (f *file) tell() bool {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	lost := f.disk.lost[f.path]
	untold := f.told < lost
	f.told = lost
	return untold
}
