package salvage

import (
	"fmt"
	"io"
	"time"
	"unsafe"

	"github.com/everheap/everheap/internal/backup"
	"github.com/everheap/everheap/internal/dump"
	"github.com/everheap/everheap/internal/entry"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/layout"
	"github.com/everheap/everheap/internal/object"
)

// contents has the objects that the backup has so far, and which of them refer to which.
type contents struct {
	out     *backup.Writer
	types   map[uint64]*layout.Type
	objects map[uint64]*object.Told // by index; without types
	leads   map[uint64][]uint64     // from an object to the objects that its handles name
	named   []uint64                // the objects that the catalog names
	names   map[string]bool
	next    uint64 // the lowest free index
	copied  []byte
	scratch []uint64
}

// write writes the backup of a version.
func (s *salvager) write(v *candidate, w io.Writer) error {
	s.contents = contents{types: map[uint64]*layout.Type{}, objects: map[uint64]*object.Told{},
		leads: map[uint64][]uint64{}, names: map[string]bool{}}
	limit := s.limit
	if limit == 0 {
		limit = s.header.Window
	}
	head := dump.Head(s.header, limit, &v.state)
	head.Chained = 0 // the backup is not exactly this version
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
		s.lose(0, v.addr, fmt.Errorf("the state of version %d is lost: the time of its commit, the journal's changes after it, and the next free index are unknown", v.state.Version))
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

// dump returns a dump of a version, with the settings that all dumps have in common.
func (s *salvager) dump(v *candidate) *dump.Dump {
	return &dump.Dump{Reader: &s.r, State: &v.state, Own: s.own, Shape: s.shape, Verify: s.verifier(format.Version(v.state.Version)), Guard: s.guarded}
}

// put writes a change to the backup, and notes the object that it creates. It copies the
// payload first: once put has begun to write the change, no page fault may interrupt it.
func (s *salvager) put(h format.OpHead, payload []byte) error {
	err := s.guarded(func() error {
		s.copied = append(s.copied[:0], payload...)
		return nil
	})
	index := format.ObjectOf(h.What)
	if err != nil {
		s.lose(index, 0, err)
		return nil
	}
	if err := s.noteChange(h, index); err != nil {
		s.lose(index, 0, err)
		return nil
	}
	if !s.has(index) {
		return nil // a change of an object that the backup lacks
	}
	err = s.out.Put(h, s.copied)
	if cap(s.copied) > 4<<20 {
		s.copied = nil
	}
	return err
}

// noteChange notes the object that a change with the copied payload creates. The error says
// that the change is impossible.
func (s *salvager) noteChange(h format.OpHead, index uint64) error {
	op := format.OpKindOf(h.What)
	if k := object.OfOp(op); k != nil && k.About().New == op {
		t, err := k.Make(known{s}, h, s.copied)
		switch {
		case err != nil:
			return err
		case t.Descriptor != nil:
			s.types[index] = t.Descriptor
		default:
			s.objects[index] = &t
		}
	} else if t := s.objects[index]; t != nil {
		t.Kind.Note(t, h)
	}
	return nil
}

// known gives access to the types in the backup. It implements object.Types.
type known struct{ *salvager }

func (k known) Type(index uint64) *layout.Type { return k.types[index] }

func (k known) Shape(key, value *layout.Type) *entry.Shape { return k.shape(key, value) }

// has reports whether the backup has an object with the index.
func (s *salvager) has(index uint64) bool {
	_, isObject := s.objects[index]
	return isObject || s.types[index] != nil || index < format.FirstIndex
}

// meet notes which objects a key or a value of an object refers to. The value was checked before.
func (s *salvager) meet(object uint64, t *layout.Type, p unsafe.Pointer, b layout.Bounds) {
	_ = t.Handles(p, b, s.lead(object))
}

// lead returns a function that notes an object to which another one refers.
func (s *salvager) lead(from uint64) object.Meet {
	return func(_ layout.HandleKind, handle uint64) bool {
		list, id := s.leads[from], format.ID(handle)
		if id.Tag() == s.header.Tag && (len(list) == 0 || list[len(list)-1] != id.Index()) {
			s.leads[from] = append(list, id.Index())
		}
		return true
	}
}

// handles calls fn for each handle in a value. The value was checked before.
func handles(t *layout.Type, p unsafe.Pointer, b layout.Bounds, fn func(id format.ID)) {
	_ = t.Handles(p, b, func(_ layout.HandleKind, id uint64) bool { fn(format.ID(id)); return true })
}
