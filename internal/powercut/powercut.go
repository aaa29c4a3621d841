//go:build unix

// Package powercut simulates power losses, for tests. It watches the changes that a program
// makes to its files, and builds contents that a disk may have after a power loss at any
// moment.
//
// Terms: a moment is a number that increases with each look at the files. A cut is a power
// loss. An image is the contents of the files after a cut. An image has all writes from
// before the last completed sync of a file began. Of each page that was written later, it
// may have the old contents or those of any moment since, torn at sectors. The size of a
// file is that at the last sync, or any later one.
//
// A test can make a sync fail, as a kernel does: the pages that it should have written are
// not on disk, and no later sync writes them, unless the program changes them again or marks
// them as dirty. Each open file gets the error once.
//
// A file NAME.new that is renamed to NAME replaces it. From the moment at which Disk sees
// that, an image may have the new file or still the old one, until the test says that the
// directory is on disk (Settle). Disk follows other files that are created and removed by
// their inodes (Follow).
//
// A file that is written through a mapping changes without a call. Disk notices the change
// when it looks: before and after each call to a file, and in Observe, which a test calls as
// often as it can.
//
// Start reading at Disk, then Image.
package powercut

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"

	"github.com/everheap/everheap/internal/mapping"
	"golang.org/x/sys/unix"
)

const (
	pageSize   = 4096
	sectorSize = 512
)

// Disk watches the files that are opened through it. It identifies them by their names
// without directories.
type Disk struct {
	Ignore  map[string]bool        // files that Disk does not watch
	Mapped  map[string]bool        // files that are also written through mappings
	Swallow func(name string) bool // a sync of the file reports success, and does nothing
	Fail    func(name string) bool // a sync of the file fails
	Unmark  bool                   // marking pages as dirty has no effect
	Found   map[string]Found       // files that other processes wrote earlier, if they are not fully on disk

	mu     sync.Mutex
	now    int
	files  map[string]*history
	former map[string][]former // by name: the files that had it before, in this order
	syncs  []Sync

	entries *entries // nil: Disk follows none
}

// Found is the state in which Disk finds a file.
type Found struct {
	OnDisk []byte
	Lost   bool // a sync of the rest has failed: no later sync writes it or reports that; otherwise the next sync writes it
}

// Sync has the moments at which a sync began and ended.
type Sync struct {
	File     string
	From, To int
}

// history has all contents that a file ever had.
type history struct {
	path  string
	info  os.FileInfo         // identifies the file
	pages map[int64][]version // by number of the page, in the order of moments
	sizes []sizeAt
	syncs []Sync // the successful syncs
	fails []int  // the moments of failed syncs
	seen  int    // its length at the last look
	idle  bool   // no call has touched it since then

	kept *os.File // an entry's open file, which keeps its inode number

	view   []byte      // the file, mapped
	viewed os.FileInfo // identifies the mapped file
}

// version has the contents of a page from a moment on.
type version struct {
	moment int
	data   []byte
	again  []int // the moments at which it was marked as dirty
}

// sizeAt is the size of a file from a moment on.
type sizeAt struct {
	moment int
	size   int64
}

// New returns a disk without files.
func New() *Disk {
	return &Disk{Ignore: map[string]bool{}, Mapped: map[string]bool{}, files: map[string]*history{}, former: map[string][]former{}}
}

// OpenFile opens a file, as mapping.OpenFile does, and watches it. It assumes that the
// contents which an existing file has when it is opened first are on disk.
func (d *Disk) OpenFile(path string, flag int, perm os.FileMode) (mapping.File, error) {
	_, err := os.Stat(path)
	existed := err == nil
	f, err := mapping.OpenFile(path, flag, perm)
	name := filepath.Base(path)
	if err != nil || d.Ignore[name] {
		return f, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	h := d.files[name]
	if d.isEntry(path) {
		if h, err = d.entries.entry(path); err != nil {
			return nil, errors.Join(err, f.Close())
		}
		h.idle = false
		d.look()
		return &file{File: f, disk: d, name: name, h: h, told: len(h.fails)}, nil
	}
	if h == nil {
		h = &history{path: path, pages: map[int64][]version{}}
		runtime.SetFinalizer(h, (*history).unmap)
		d.files[name] = h
	}
	if h.info, err = os.Stat(path); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	h.path = path
	if len(h.sizes) == 0 {
		if found, ok := d.Found[name]; ok {
			d.now++
			h.note(bytes.Clone(found.OnDisk), d.now)
			h.syncs = append(h.syncs, Sync{name, d.now, d.now})
			if found.Lost {
				h.fails = append(h.fails, d.now+1)
			}
			d.look()
		} else if d.look(); existed {
			h.syncs = append(h.syncs, Sync{name, d.now, d.now})
		}
	}
	return &file{File: f, disk: d, name: name, h: h, told: len(h.fails)}, nil
}

// Observe looks at all files.
func (d *Disk) Observe() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.look()
}

// Now returns the moment of the last look.
func (d *Disk) Now() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.now
}

// Syncs returns all syncs so far.
func (d *Disk) Syncs() []Sync {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]Sync(nil), d.syncs...)
}

// look notes all changes since the last look, and returns its moment.
func (d *Disk) look() int {
	d.now++
	d.renames()
	for name, h := range d.files {
		if !h.idle {
			h.look(d.now)
			h.idle = !d.Mapped[name]
		}
	}
	if d.entries != nil {
		d.entries.look(d.now)
	}
	return d.now
}

// look notes the changes of one file.
func (h *history) look(now int) {
	if h.remap() == nil { // it fails while the file is being renamed
		h.note(h.view, now)
	}
}

// note notes the present contents of the file.
func (h *history) note(b []byte, now int) {
	if n := len(h.sizes); n == 0 || h.sizes[n-1].size != int64(len(b)) {
		h.sizes = append(h.sizes, sizeAt{now, int64(len(b))})
	}
	for off := 0; off < len(b); off += pageSize {
		page := b[off:min(off+pageSize, len(b))]
		key := int64(off / pageSize)
		list, was := h.pages[key], zeroes[:] // a page that was never written is zero
		if n := len(list); n > 0 {
			was = list[n-1].data
		}
		known := off+len(page) <= h.seen || off >= h.seen && len(list) == 0
		if known && bytes.Equal(page, was[:len(page)]) {
			continue
		}
		full := make([]byte, pageSize)
		copy(full, page)
		h.pages[key] = append(list, version{moment: now, data: full})
	}
	h.seen = len(b)
}

// zeroes is the contents of a page that was never written.
var zeroes [pageSize]byte

// remap maps the file that has the name now, with its present length. Reading the file would
// take twice as long as comparing it, and a test that looks often spends most of its time on
// that.
func (h *history) remap() error {
	f, err := os.Open(h.path)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || h.viewed != nil && os.SameFile(info, h.viewed) && info.Size() == int64(len(h.view)) {
		return err
	}
	h.unmap()
	if info.Size() > 0 {
		h.view, err = unix.Mmap(int(f.Fd()), 0, int(info.Size()), unix.PROT_READ, unix.MAP_SHARED)
	}
	if err == nil {
		h.viewed = info
	}
	return err
}

// unmap unmaps the file.
func (h *history) unmap() {
	if h.view != nil {
		_ = unix.Munmap(h.view)
	}
	h.view, h.viewed = nil, nil
}

// file is a watched file.
type file struct {
	mapping.File
	disk *Disk
	name string
	told int // how many failed syncs it has reported
	h    *history
}

// touched notes that a call changes the file, and looks: at once, and when the caller calls
// the function that it returns. Another goroutine may look in between, and find no change
// yet: so the last look includes this file in any case.
func (f *file) touched() func() {
	d := f.disk
	d.mu.Lock()
	defer d.mu.Unlock()
	d.look()
	f.h.idle = false
	return func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		f.h.idle = false
		d.look()
	}
}

func (f *file) WriteAt(p []byte, off int64) (int, error) {
	defer f.touched()()
	return f.File.WriteAt(p, off)
}

// Truncate changes the length while no goroutine looks: a look at a mapped page beyond the
// end of the file would fault.
func (f *file) Truncate(size int64) error {
	d := f.disk
	d.mu.Lock()
	defer d.mu.Unlock()
	d.look()
	err := f.File.Truncate(size)
	f.h.idle = false
	d.look()
	return err
}

func (f *file) PunchHole(off, n int64) error {
	defer f.touched()()
	return f.File.PunchHole(off, n)
}

func (f *file) Allocate(off, n int64) error {
	defer f.touched()()
	return f.File.Allocate(off, n)
}

// Datasync makes the contents durable that the file had when it began. It does not sync the
// real file: nothing depends on that, and it takes time.
func (f *file) Datasync() error {
	d := f.disk
	from := d.Observe()
	d.Observe()
	d.mu.Lock()
	defer d.mu.Unlock()
	to := d.look()
	s := Sync{f.name, from, to}
	d.syncs = append(d.syncs, s)
	h := f.h
	if d.Fail != nil && d.Fail(f.name) {
		h.fails = append(h.fails, from)
	}
	if f.told < len(h.fails) {
		f.told = len(h.fails)
		return fmt.Errorf("%w: writes to the %s are lost", mapping.ErrIO, f.name)
	}
	if d.Swallow == nil || !d.Swallow(f.name) {
		h.syncs = append(h.syncs, s)
	}
	return nil
}

// A Policy says which of the possible contents an image has.
type Policy int

// The policies. Each finds different faults.
const (
	AllOld    Policy = iota // nothing after the last sync
	AllNew                  // everything
	Random                  // any version of each page
	Torn                    // any version of each sector
	HeapOld                 // nothing new in the first file, everything in the others
	HeapNew                 // the other way round
	AllButOne               // everything but one page
	OnlyOne                 // nothing but one page
	MostlyNew               // a few pages are old
	MostlyOld               // a few pages are new
	NumPolicies
)

// Image writes contents that the disk may have after a cut at the moment to an existing
// directory. first is the name of the first file of HeapOld and HeapNew.
func (d *Disk) Image(dir, first string, moment int, policy Policy, r *rand.Rand) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(d.files)) {
		h, next := d.named(name, moment, policy, r)
		if err := h.image(filepath.Join(dir, name), name == first, moment, policy, r); err != nil {
			return err
		}
		if next != nil {
			if err := next.image(filepath.Join(dir, name+".new"), false, moment, policy, r); err != nil {
				return err
			}
		}
	}
	if d.entries != nil {
		return d.entries.image(dir, moment, policy, r)
	}
	return nil
}

// image writes one file of an image.
func (h *history) image(path string, first bool, moment int, policy Policy, r *rand.Rand) error {
	durable := 0
	for _, s := range h.syncs {
		if s.To <= moment {
			durable = s.From
		}
	}
	size := h.sizeIn(durable, moment, policy, first, r)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	err = f.Truncate(0)
	if err == nil {
		err = f.Truncate(size)
	}
	epochs := h.epochs(moment)
	odd := h.oddPage(epochs, moment, r)
	for _, key := range slices.Sorted(maps.Keys(h.pages)) {
		list := h.pages[key]
		off := key * pageSize
		if err != nil || off >= size {
			continue
		}
		lo, hi := bounds(list, epochs, moment)
		page := choose(list, lo, hi, key == odd, first, policy, r)
		if page != nil {
			_, err = f.WriteAt(page[:min(pageSize, size-off)], off)
		}
	}
	return errors.Join(err, f.Close())
}

// bounds returns the index of the version that is certainly on disk, -1 if there is none,
// and the index of the newest version.
func bounds(list []version, epochs []epoch, moment int) (lo, hi int) {
	lo, hi = -1, -1
	for i := range list {
		if list[i].moment > moment {
			break
		}
		hi = i
		if list[i].settled(epochs) {
			lo = i
		}
	}
	return lo, hi
}

// oddPage picks one of the pages that are not settled.
func (h *history) oddPage(epochs []epoch, moment int, r *rand.Rand) int64 {
	odd, n := int64(-1), 0
	for _, key := range slices.Sorted(maps.Keys(h.pages)) {
		if lo, hi := bounds(h.pages[key], epochs, moment); lo < hi {
			if n++; r.IntN(n) == 0 {
				odd = key
			}
		}
	}
	return odd
}

// choose returns a page of an image; nil if it was never written.
func choose(list []version, lo, hi int, odd, first bool, policy Policy, r *rand.Rand) []byte {
	at := hi
	switch policy {
	case AllOld:
		at = lo
	case Random:
		at = lo + r.IntN(hi-lo+1)
	case HeapOld:
		if first {
			at = lo
		}
	case HeapNew:
		if !first {
			at = lo
		}
	case AllButOne:
		if odd {
			at = lo + r.IntN(max(hi-lo, 1))
		}
	case OnlyOne:
		if at = lo; odd {
			at = min(lo+1+r.IntN(max(hi-lo, 1)), hi)
		}
	case MostlyNew:
		if r.IntN(8) == 0 {
			at = lo + r.IntN(hi-lo+1)
		}
	case MostlyOld:
		if at = lo; r.IntN(8) == 0 {
			at = lo + r.IntN(hi-lo+1)
		}
	case Torn:
		page := make([]byte, pageSize)
		for s := 0; s < pageSize; s += sectorSize {
			if i := lo + r.IntN(hi-lo+1); i >= 0 {
				copy(page[s:s+sectorSize], list[i].data[s:])
			}
		}
		return page
	}
	if at < 0 {
		return nil
	}
	return list[at].data
}

// sizeIn returns the size of a file in an image.
func (h *history) sizeIn(durable, moment int, policy Policy, first bool, r *rand.Rand) int64 {
	var possible []int64
	for _, s := range h.sizes {
		if s.moment <= durable {
			possible = possible[:0]
		}
		if s.moment <= moment {
			possible = append(possible, s.size)
		}
	}
	switch {
	case len(possible) == 0:
		return 0
	case policy == AllOld, policy == HeapOld && first, policy == HeapNew && !first:
		return possible[0]
	case policy == AllNew, policy == AllButOne:
		return possible[len(possible)-1]
	}
	return possible[r.IntN(len(possible))]
}
