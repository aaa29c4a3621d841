//go:build unix

// Package powercut simulates the loss of power, for tests: it watches what a
// program does to its files, and builds what a disk may hold after the power
// failed at any moment of that.
//
// Terms: a moment is a number that rises with each look at the files. An image is
// the contents of the files after a cut. What was on disk when the last completed
// sync of a file began is in each image; of what was written later, any page may
// be there or not, as of any moment since, and torn at sectors. The size of a file
// is that of the last sync, or any later one.
//
// A sync can be made to fail, as the kernel's do: what was to be written is not on
// disk and not written by a later sync either, unless it is changed again or marked
// as changed, and each open file is told once.
//
// A file NAME.new that is renamed to NAME takes its place: in an image from the moment
// on at which that is seen, or not yet, as long as nobody has said that the directory is
// on disk (Settle). Files that come and go otherwise are followed by what they are (Follow).
//
// A file that is written through a mapping changes without a call. Disk sees it
// when it looks: before and after each call to a file, and when Observe is called,
// which a test does as often as it can.
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

// Disk watches the files that are opened through it. They are told apart by their
// names without directories.
type Disk struct {
	Ignore  map[string]bool        // files that are left alone
	Mapped  map[string]bool        // files that are written through mappings, too
	Swallow func(name string) bool // a sync of the file is reported as done, and is not
	Fail    func(name string) bool // a sync of the file fails
	Unmark  bool                   // pages are marked as changed in vain
	Found   map[string]Found       // files that other processes wrote before, if not all is on disk

	mu     sync.Mutex
	now    int
	files  map[string]*history
	former map[string][]former // by name: what had it before, in this order
	syncs  []Sync

	entries *entries // nil: none are followed
}

// Found is a file as it is found.
type Found struct {
	OnDisk []byte
	Lost   bool // a sync of the rest has failed: it will not be written, and nobody is told; else it will be
}

// Sync is a sync that was seen: the moments of its beginning and its end.
type Sync struct {
	File     string
	From, To int
}

// history is all that a file ever held.
type history struct {
	path  string
	info  os.FileInfo         // which file it is
	pages map[int64][]version // by number of the page, in the order of moments
	sizes []sizeAt
	syncs []Sync // that succeeded
	fails []int  // moments of those that failed
	seen  int    // how long it was at the last look
	idle  bool   // nothing was done to it since then

	kept *os.File // of an entry

	view   []byte      // the file, mapped
	viewed os.FileInfo // and which one that is
}

// version is a page as it was from a moment on.
type version struct {
	moment int
	data   []byte
	again  []int // moments at which it was marked as changed
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

// OpenFile opens a file, as mapping.OpenFile does, and watches it. What an existing
// file holds when it is opened first is taken to be on disk.
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

// look notes what has changed since the last look, and returns its moment.
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

// look notes what has changed in one file.
func (h *history) look(now int) {
	if h.remap() == nil { // else it is being renamed
		h.note(h.view, now)
	}
}

// note notes what the file holds now.
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

// zeroes are what a page holds that was never written.
var zeroes [pageSize]byte

// remap maps the file that has the name now, as long as it is now. To read it would take
// twice as long as to compare it, and that is most of what a test does that looks often.
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

// unmap lets go of the file.
func (h *history) unmap() {
	if h.view != nil {
		_ = unix.Munmap(h.view)
	}
	h.view, h.viewed = nil, nil
}

// file is one that is watched.
type file struct {
	mapping.File
	disk *Disk
	name string
	told int // of failed syncs
	h    *history
}

// touched says that something is done to the file, and looks: at once, and when the
// function that it returns is called. Others may look in between, and find nothing yet: so
// the last look is at this file in any case.
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

// Truncate changes the length while nobody looks: what is behind the end of a file cannot be
// touched where the file is mapped.
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

// Datasync makes durable what was there when it began. The file itself is not
// synced: nothing depends on that, and it takes time.
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
		return fmt.Errorf("%w: what was written to the %s is lost", mapping.ErrIO, f.name)
	}
	if d.Swallow == nil || !d.Swallow(f.name) {
		h.syncs = append(h.syncs, s)
	}
	return nil
}

// A Policy says which of what may be there is there.
type Policy int

// The policies. Each one finds other faults.
const (
	AllOld    Policy = iota // nothing after the last sync
	AllNew                  // everything
	Random                  // of each page any version
	Torn                    // of each sector any version
	HeapOld                 // nothing of the first file, all of the others
	HeapNew                 // the other way round
	AllButOne               // everything, but one page is old
	OnlyOne                 // nothing, but one page is new
	MostlyNew               // a few pages are old
	MostlyOld               // a few pages are new
	NumPolicies
)

// Image writes what the disk may hold after a cut at the moment to a directory,
// which exists. first is the name of the file that HeapOld and HeapNew speak of.
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

// bounds returns the indexes of the version that is on disk for sure, -1 if none
// is, and of the newest one.
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
