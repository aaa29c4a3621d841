package salvage

import (
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"unsafe"

	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/layout"
)

// name reports whether the backup gets an entry of one of the space's own maps. It does not
// if the backup lacks the object that the entry names.
func (s *salvager) name(object uint64, e unsafe.Pointer, b layout.Bounds) bool {
	index := *layout.Cast[uint64](s.own.ValueOf(e))
	if object == format.TypesIndex {
		return s.types[index] != nil
	}
	var name string
	if err := s.own.Key.CopyOut(unsafe.Pointer(&name), s.own.KeyOf(e), b); err != nil {
		return false
	}
	if _, ok := s.objects[index]; !ok {
		s.lose(index, 0, fmt.Errorf("everything in %q", name))
		return false
	}
	s.named = append(s.named, index)
	s.names[name] = true
	return true
}

// nameLost gives names to unreachable collections if anything was lost: their names or
// handles may be among it, and then no program would find them.
func (s *salvager) nameLost() error {
	if s.report.Lost == 0 {
		return nil
	}
	reached := map[uint64]bool{}
	s.reach(reached, s.named...)
	for _, index := range slices.Sorted(maps.Keys(s.objects)) {
		if reached[index] {
			continue
		}
		name := fmt.Sprintf("salvaged-%d", index)
		for s.names[name] {
			name += "+"
		}
		if err := s.putName(name, index); err != nil {
			return err
		}
		s.report.Named++
		s.reach(reached, index)
	}
	return nil
}

// reach marks objects as reached, and all objects that they refer to.
func (s *salvager) reach(reached map[uint64]bool, from ...uint64) {
	for todo := slices.Clone(from); len(todo) > 0; {
		index := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if !reached[index] {
			reached[index] = true
			todo = append(todo, s.leads[index]...)
		}
	}
}

// putName adds an entry of the catalog to the backup.
func (s *salvager) putName(name string, index uint64) error {
	const from = 8 // the address that the entry claims to have had: any but 0
	fixed := uint64(s.own.FixedSize())
	var b []byte
	for _, w := range [...]uint64{0, from + fixed, uint64(len(name)), index} { // 0: the restore computes the hash
		b = binary.LittleEndian.AppendUint64(b, w)
	}
	return s.put(format.OpHead{What: format.MakeWhat(format.OpSet, format.CatalogIndex), Addr: from}, append(b, name...))
}
