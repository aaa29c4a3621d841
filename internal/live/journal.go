package live

import (
	"math"
	"time"

	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/invariant"
	"github.com/everheap/everheap/internal/oslock"
)

// JournalFloor returns the version up to which nothing in the journal is needed:
// both usable anchors have it.
func (v *Live) JournalFloor() format.Version {
	list := v.anchors()
	newest, second := secondNewest(list)
	switch {
	case second >= 0:
		return list[second].version
	case newest >= 0:
		return list[newest].version
	}
	return 0
}

// ClaimSegment claims a segment of the journal that holds nothing needed and
// that no living process writes; ok is false if the file has none. A process
// writes only into segments that it claimed, until it releases them or dies; so a
// write that comes late, from a process that was suspended in it, hits nothing
// but that process's own.
func (v *Live) ClaimSegment() (i int, ok bool) {
	floor := uint64(v.JournalFloor())
	for i := range min(v.words.SegmentCount.Load(), format.NumSegments) {
		s := &v.words.Segments[i]
		owner := s.Owner.Load()
		if s.Last.Load() > floor || owner != 0 && v.Alive(format.Incarnation(owner)) {
			continue
		}
		if !s.Owner.CompareAndSwap(owner, uint64(v.incarnation)) {
			continue
		}
		if s.Last.Load() > floor { // used and released between the look and the claim
			v.ReleaseSegment(int(i))
			continue
		}
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
		if s.Owner.CompareAndSwap(owner, uint64(v.incarnation)) {
			return int(i), true
		}
	}
	return 0, false
}

// AddSegment says that the journal file has the segment now.
func (v *Live) AddSegment(i int) { raise(&v.words.SegmentCount, uint64(i)+1) }

// FillSegment says that the claimed segment is about to get records up to the
// version. It comes before the write: who dies in between has kept the segment
// from its reuse for nothing, no more.
func (v *Live) FillSegment(i int, last format.Version) {
	raise(&v.words.Segments[i].Last, uint64(last))
}

// ReleaseSegment ends the claim: the caller will not write there any more.
func (v *Live) ReleaseSegment(i int) {
	v.words.Segments[i].Owner.CompareAndSwap(uint64(v.incarnation), 0)
}

// JournalBytes returns how much of the journal file holds versions after the given
// one, in whole segments.
func (v *Live) JournalBytes(after format.Version) format.ByteCount {
	n := format.ByteCount(0)
	for i := range min(v.words.SegmentCount.Load(), format.NumSegments) {
		if v.words.Segments[i].Last.Load() > uint64(after) {
			n += format.SegmentSize
		}
	}
	return n
}

// RaiseWritten says that all versions up to v are in the journal file.
func (v *Live) RaiseWritten(version format.Version) { raise(&v.words.Written, uint64(version)) }

// RaiseDurable says that all versions up to v survive power loss.
func (v *Live) RaiseDurable(version format.Version) { raise(&v.words.Durable, uint64(version)) }

// LeadJournal waits until done, and returns false, or until this process is the
// one to write the journal, and returns true: then UnleadJournal must follow. One
// goroutine of a process at a time calls it.
//
// Leading saves double work and no more: what a process writes to the journal is
// right whether another one writes at the same time or not. So a leader that died
// or stands still is simply replaced.
func (v *Live) LeadJournal(done func() bool) bool {
	me, w := uint64(v.incarnation), v.words
	looked := time.Now()
	var watch holderWatch
	for {
		seen := w.JournalFutex.Load()
		if done() {
			return false
		}
		if w.Leader.CompareAndSwap(0, me) {
			v.lead()
			return true
		}
		oslock.FutexWait(futexWord(&w.JournalFutex), seen, tick)
		leader := format.Incarnation(w.Leader.Load())
		if leader == 0 || time.Since(looked) < tick*3/4 {
			continue
		}
		looked = time.Now()
		if (!v.Alive(leader) || watch.suspended(v, leader)) && w.Leader.CompareAndSwap(uint64(leader), me) {
			invariant.Point("journal.takeover")
			v.lead()
			return true
		}
	}
}

// TryLeadJournal is LeadJournal without waiting.
func (v *Live) TryLeadJournal() bool {
	if !v.words.Leader.CompareAndSwap(0, uint64(v.incarnation)) {
		return false
	}
	v.lead()
	return true
}

// lead lets the heart beat for as long as this process leads.
func (v *Live) lead() {
	v.pulse.leading.Store(true)
	v.Writing()
	invariant.Point("journal.leading")
}

// UnleadJournal lets others lead, and wakes those who wait for what was made
// durable.
func (v *Live) UnleadJournal() {
	v.pulse.leading.Store(false)
	v.words.Leader.CompareAndSwap(uint64(v.incarnation), 0)
	v.words.JournalFutex.Add(1)
	oslock.FutexWake(futexWord(&v.words.JournalFutex), math.MaxInt32)
}
