// Package salvage writes everything that can be read of a damaged space to a backup.
//
// Terms: a candidate is a version that a salvage could dump. Package dump dumps it, block by
// block, and then the salvage adds the journal's changes of later versions. To note is to
// enter a finding in the report. To lose is to note something that is missing from the
// backup.
//
// Invariants:
//
//	Y1  A salvage only reads the space, and it keeps other processes from opening it
//	    meanwhile.
//	Y2  A salvage trusts only blocks that verify by themselves. It uses no class of an
//	    extent, no anchor whose state is damaged, and one word of live: the address of the
//	    current state.
//	Y3  A salvage verifies a block before it reads it. A block with a later birth than the
//	    dumped version belongs to another version: its memory was reused.
//	Y4  A restore accepts the whole backup: the salvage leaves out each change of the journal
//	    that package apply would refuse, and notes it.
//	Y5  A page that cannot be read costs only the blocks on it: the fault becomes an error of
//	    the block, and the walk continues.
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
	Version   format.Version // the salvaged version
	Committed time.Time      // when it was committed; zero: unknown
	Tag       uint16         // the tag of the space's IDs
	Found     string         // how the salvage found the version
	Objects   uint64         // objects in the backup, the space's own maps included
	Entries   uint64         // entries in the backup, of the version that was found
	Changes   uint64         // later changes in the backup, from the journal
	Named     uint64         // collections that had become unreachable and got new names
	Lost      uint64         // findings of something that could not be read
	Findings  []Loss         // these, and other damage; at most maxLosses
}

// Loss is one finding: something that is damaged or could not be read.
type Loss struct {
	File   string
	Offset int64
	Object uint64 // index of the object; 0: no particular one
	What   string
}

// maxLosses is the greatest number of findings in a report.
const maxLosses = 1000

// salvager is the work on one damaged space.
type salvager struct {
	dir    *mapping.Dir
	locks  *os.File
	file   mapping.File // the heap file, for reading by calls
	region *mapping.Region
	size   uint64       // of the heap file
	log    mapping.File // the journal
	header *format.Header
	tags   map[uint16]uint64 // how many handles have each tag; nil: the header is intact, and has the tag
	heap   *heap.Heap
	r      heap.Reader
	own    *entry.Shape // the shape of the space's own maps

	doubtful bool   // there may be a newer version than the known candidates
	newest   uint64 // the newest version that an anchor names
	limit    uint64 // the maximum size in that anchor; 0: no anchor is intact

	report   Report
	reported map[Loss]bool
	contents
}

// Run writes everything that can be read of the space in dir to w, as a backup that a
// restore accepts. No process may have the space open.
//
//  1. Run looks for versions: the one that was current last, and those of the anchors. If
//     none of them is whole, it searches the file for state blocks and for roots of object
//     tables.
//  2. It walks them and dumps the best one (candidate.better): the newest, unless much of
//     that is missing.
//  3. It adds the changes in the journal, and names for collections that have lost theirs.
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

// work does the rest of Run, once the files are open.
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

// open locks the space, opens the heap file for reading, and maps it at its window.
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
		s.note(0, spacefile.HeapName, format.HeaderOffset, fmt.Sprintf("the header is damaged; its contents were inferred from the rest of the file (%v)", damage))
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

// lock refuses a space that a process has open, and keeps other processes from opening it:
// they would change the space while this process reads it (Y1).
func (s *salvager) lock() error {
	ok, err := oslock.TryLock(s.locks, format.LockGate, true)
	if errors.Is(err, oslock.ErrUnsupported) {
		return nil // on such a file system no process can have a space open
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

// guarded runs fn, and returns an error if fn touches a page that cannot be read (Y5).
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

// verifier returns a function that verifies blocks of a version from their own contents
// alone (Y2, Y3).
func (s *salvager) verifier(version format.Version) func(a format.Addr, kind format.Kind) error {
	return func(a format.Addr, kind format.Kind) error {
		return s.guarded(func() error {
			birth, err := s.r.VerifyAlone(a, kind)
			if err == nil && birth > version {
				err = &format.DamageError{File: spacefile.HeapName, Offset: int64(uint64(a) - s.header.Base),
					What: fmt.Sprintf("version %d had a %s block here, which a block of version %d has overwritten", version, kind, birth)}
			}
			return err
		})
	}
}

// lose notes something that is missing from the backup.
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

// note adds a finding to the report, and reports whether it was new.
func (s *salvager) note(object uint64, file string, off int64, what string) bool {
	l := Loss{File: s.dir.Join(file), Offset: off, Object: object, What: what}
	if s.reported[l] {
		return false
	}
	if len(s.reported) < maxLosses { // beyond that, a finding of both passes counts twice
		s.reported[l] = true
		s.report.Findings = append(s.report.Findings, l)
	}
	return true
}
