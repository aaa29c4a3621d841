package spacefile

import (
	"errors"
	"fmt"
	"slices"

	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/mapping"
)

// NewestAnchor returns the anchor that supersedes all others.
func NewestAnchor(anchors []*format.Anchor) *format.Anchor {
	var newest *format.Anchor
	for _, a := range anchors {
		if a != nil && a.Newer(newest) {
			newest = a
		}
	}
	return newest
}

// Doubts are the reasons to doubt that the newest valid anchor is the newest one written.
type Doubts struct {
	Damaged  int            // slots that may have held a newer anchor
	Anchored format.Version // the newest version that an anchor names, even if its state is damaged
}

// Anchors returns the valid anchors by slot; nil for a slot without one. An anchor whose
// state block is damaged is not valid.
func (d *Dir) Anchors() ([]*format.Anchor, Doubts, error) {
	anchors := make([]*format.Anchor, format.NumAnchors)
	var broken []*format.Anchor // intact anchors whose states are damaged
	var doubts Doubts
	var first error
	for i := range anchors {
		a, err := d.readAnchor(d.Heap, i)
		switch {
		case err == nil:
			anchors[i] = a
		case a != nil:
			broken = append(broken, a)
		case !errors.Is(err, errNoAnchor):
			doubts.Damaged++
		}
		if a != nil {
			doubts.Anchored = max(doubts.Anchored, format.Version(a.Version))
		}
		if first == nil {
			first = err
		}
	}
	newest := NewestAnchor(anchors)
	if newest == nil && errors.Is(first, mapping.ErrIO) {
		return nil, doubts, fmt.Errorf("reading the anchors: %w", first) // they may be intact
	}
	if newest == nil {
		return nil, doubts, &format.DamageError{File: HeapName, Offset: format.AnchorOffset,
			What: fmt.Sprintf("no valid anchor is left, so no version of the space can be found (%v); %s", first, d.WayOut())}
	}
	for _, a := range broken { // an older one is no cause for doubt: its state may have been reclaimed
		if a.Newer(newest) {
			doubts.Damaged++
		}
	}
	return anchors, doubts, nil
}

// WayOut says what a user can do about a space that no longer opens.
func (d *Dir) WayOut() string {
	return fmt.Sprintf("restore a backup, or write everything that can still be read to a backup: everheap salvage %s OUT", d.Path())
}

// errNoAnchor says that no anchor was ever written to a slot, or that it was wiped.
var errNoAnchor = errors.New("the slot is empty")

// readAnchor reads the anchor in a slot. If the anchor is intact but its state is damaged,
// it returns both the anchor and an error.
func (d *Dir) readAnchor(f mapping.File, i int) (*format.Anchor, error) {
	page := make([]byte, format.PageSize)
	if n, err := f.ReadAt(page, format.AnchorOffset+int64(i)*format.PageSize); n < len(page) {
		return nil, err
	}
	if !slices.ContainsFunc(page, func(b byte) bool { return b != 0 }) {
		return nil, errNoAnchor
	}
	a, err := format.DecodeAnchor(page, i, d.Header)
	if err != nil {
		return nil, err
	}
	return a, d.checkAnchored(f, a)
}

// Reached returns an error if a recovery ends before a version that was anchored: that
// version was durable.
func (d *Dir) Reached(doubts Doubts, last format.Version) error {
	if anchored := doubts.Anchored; last < anchored {
		return &format.DamageError{File: HeapName, Offset: format.AnchorOffset,
			What: fmt.Sprintf("the state of the anchored version %d is damaged, and only version %d can be recovered; %s", anchored, last, d.WayOut())}
	}
	return nil
}

// checkAnchored verifies the state block that an anchor names. It reads the file: to verify
// the block in mapped memory it would need the words of live, which do not exist yet.
func (d *Dir) checkAnchored(f mapping.File, a *format.Anchor) error {
	b := make([]byte, format.HeaderSize+format.StateSize)
	off := int64(a.State - d.Header.Base)
	if n, err := f.ReadAt(b, off); n < len(b) && err != nil {
		return err
	}
	version, err := format.DecodeState(b, uint64(off))
	if err == nil && uint64(version) != a.Version {
		err = errors.New("the state belongs to another version")
	}
	if err != nil {
		return &format.DamageError{File: HeapName, Offset: off, What: fmt.Sprintf("the state of the anchored version %d: %v", a.Version, err)}
	}
	return nil
}

// usableOnDisk reports whether an anchor is one of the two newest of a list.
func usableOnDisk(anchors []*format.Anchor, a *format.Anchor) bool {
	newer := 0
	for _, other := range anchors {
		if other != nil && other.Newer(a) {
			newer++
		}
	}
	return newer < 2 && slices.ContainsFunc(anchors, func(other *format.Anchor) bool { return other != nil && *other == *a })
}

// ReachBeyond reports whether one of the two newest anchors has a high-water mark (Carved)
// beyond an end.
func ReachBeyond(anchors []*format.Anchor, end uint64) bool {
	anchors = slices.DeleteFunc(slices.Clone(anchors), func(a *format.Anchor) bool { return a == nil })
	slices.SortFunc(anchors, func(a, b *format.Anchor) int {
		if a.Newer(b) {
			return -1
		}
		return 1
	})
	return slices.ContainsFunc(anchors[:min(2, len(anchors))], func(a *format.Anchor) bool { return a.Carved > end })
}

// anchoredLimit returns the maximum size in the newest anchor of the heap file; 0 if no
// anchor can be read.
func anchoredLimit(file mapping.File, h *format.Header) uint64 {
	var newest *format.Anchor
	page := make([]byte, format.PageSize)
	for i := range format.NumAnchors {
		if _, err := file.ReadAt(page, format.AnchorOffset+int64(i)*format.PageSize); err != nil {
			continue
		}
		if a, err := format.DecodeAnchor(page, i, h); err == nil && a.Newer(newest) {
			newest = a
		}
	}
	if newest == nil {
		return 0
	}
	return newest.Limit
}
