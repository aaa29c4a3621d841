package live

import (
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/invariant"
)

// The segments of the journal, and which process writes which (J3, J5 and J6).
// A claim is a word that names its owner. What a process read before the claim may be
// outdated, so it looks once more after the claim.

// ClaimSegment claims a segment of the journal that holds nothing needed and
// that no living process writes; ok is false if the file has none. A process
// writes only into segments that it claimed, until it releases them or dies; so a
// write that comes late, from a process that was suspended in it, hits nothing
// but that process's own.
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
		if s.Last.Load() > floor || v.words.SegmentCount.Load() <= i { // used and released since the look, or cut off
			v.ReleaseSegment(int(i))
			continue
		}
		v.Assure() // nothing in it is needed, and nobody else writes it (L16)
		invariant.Point("segment.claimed")
		return int(i), true
	}
	return 0, false
}

// ClaimNewSegment claims a segment that the journal file does not have yet; ok is
// false if it may have no more. The claimant makes it, and then calls AddSegment.
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

// AddSegment says that the journal file has the segment now, and all before it.
func (v *Live) AddSegment(i int) { raise(&v.words.SegmentCount, uint64(i)+1) }

// Segments returns how many segments the journal file has.
func (v *Live) Segments() int { return int(min(v.words.SegmentCount.Load(), format.NumSegments)) }

// FillSegment says that the claimed segment is about to get records up to the version. It
// comes before the write: a process that dies in between has only kept the segment from
// reuse for nothing.
func (v *Live) FillSegment(i int, last format.Version) {
	raise(&v.words.Segments[i].Last, uint64(last))
}

// ReleaseSegment ends the claim: the caller no longer writes there.
func (v *Live) ReleaseSegment(i int) {
	v.words.Segments[i].Owner.CompareAndSwap(uint64(v.incarnation), 0)
}

// ClaimTail claims all segments from one on, including those that the file does not have.
// It begins with the first segment from which on nobody needs any and no living process
// has claimed any, but leaves at least keep segments. It returns the number of segments
// left. The process with the claims may cut the file there (J6); ReleaseTail ends them.
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
		if s.Last.Load() > floor { // used and released since the look
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

// SegmentLast returns the newest version that a segment may hold.
func (v *Live) SegmentLast(i int) format.Version {
	return format.Version(v.words.Segments[i].Last.Load())
}

// SegmentsInUse returns how many segments hold something needed or are claimed, and the
// number of the last of them and those before it. Claims of the dead count, until
// somebody cleans up after them.
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

// JournalBytes returns how much of the journal file holds versions after the given
// one, in whole segments.
func (v *Live) JournalBytes(after format.Version) format.ByteCount {
	n := format.ByteCount(0)
	for i := range v.Segments() {
		if v.words.Segments[i].Last.Load() > uint64(after) {
			n += format.SegmentSize
		}
	}
	return n
}
