package engine

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"time"
	"unsafe"

	"github.com/everheap/everheap/internal/backup"
	"github.com/everheap/everheap/internal/dump"
	"github.com/everheap/everheap/internal/entry"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/heap"
	"github.com/everheap/everheap/internal/layout"
	"github.com/everheap/everheap/internal/mapping"
	"github.com/everheap/everheap/internal/oslock"
)

// Salvaged is the outcome of Salvage.
type Salvaged struct {
	Version   format.Version // that was got out
	Committed time.Time      // zero: nothing tells
	Tag       uint16         // of the IDs of the space
	Found     string         // how the version was found
	Objects   uint64         // told, the space's own maps included
	Entries   uint64         // told, of the version that was found
	Changes   uint64         // made to them since, by the journal
	Named     uint64         // collections that nothing led to any more, and that got names
	Lost      uint64         // things that could not be got out
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

// salvage is the work on one damaged space. It opens its files for reading only, and
// believes nothing but what verifies by itself: no word of live but one, no anchor
// whose state is damaged, no class of an extent. Every block is verified before it is
// looked into, and one that was written after the version that is told belongs to
// another one: its place was used anew.
type salvage struct {
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

	report   Salvaged
	reported map[Loss]bool
	telling
}

// Salvage writes what can be read of the space in dir as a backup, which
// RestoreBackup takes. No process may have the space open.
//
//  1. Versions are looked for: that which was current, those of the anchors, and, if
//     none of them is whole, all whose state blocks lie in the file.
//  2. Each is walked, and the best one told (candidate.better): the newest, unless
//     much of it is missing.
//  3. Then come the changes in the journal, and names for what lost its own.
func Salvage(dir string, w io.Writer) (*Salvaged, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	s := &salvage{reported: map[Loss]bool{}}
	defer s.close()
	if s.dir, err = mapping.OpenDir(dir); errors.Is(err, os.ErrNotExist) {
		err = fmt.Errorf("%w: there is no space in %s", ErrNotFound, dir)
	}
	if err == nil {
		err = s.open()
	}
	if err == nil {
		err = s.work(w)
	}
	if err != nil {
		return nil, &OpError{Op: "salvage", Space: filepath.Base(dir), Err: kindOf(dir, err)}
	}
	return &s.report, nil
}

// work does it, when the file is open.
func (s *salvage) work(w io.Writer) error {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	return s.guarded(func() error {
		version, err := s.choose()
		if err != nil {
			return err
		}
		s.guessTag()
		return s.tell(version, w)
	})
}

// open opens the heap file for reading, and maps it at its window.
func (s *salvage) open() (err error) {
	if s.locks, err = s.dir.Open(HeapName, os.O_RDONLY, 0); err != nil {
		if errors.Is(err, os.ErrNotExist) {
			err = fmt.Errorf("%w: there is no space in %s", ErrNotFound, s.dir.Path())
		}
		return err
	}
	if err := s.lock(); err != nil {
		return err
	}
	f, err := s.dir.Again(s.locks, HeapName, os.O_RDONLY)
	if err != nil {
		return err
	}
	s.file = mapping.FileOf(f)
	size, err := s.file.Size()
	if err != nil {
		return err
	}
	s.size = uint64(size)
	if s.header, err = readHeader(s.file); err != nil {
		damage := err
		if s.header = s.guessHeader(); s.header == nil {
			return damage
		}
		s.tags = map[uint16]uint64{}
		s.note(0, HeapName, format.HeaderOffset, fmt.Sprintf("the header is damaged; what it said was found out from the rest of the file (%v)", damage))
	}
	f, err = s.dir.Again(s.locks, HeapName, os.O_RDONLY)
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
	key, _ := layout.For[string]()
	value, _ := layout.For[uint64]()
	s.own = s.shape(key, value)
	return nil
}

// lock sees to it that no process has the space open, nor opens it meanwhile: it
// would change under the hands of whoever reads it.
func (s *salvage) lock() error {
	ok, err := oslock.TryLock(s.locks, format.LockGate, true)
	if errors.Is(err, oslock.ErrUnsupported) {
		return nil // then no process can have it open here
	}
	if err == nil && !ok {
		err = fmt.Errorf("%w: a process is opening or closing the space", ErrBusy)
	}
	if err != nil {
		return err
	}
	open, err := oslock.HeldByOther(s.locks, format.LockPresence)
	if err == nil && open {
		err = fmt.Errorf("%w: a process has the space open; close it there first", ErrBusy)
	}
	return err
}

// close closes what open has opened.
func (s *salvage) close() {
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
		unlockAndClose(s.locks)
	}
	if s.dir != nil {
		s.dir.Close()
	}
}

// shape returns the layout of the entries of a map.
func (s *salvage) shape(key, value *layout.Type) *entry.Shape {
	return entry.NewShape(key, value, s.header.Secret)
}

// guarded runs fn. A page that cannot be read is an error of it.
func (s *salvage) guarded(fn func() error) (err error) {
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
		err = &format.DamageError{File: HeapName, Offset: off, What: "the page cannot be read"}
	}()
	return fn()
}

// verifier returns what verifies the blocks of a version.
func (s *salvage) verifier(version format.Version) func(a format.Addr, kind format.Kind) error {
	return func(a format.Addr, kind format.Kind) error {
		return s.guarded(func() error {
			birth, err := s.r.VerifyAlone(a, kind)
			if err == nil && birth > version {
				err = &format.DamageError{File: HeapName, Offset: int64(uint64(a) - s.header.Base),
					What: fmt.Sprintf("where version %d had a %s block is one of version %d", version, kind, birth)}
			}
			return err
		})
	}
}

// lose notes something that cannot be got out.
func (s *salvage) lose(object uint64, a format.Addr, err error) {
	file, off, what := HeapName, int64(0), err.Error()
	if d := (*format.DamageError)(nil); errors.As(err, &d) {
		file, off, what = d.File, d.Offset, d.What
	}
	if file == HeapName && off == 0 && uint64(a) >= s.header.Base {
		off = int64(uint64(a) - s.header.Base)
	}
	if s.note(object, file, off, what) {
		s.report.Lost++
	}
}

// note adds a finding, once, and reports whether it did.
func (s *salvage) note(object uint64, file string, off int64, what string) bool {
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

// A telling is what was told so far, and what leads to what.
type telling struct {
	out     *backup.Writer
	types   map[uint64]*layout.Type
	objects map[uint64]told     // that are no types
	leads   map[uint64][]uint64 // from an object that holds handles to those that they name
	named   []uint64            // objects that the catalog names
	names   map[string]bool
	next    uint64 // index that is free
	copied  []byte
	scratch []uint64
}

// told is what an object is, of which was told that it is there.
type told struct {
	shape     *entry.Shape // of a map
	sorted    bool
	list      *uint64     // length of a list
	cell      *entry.Cell // of a list or a value
	typeIndex uint64      // of a value
}

// tell writes the backup.
func (s *salvage) tell(v *candidate, w io.Writer) error {
	s.telling = telling{types: map[uint64]*layout.Type{}, objects: map[uint64]told{},
		leads: map[uint64][]uint64{}, names: map[string]bool{}}
	limit := s.limit
	if limit == 0 {
		limit = s.header.Window
	}
	head := dump.Head(s.header, limit, &v.state)
	head.Salvaged = 1
	if last := v.last; last != nil {
		head.Version, head.UnixNano = last.Version, last.UnixNano
	}
	var err error
	if s.out, err = backup.NewWriter(w, head); err != nil {
		return err
	}
	s.report.Tag, s.report.Version, s.report.Found = s.header.Tag, format.Version(head.Version), v.found
	if head.UnixNano != 0 {
		s.report.Committed = time.Unix(0, int64(head.UnixNano))
	}
	if v.made {
		s.lose(0, v.addr, fmt.Errorf("the state of version %d is lost: when it was committed, what came after it, and which indexes were used before", v.state.Version))
	}
	d := s.dump(v)
	d.Put, d.Name, d.Meet = s.put, s.name, s.meet
	d.Lost = func(object uint64, a format.Addr, err error) error { s.lose(object, a, err); return nil }
	if err := s.guarded(d.Run); d.Failed != nil {
		return err
	} else if err != nil {
		s.lose(0, 0, err)
	}
	s.report.Entries, s.next = d.Entries, v.state.NextIndex
	before := s.out.Changes()
	if err := s.replay(v); err != nil {
		return err
	}
	s.report.Changes = s.out.Changes() - before
	if err := s.nameLost(); err != nil {
		return err
	}
	s.report.Objects = uint64(len(s.types)+len(s.objects)) + 2
	return s.out.Close(s.next, s.report.Objects, s.report.Lost)
}

// dump returns the dump of a version, as far as all of them are alike.
func (s *salvage) dump(v *candidate) *dump.Dump {
	return &dump.Dump{Reader: &s.r, State: &v.state, Own: s.own, Shape: s.shape, Verify: s.verifier(format.Version(v.state.Version)), Guard: s.guarded}
}

// put passes a change on, and notes what came to be by it. The payload is copied
// first: once a change is begun, no page of the file may fail any more.
func (s *salvage) put(h format.OpHead, payload []byte) error {
	err := s.guarded(func() error {
		s.copied = append(s.copied[:0], payload...)
		return nil
	})
	index := format.ObjectOf(h.What)
	if err != nil {
		s.lose(index, 0, err)
		return nil
	}
	if err := s.noteTold(h, index); err != nil {
		s.lose(index, 0, err)
		return nil
	}
	if !s.has(index) {
		return nil // it was not told that it is there
	}
	err = s.out.Put(h, s.copied)
	if cap(s.copied) > 4<<20 {
		s.copied = nil
	}
	return err
}

// noteTold notes what comes to be by a change with the copied payload; an error says
// that it cannot be.
func (s *salvage) noteTold(h format.OpHead, index uint64) error {
	switch format.OpKindOf(h.What) {
	case format.OpNewType:
		t, err := layout.Decode(append([]byte(nil), s.copied[unsafe.Sizeof(format.TypeObject{}):]...))
		if err != nil {
			return err
		}
		s.types[index] = t
	case format.OpNewMap, format.OpNewSorted:
		key, value := s.types[h.Addr], s.types[h.Arg]
		if key == nil || value == nil {
			return errors.New("a map whose types are lost")
		}
		s.objects[index] = told{shape: s.shape(key, value), sorted: format.OpKindOf(h.What) == format.OpNewSorted}
	case format.OpNewList, format.OpNewValue:
		t := s.types[h.Arg]
		if t == nil {
			return errors.New("an object whose type is lost")
		}
		if format.OpKindOf(h.What) == format.OpNewList {
			s.objects[index] = told{list: new(uint64), cell: entry.NewItem(t, nil)}
		} else {
			s.objects[index] = told{cell: entry.NewValue(t, nil), typeIndex: h.Arg}
		}
	case format.OpAppend:
		if n := s.objects[index].list; n != nil {
			*n = h.Arg + 1
		}
	case format.OpTruncate:
		if n := s.objects[index].list; n != nil {
			*n = h.Arg
		}
	}
	return nil
}

// has reports whether it was told that there is an object.
func (s *salvage) has(index uint64) bool {
	_, isObject := s.objects[index]
	return isObject || s.types[index] != nil || index < format.FirstIndex
}

// meet notes what a key or a value of an object leads to.
func (s *salvage) meet(object uint64, t *layout.Type, p unsafe.Pointer, b layout.Bounds) {
	handles(t, p, b, func(id format.ID) {
		list := s.leads[object]
		if id.Tag() == s.header.Tag && (len(list) == 0 || list[len(list)-1] != id.Index()) {
			s.leads[object] = append(list, id.Index())
		}
	})
}

// handles calls fn for each handle in a value, which was checked before.
func handles(t *layout.Type, p unsafe.Pointer, b layout.Bounds, fn func(id format.ID)) {
	_ = t.Handles(p, b, func(_ layout.HandleKind, id uint64) bool { fn(format.ID(id)); return true })
}

// name reports whether an entry of one of the space's own maps is to be told: not if
// what it leads to is not there.
func (s *salvage) name(object uint64, e unsafe.Pointer, b layout.Bounds) bool {
	index := *layout.Cast[uint64](s.own.ValueOf(e))
	if object == format.TypesIndex {
		return s.types[index] != nil
	}
	var name string
	if err := s.own.Key.CopyOut(unsafe.Pointer(&name), s.own.KeyOf(e), b); err != nil {
		return false
	}
	if _, ok := s.objects[index]; !ok {
		s.lose(index, 0, fmt.Errorf("all of %q", name))
		return false
	}
	s.named = append(s.named, index)
	s.names[name] = true
	return true
}
