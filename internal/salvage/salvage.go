// Package salvage writes what can be read of a damaged space as a backup.
//
// Terms: a candidate is a version that could be dumped. Package dump dumps it, block by
// block, and then the journal adds what came after it. To note is to enter a finding in
// the report, and to lose is to note something that is missing from the backup.
//
// Invariants:
//
//	Y1  A salvage only reads the space, and no process has it open meanwhile.
//	Y2  A salvage believes nothing but what verifies by itself: no word of live but one,
//	    no anchor whose state is damaged, no class of an extent.
//	Y3  A block is verified before it is read. A block that was written after the version
//	    that is dumped belongs to another version: its place was used anew.
//	Y4  A restore takes what the backup has: a change of the journal that the applier
//	    would refuse is left out, and noted.
//	Y5  A page that cannot be read costs what is on it: the fault is an error of the
//	    block, and the walk continues.
//
// Start reading at Run, then salvager.choose and salvager.write.
package salvage

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"time"

	"github.com/everheap/everheap/internal/entry"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/heap"
	"github.com/everheap/everheap/internal/layout"
	"github.com/everheap/everheap/internal/mapping"
	"github.com/everheap/everheap/internal/object"
	"github.com/everheap/everheap/internal/oslock"
	"github.com/everheap/everheap/internal/spacefile"
)

// Report is the outcome of Run.
type Report struct {
	Version   format.Version // that was salvaged
	Committed time.Time      // zero: not known
	Tag       uint16         // of the IDs of the space
	Found     string         // how the version was found
	Objects   uint64         // in the backup, the space's own maps included
	Entries   uint64         // in the backup, of the version that was found
	Changes   uint64         // made to them since, by the journal
	Named     uint64         // collections that nothing led to any more, and that got names
	Lost      uint64         // things that could not be read
	Findings  []Loss         // those, and what else was damaged; not more than maxLosses
}

// Loss is something that could not be read.
type Loss struct {
	File   string
	Offset int64
	Object uint64 // index; 0: none in particular
	What   string
}

// maxLosses bounds a report.
const maxLosses = 1000

// salvager is the work on one damaged space.
type salvager struct {
	dir    *mapping.Dir
	locks  *os.File
	file   mapping.File // read by calls
	region *mapping.Region
	size   uint64       // of the heap file
	log    mapping.File // the journal
	header *format.Header
	tags   map[uint16]uint64 // of handles, how often; nil: the header is intact, and tells the tag
	heap   *heap.Heap
	r      heap.Reader
	own    *entry.Shape // of the space's own maps

	doubtful bool   // whether there is not a newer version than those that are known
	newest   uint64 // version that an anchor names
	limit    uint64 // maximum size that it tells; 0: no anchor is whole

	report   Report
	reported map[Loss]bool
	contents
}

// Run writes what can be read of the space in dir as a backup, which a restore takes.
// No process may have the space open.
//
//  1. Run looks for versions: the one that was current, those of the anchors, and, if
//     none of them is whole, all whose state blocks lie in the file.
//  2. It walks each, and dumps the best one (candidate.better): the newest, unless
//     much of it is missing.
//  3. It adds the changes in the journal, and names for what lost its own.
func Run(dir string, w io.Writer) (_ *Report, err error) {
	s := &salvager{reported: map[Loss]bool{}}
	defer s.close()
	if s.dir, err = mapping.OpenDir(dir); errors.Is(err, os.ErrNotExist) {
		err = fmt.Errorf("%w: there is no space in %s", spacefile.ErrNotFound, dir)
	}
	if err == nil {
		err = s.open()
	}
	if err == nil {
		err = s.work(w)
	}
	if err != nil {
		return nil, err
	}
	return &s.report, nil
}

// work does all that follows once the file is open.
func (s *salvager) work(w io.Writer) error {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	return s.guarded(func() error {
		version, err := s.choose()
		if err != nil {
			return err
		}
		s.guessTag()
		return s.write(version, w)
	})
}

// open opens the heap file for reading, and maps it at its window.
func (s *salvager) open() (err error) {
	if s.locks, err = s.dir.Open(spacefile.HeapName, os.O_RDONLY, 0); err != nil {
		if errors.Is(err, os.ErrNotExist) {
			err = fmt.Errorf("%w: there is no space in %s", spacefile.ErrNotFound, s.dir.Path())
		}
		return err
	}
	if err := s.lock(); err != nil {
		return err
	}
	f, err := s.dir.Again(s.locks, spacefile.HeapName, os.O_RDONLY)
	if err != nil {
		return err
	}
	s.file = mapping.FileOf(f)
	size, err := s.file.Size()
	if err != nil {
		return err
	}
	s.size = uint64(size)
	if s.header, err = spacefile.ReadHeader(s.file); err != nil {
		damage := err
		if s.header = s.guessHeader(); s.header == nil {
			return damage
		}
		s.tags = map[uint16]uint64{}
		s.note(0, spacefile.HeapName, format.HeaderOffset, fmt.Sprintf("the header is damaged; what it said was found out from the rest of the file (%v)", damage))
	}
	f, err = s.dir.Again(s.locks, spacefile.HeapName, os.O_RDONLY)
	if err != nil {
		return err
	}
	mapped := mapping.FileOf(f)
	if s.region, err = mapping.Map(mapped, s.header.Base, s.header.Window, true); err != nil {
		mapped.Close()
		return err
	}
	s.heap = heap.Detached(s.region, min(s.size, s.header.Window))
	s.r = s.heap.Reader(false)
	s.own = s.shape(object.OwnTypes())
	return nil
}

// lock refuses a space that a process has open, and keeps others from opening it: the space
// would change while this process reads it (Y1).
func (s *salvager) lock() error {
	ok, err := oslock.TryLock(s.locks, format.LockGate, true)
	if errors.Is(err, oslock.ErrUnsupported) {
		return nil // then no process can have it open here
	}
	if err == nil && !ok {
		err = fmt.Errorf("%w: a process is opening or closing the space", spacefile.ErrBusy)
	}
	if err != nil {
		return err
	}
	open, err := oslock.HeldByOther(s.locks, format.LockPresence)
	if err == nil && open {
		err = fmt.Errorf("%w: a process has the space open; close it there first", spacefile.ErrBusy)
	}
	return err
}

func (s *salvager) close() {
	if s.region != nil {
		s.region.Close()
	}
	if s.file != nil {
		s.file.Close()
	}
	if s.log != nil {
		s.log.Close()
	}
	if s.locks != nil {
		spacefile.CloseLocks(s.locks)
	}
	if s.dir != nil {
		s.dir.Close()
	}
}

// shape returns the layout of the entries of a map.
func (s *salvager) shape(key, value *layout.Type) *entry.Shape {
	return entry.NewShape(key, value, s.header.Secret)
}

// guarded runs fn. A page that cannot be read is an error of it (Y5).
func (s *salvager) guarded(fn func() error) (err error) {
	defer func() {
		r := recover()
		if r == nil {
			return
		}
		_, isRuntime := r.(runtime.Error)
		fault, ok := r.(interface{ Addr() uintptr })
		if !isRuntime || !ok {
			panic(r)
		}
		off := int64(0)
		if s.header != nil && uint64(fault.Addr())-s.header.Base < s.header.Window {
			off = int64(uint64(fault.Addr()) - s.header.Base)
		}
		err = &format.DamageError{File: spacefile.HeapName, Offset: off, What: "the page cannot be read"}
	}()
	return fn()
}

// verifier returns a function that verifies the blocks of a version by what they say
// themselves (Y2, Y3).
func (s *salvager) verifier(version format.Version) func(a format.Addr, kind format.Kind) error {
	return func(a format.Addr, kind format.Kind) error {
		return s.guarded(func() error {
			birth, err := s.r.VerifyAlone(a, kind)
			if err == nil && birth > version {
				err = &format.DamageError{File: spacefile.HeapName, Offset: int64(uint64(a) - s.header.Base),
					What: fmt.Sprintf("where version %d had a %s block is one of version %d", version, kind, birth)}
			}
			return err
		})
	}
}

// lose notes something that cannot be got out.
func (s *salvager) lose(object uint64, a format.Addr, err error) {
	file, off, what := spacefile.HeapName, int64(0), err.Error()
	if d := (*format.DamageError)(nil); errors.As(err, &d) {
		file, off, what = d.File, d.Offset, d.What
	}
	if file == spacefile.HeapName && off == 0 && uint64(a) >= s.header.Base {
		off = int64(uint64(a) - s.header.Base)
	}
	if s.note(object, file, off, what) {
		s.report.Lost++
	}
}

// note adds a finding, once, and reports whether it did.
func (s *salvager) note(object uint64, file string, off int64, what string) bool {
	l := Loss{File: s.dir.Join(file), Offset: off, Object: object, What: what}
	if s.reported[l] {
		return false
	}
	if len(s.reported) < maxLosses { // after that, what both passes find counts twice
		s.reported[l] = true
		s.report.Findings = append(s.report.Findings, l)
	}
	return true
}
