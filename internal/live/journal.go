package live

import (
	"math"
	"time"

	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/invariant"
	"github.com/everheap/everheap/internal/oslock"
)

// JournalFloor returns the version up to which no recovery needs the journal, since both
// usable anchors have it.
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

// Written returns the newest version that is in the journal file, or in both usable anchors.
func (v *Live) Written() format.Version { return format.Version(v.words.Written.Load()) }

// RaiseWritten says that all versions up to v are in the journal file.
func (v *Live) RaiseWritten(version format.Version) { raise(&v.words.Written, uint64(version)) }

// RaiseDurable says that all versions up to v survive power loss.
func (v *Live) RaiseDurable(version format.Version) { raise(&v.words.Durable, uint64(version)) }

// LeadJournal waits until done returns true, and then returns false; or until this process
// leads, and then returns true. A process that leads writes the journal, and must call
// UnleadJournal. One goroutine of a process at a time calls LeadJournal.
//
// Leading only saves double work: the records that a process writes are right even if
// another process writes at the same time. So another process simply replaces a leader that
// died or stands still.
func (v *Live) LeadJournal(done func() bool) bool {
	me, w := uint64(v.incarnation), v.words
	looked := time.Now()
	var watch holderWatch
	for {
		v.Assure()
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

// AwaitDurable returns when the leader of the journal has ended a round, or after most.
func (v *Live) AwaitDurable(most time.Duration) {
	w := v.words
	oslock.FutexWait(futexWord(&w.JournalFutex), w.JournalFutex.Load(), most)
}

// TryLeadJournal is LeadJournal without waiting.
func (v *Live) TryLeadJournal() bool {
	if !v.words.Leader.CompareAndSwap(0, uint64(v.incarnation)) {
		return false
	}
	v.lead()
	return true
}

// lead makes the heart beat as long as this process leads.
func (v *Live) lead() {
	v.pulse.leading.Store(true)
	v.Writing()
	invariant.Point("journal.leading")
}

// UnleadJournal lets other processes lead, and wakes the waiters for durable versions.
func (v *Live) UnleadJournal() {
	v.pulse.leading.Store(false)
	v.words.Leader.CompareAndSwap(uint64(v.incarnation), 0)
	v.words.JournalFutex.Add(1)
	oslock.FutexWake(futexWord(&v.words.JournalFutex), math.MaxInt32)
}
