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

// name reports whether the backup gets an entry of one of the space's own maps: not if
// the backup lacks what the entry leads to.
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
		s.lose(index, 0, fmt.Errorf("all of %q", name))
		return false
	}
	s.named = append(s.named, index)
	s.names[name] = true
	return true
}

// nameLost gives names to the collections that nothing leads to, if something was lost
// that may have led to them: else no program would find them any more.
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

// reach adds objects, and all that they lead to.
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

// putName adds an entry of the catalog.
func (s *salvager) putName(name string, index uint64) error {
	const from = 8 // where the entry is said to have been: anywhere but at 0
	fixed := uint64(s.own.FixedSize())
	var b []byte
	for _, w := range [...]uint64{0, from + fixed, uint64(len(name)), index} { // the hash is computed anew
		b = binary.LittleEndian.AppendUint64(b, w)
	}
	return s.put(format.OpHead{What: format.MakeWhat(format.OpSet, format.CatalogIndex), Addr: from}, append(b, name...))
}
