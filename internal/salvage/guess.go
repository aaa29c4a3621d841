package salvage

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"io"
	"time"
	"unsafe"

	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/layout"
	"github.com/everheap/everheap/internal/mapping"
)

// guessHeader infers the contents of the damaged header of the heap; nil if it cannot. It
// keeps the fields of the damaged header that do no harm if they are wrong.
func (s *salvager) guessHeader() *format.Header {
	page := make([]byte, format.PageSize)
	if _, err := s.file.ReadAt(page, format.HeaderOffset); err != nil && !errors.Is(err, io.EOF) {
		clear(page)
	}
	h := new(format.Header)
	_, _ = binary.Decode(page, binary.LittleEndian, h) // a page is long enough
	window, err := mapping.WindowSize(max(s.size, s.guessLimit()))
	if err != nil {
		return nil
	}
	base, id := s.guessBase(window)
	if base == 0 {
		return nil
	}
	if id != [16]byte{} {
		h.SpaceID = id
	}
	h.Base, h.Window = base, window
	if now := uint64(time.Now().UnixNano()); h.Created == 0 || h.Created > now {
		h.Created = now
	}
	return h
}

// guessLimit returns the greatest maximum size in an anchor.
func (s *salvager) guessLimit() (limit uint64) {
	page := make([]byte, format.PageSize)
	for i := range format.NumAnchors {
		if _, err := s.file.ReadAt(page, format.AnchorOffset+int64(i)*format.PageSize); err != nil {
			continue
		}
		if a, ok := format.DecodeLoneAnchor(page); ok && a.Limit <= mapping.MaxWindow {
			limit = max(limit, a.Limit)
		}
	}
	return limit
}

// guessBase finds the base of the window, and the ID of the space if an anchor has it. Any
// address of the heap determines the base: a window is aligned to its size, and so to every
// smaller power of two that holds the file. To verify the address, guessBase looks whether
// the right block lies there.
func (s *salvager) guessBase(window uint64) (base uint64, id [16]byte) {
	page := make([]byte, format.PageSize)
	for i := range format.NumAnchors {
		if _, err := s.file.ReadAt(page, format.AnchorOffset+int64(i)*format.PageSize); err != nil {
			continue
		}
		a, ok := format.DecodeLoneAnchor(page)
		if !ok {
			continue
		}
		id = a.SpaceID
		state := make([]byte, format.HeaderSize+format.StateSize)
		if _, err := s.file.ReadAt(state, int64(a.State&(window-1))); err != nil {
			continue
		}
		if version, err := format.DecodeState(state, a.State&(window-1)); err == nil && uint64(version) == a.Version {
			return a.State &^ (window - 1), id
		}
	}
	s.search(format.TableOffset, func(off uint64, kind format.Kind, block []byte) bool {
		if kind != format.KindState {
			return true
		}
		root := format.Link(binary.LittleEndian.Uint64(block[format.HeaderSize+unsafe.Offsetof(format.State{}.Table):]))
		if s.intact(uint64(root.Addr())&(window-1), format.KindTable) {
			base = uint64(root.Addr()) &^ (window - 1)
		}
		return base == 0
	})
	return base, id
}

// intact reports whether an intact small block of a kind lies at an offset of the file.
func (s *salvager) intact(off uint64, kind format.Kind) bool {
	b := make([]byte, format.MaxSmall)
	n, err := s.file.ReadAt(b, int64(off))
	if err != nil && n < format.HeaderSize {
		return false
	}
	hd := headerIn(b)
	end := format.HeaderSize + int(hd.Size)
	return hd.Kind() == kind && end <= n && format.BlockSum(b[:end], off) == hd.Sum
}

// countTags counts the tags of the handles in a value.
func (s *salvager) countTags(_ uint64, t *layout.Type, p unsafe.Pointer, b layout.Bounds) {
	handles(t, p, b, func(id format.ID) { s.tags[id.Tag()]++ })
}

// guessTag takes the tag that most handles have. If there are no handles it keeps the tag in
// the header: any tag would do, unless programs have kept handles outside.
func (s *salvager) guessTag() {
	most := uint64(0)
	for tag, n := range s.tags {
		if tag != 0 && (n > most || n == most && tag < s.header.Tag) {
			s.header.Tag, most = tag, n
		}
	}
	for s.header.Tag == 0 {
		var random [2]byte
		_, _ = rand.Read(random[:])
		s.header.Tag = binary.LittleEndian.Uint16(random[:])
	}
}
