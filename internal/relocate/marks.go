package relocate

import (
	"math/bits"

	"github.com/everheap/everheap/internal/format"
)

// marks is a set of blocks of a source. It has one bit for every 16 bytes of each extent
// that has a block in the set.
type marks struct {
	base    uint64
	extents []*[markWords]uint64
}

const markWords = format.ExtentSize / 16 / 64

func newMarks(s *Source) marks {
	return marks{base: s.base, extents: make([]*[markWords]uint64, s.carved>>format.ExtentShift)}
}

// at returns where the bit of a block is. Its extent may have no bits yet.
func (m *marks) at(a format.Addr) (extent uint64, word int, bit uint64) {
	off := uint64(a) - m.base
	i := off % format.ExtentSize / 16
	return off >> format.ExtentShift, int(i / 64), 1 << (i % 64)
}

// add adds a block that the source contains, and reports whether it was new to the set.
func (m *marks) add(a format.Addr) bool {
	extent, word, bit := m.at(a)
	e := m.extents[extent]
	if e == nil {
		e = new([markWords]uint64)
		m.extents[extent] = e
	}
	if e[word]&bit != 0 {
		return false
	}
	e[word] |= bit
	return true
}

// has reports whether a block that the source contains is in the set.
func (m *marks) has(a format.Addr) bool {
	extent, word, bit := m.at(a)
	e := m.extents[extent]
	return e != nil && e[word]&bit != 0
}

// count returns the number of blocks in an extent.
func (m *marks) count(extent uint64) (n uint64) {
	if e := m.extents[extent]; e != nil {
		for _, w := range e {
			n += uint64(bits.OnesCount64(w))
		}
	}
	return n
}

// before returns how many blocks of the set lie before a block in the same extent.
func (m *marks) before(a format.Addr) (n uint64) {
	extent, word, bit := m.at(a)
	e := m.extents[extent]
	for _, w := range e[:word] {
		n += uint64(bits.OnesCount64(w))
	}
	return n + uint64(bits.OnesCount64(e[word]&(bit-1)))
}
