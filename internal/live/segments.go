package live

import (
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/invariant"
)

// The segments of the journal, and which process writes which (J3, J5 and J6). A claim is a
// word that names its owner. Words that a process read before the claim may be outdated, so
// it reads them once more after the claim.

// ClaimSegment claims a segment of the journal that has no needed record and that no living
// process writes; ok is false if the file has none. A process writes only into segments that
// it has claimed, until it releases them or dies. So a late write, from a process that was
// suspended in it, hits only that process's own segment.
func (v *Live) ClaimSegment() (i int, ok bool) {
	floor := uint64(v.KeptFloor())
	for i := range min(v.words.SegmentCount.Load(), format.NumSegments) {
		s := &v.words.Segments[i]
		owner := s.Owner.Load()
		if s.Last.Load() > floor || owner != 0 && v.Alive(format.Incarnation(owner)) {
			continue
		}
		invariant.Point("segment.chosen")
		if !s.Owner.CompareAndSwap(owner, uint64(v.incarnation)) {
			continue
		}
		if s.Last.Load() > floor || v.words.SegmentCount.Load() <= i { // another process has used and released it since the look, or cut it off
			v.ReleaseSegment(int(i))
			continue
		}
		v.Assure() // nothing in it is needed, and no other process writes it (L16)
		invariant.Point("segment.claimed")
		return int(i), true
	}
	return 0, false
}

// ClaimNewSegment claims a segment that the journal file does not have yet; ok is false if
// the file has all segments. The claimant makes it, and then calls AddSegment.
func (v *Live) ClaimNewSegment() (i int, ok bool) {
	for i := min(v.words.SegmentCount.Load(), format.NumSegments); i < format.NumSegments; i++ {
		s := &v.words.Segments[i]
		owner := s.Owner.Load()
		if owner != 0 && v.Alive(format.Incarnation(owner)) {
			continue
		}
		invariant.Point("segment.chosen")
		if !s.Owner.CompareAndSwap(owner, uint64(v.incarnation)) {
			continue
		}
		if v.words.SegmentCount.Load() > i { // another process has made it since, and may have filled it
			v.ReleaseSegment(int(i))
			continue
		}
		v.Assure() // L16
		return int(i), true
	}
	return 0, false
}

// AddSegment says that the journal file has the segment and all before it now.
func (v *Live) AddSegment(i int) { raise(&v.words.SegmentCount, uint64(i)+1) }

// Segments returns how many segments the journal file has.
func (v *Live) Segments() int { return int(min(v.words.SegmentCount.Load(), format.NumSegments)) }

// FillSegment says that the caller is about to write records up to the version into the
// claimed segment. It comes before the write: if the process dies in between, the segment is
// only kept longer than necessary.
func (v *Live) FillSegment(i int, last format.Version) {
	raise(&v.words.Segments[i].Last, uint64(last))
}

// ReleaseSegment ends the claim: the caller no longer writes there.
func (v *Live) ReleaseSegment(i int) {
	v.words.Segments[i].Owner.CompareAndSwap(uint64(v.incarnation), 0)
}

// ClaimTail claims all segments from one on, including those that the file does not have. It
// begins with the first segment from which on no segment is needed or claimed by a living
// process, but leaves at least keep segments. It returns the number of segments left. The
// claimant may cut the file there (J6); ReleaseTail ends the claims.
func (v *Live) ClaimTail(keep int) (from int) {
	floor := uint64(v.KeptFloor())
	for from = format.NumSegments; from > keep; from-- {
		s := &v.words.Segments[from-1]
		owner := s.Owner.Load()
		if s.Last.Load() > floor || owner != 0 && v.Alive(format.Incarnation(owner)) {
			break
		}
		if !s.Owner.CompareAndSwap(owner, uint64(v.incarnation)) {
			break
		}
		if s.Last.Load() > floor { // another process has used and released it since the look
			v.ReleaseSegment(from - 1)
			break
		}
	}
	v.Assure() // nothing in them is needed (L16)
	return from
}

// DropTail lowers the number of segments. The caller has the claims of ClaimTail, and cuts
// the file afterwards.
func (v *Live) DropTail(from int) {
	count := &v.words.SegmentCount
	for old := count.Load(); old > uint64(from) && !count.CompareAndSwap(old, uint64(from)); old = count.Load() {
	}
	v.words.JournalCuts.Add(1)
}

// ReleaseTail ends the claims of ClaimTail.
func (v *Live) ReleaseTail(from int) {
	for i := from; i < format.NumSegments; i++ {
		v.ReleaseSegment(i)
	}
}

// SegmentLast returns the newest version of which a segment may have a record.
func (v *Live) SegmentLast(i int) format.Version {
	return format.Version(v.words.Segments[i].Last.Load())
}

// SegmentsInUse returns how many segments have needed records or are claimed, and how many
// segments there are up to the last of these. Claims of dead processes count until another
// process cleans up after them.
func (v *Live) SegmentsInUse() (used, last int) {
	floor := uint64(v.KeptFloor())
	for i := range v.words.Segments {
		s := &v.words.Segments[i]
		if s.Owner.Load() != 0 || s.Last.Load() > floor {
			used, last = used+1, i+1
		}
	}
	return used, last
}

// JournalBytes returns how many bytes of the journal file have versions after the given one,
// in whole segments.
func (v *Live) JournalBytes(after format.Version) format.ByteCount {
	n := format.ByteCount(0)
	for i := range v.Segments() {
		if v.words.Segments[i].Last.Load() > uint64(after) {
			n += format.SegmentSize
		}
	}
	return n
}
