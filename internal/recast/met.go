package recast

import "github.com/everheap/everheap/internal/layout"

// metObjects has the objects that were met, and the type of the handle by which each was met first.
// There may be very many.
type metObjects struct {
	pages map[uint64]*metPage
	types []*layout.Type
	last  map[*layout.Type]uint32 // index in types, plus 1
}

type metPage [512]uint32

// find returns the type of the handle by which an object was met; nil if it was not.
func (m *metObjects) find(index uint64) *layout.Type {
	page := m.pages[index/uint64(len(metPage{}))]
	if page == nil || page[index%uint64(len(page))] == 0 {
		return nil
	}
	return m.types[page[index%uint64(len(page))]-1]
}

// add adds an object.
func (m *metObjects) add(index uint64, handle *layout.Type) {
	place, ok := m.last[handle]
	if !ok {
		if m.last == nil {
			m.last = map[*layout.Type]uint32{}
		}
		m.types = append(m.types, handle)
		place = uint32(len(m.types))
		m.last[handle] = place
	}
	page := m.pages[index/uint64(len(metPage{}))]
	if page == nil {
		page = new(metPage)
		m.pages[index/uint64(len(page))] = page
	}
	page[index%uint64(len(page))] = place
}
