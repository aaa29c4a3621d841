package engine

import (
	"context"
	"errors"
	"time"

	"github.com/everheap/everheap/internal/durable"
	"github.com/everheap/everheap/internal/failure"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/readahead"
	"github.com/everheap/everheap/internal/upkeep"
)

const (
	tickInterval  = 100 * time.Millisecond
	aheadEarly    = 5 * time.Millisecond // between two looks at the page faults after the start,
	aheadLooks    = 200                  // how many such looks there are
	reapTicks     = 5                    // ticks between looks for dead members
	idleTicks     = 10                   // ticks without a commit after which free space is handed over
	anchorLoad    = 10                   // an anchor takes at most 1/anchorLoad of the time: the next waits that many times as long as the last one took
	longJournal   = 64 << 20             // bytes since the newest anchor from which on another is due
	urgentJournal = 96 << 20             // bytes from which on an anchor is due at once
	pinnedBytes   = 4 << 20              // if old anchors keep so many bytes, and a quarter of the heap, from reuse, a new one is due
)

// runBackground does the work that no transaction should have to wait for.
func (sp *Space) runBackground() {
	defer sp.Done.Done()
	ticker := time.NewTicker(tickInterval)
	defer ticker.Stop()
	early := time.NewTicker(aheadEarly)
	defer early.Stop()
	b := background{sp: sp}
	b.ahead.Begin(sp.faults)
	b.ahead.Look(&sp.Member, 1)
	for looks := 0; ; {
		select {
		case <-sp.Quit:
			return
		case <-early.C:
			if sp.Forked() {
				return
			}
			b.ahead.Look(&sp.Member, readahead.Faults/4)
			if looks++; looks == aheadLooks {
				early.Stop()
			}
		case <-ticker.C:
			if !b.onTick() {
				return
			}
		}
	}
}

// runAhead allocates the pages, and makes the file as long, as transactions will soon need.
func (sp *Space) runAhead() {
	defer sp.Done.Done()
	for {
		select {
		case <-sp.Quit:
			return
		case <-sp.Heap.Ahead():
			if sp.Forked() {
				return
			}
			sp.Note(sp.Guarded(func() error { sp.Heap.PopulateAhead(); return nil }))
		}
	}
}

// onTick ticks, and reports whether the background has anything left to do.
func (b *background) onTick() bool {
	if b.sp.Forked() { // a fork inherits the parent's timers, and its runtime fires them
		return false
	}
	err := b.sp.Guarded(b.tick)
	b.sp.Note(err)
	return !errors.Is(err, failure.ErrLiveLost)
}

// background is the state of the background work of one process.
type background struct {
	sp      *Space
	n       uint64 // ticks
	commits uint64 // of this process until the last tick
	idle    int    // ticks since commits changed
	retry   time.Time
	sweep   time.Duration // how long the last one took
	pause   time.Duration // after a sweep that found nothing
	swept   time.Time
	ahead   readahead.Reader
	journal durable.Rest
	shrink  upkeep.Shrinking
}

// tick runs every tenth of a second. By it even an idle process finds out that live is lost.
func (b *background) tick() error {
	sp := b.sp
	if !sp.Live.Look() {
		return sp.Lose()
	}
	b.n++
	sp.Live.Tick()
	b.ahead.Look(&sp.Member, readahead.Faults)
	if b.n%reapTicks == 0 {
		sp.Live.ReapSome()
	}
	if sp.ReadOnly {
		return nil
	}
	sp.turn.PassOn()
	if commits := sp.Live.Entry().Commits.Load(); commits != b.commits {
		b.commits, b.idle = commits, 0
	} else {
		b.idle++
	}
	sp.Note(b.tidy())
	sp.Note(sp.Guarded(b.anchor))
	replica := sp.Changes.IsReplica() // a replica does no work that would publish a version (RP1)
	if !replica {
		sp.Note(sp.Guarded(sp.Remover.Look))
	}
	sp.Note(b.maybeSweep())
	if b.n%idleTicks == 0 {
		sp.Note(sp.durable.LookAround())
		sp.Note(sp.Guarded(func() error { return b.journal.Look(&sp.durable) }))
		sp.Note(sp.Guarded(sp.Changes.Tidy))
		if !replica {
			sp.Note(sp.Guarded(func() error { return b.shrink.Look(&sp.upkeep, &b.journal) }))
			sp.collections.Maybe()
		}
	}
	return nil
}

// tidy reclaims blocks and hands over spare free space; when this process is idle it hands over
// nearly all of it. It also reclaims pending blocks that ended processes left. It uses the
// process's lists, so it needs the queue: it takes the queue if that is free, and every idleTicks
// ticks it waits one tick for it.
func (b *background) tidy() error {
	sp := b.sp
	if b.idle > idleTicks && b.n%idleTicks != 0 || sp.Live.Words().Clean.Load() != 0 {
		return nil
	}
	if !sp.Queue.TryLock() {
		ctx, cancel := context.WithTimeout(context.Background(), tickInterval)
		defer cancel()
		if b.n%idleTicks != 0 || sp.Queue.Lock(ctx) != nil {
			return nil
		}
	}
	defer sp.Queue.Unlock()
	if sp.Live.OwnsWriter() { // a writer handed the lock over to a waiter that had given up
		sp.Live.UnlockWriter()
	}
	return sp.UsingLists(func() error {
		sp.Heap.Enter()
		if sp.Live.Words().Clean.Load() != 0 {
			return nil
		}
		if b.n%idleTicks == 0 {
			sp.Heap.Adopt()
		}
		sp.Heap.Reclaim()
		sp.Heap.GiveBack(false)
		return nil
	})
}

// anchor writes an anchor if there is something new and the last anchor was long enough ago; or if
// the journal has become long since that anchor, since a recovery would have to replay it; or if
// old anchors keep much space from reuse. Anchors take no more than a tenth of the time, unless the
// journal gets so long that space for it becomes scarce.
func (b *background) anchor() error {
	sp := b.sp
	interval := sp.options.AnchorInterval
	if interval == 0 {
		interval = DefaultAnchorInterval
	}
	newest := sp.Live.NewestAnchor()
	switch bytes := sp.Live.JournalBytes(newest) + sp.Changes.Weight(newest); {
	case bytes >= urgentJournal:
		interval = 0
	case bytes >= longJournal, sp.Heap.Pinned() > max(pinnedBytes, format.ByteCount(sp.Live.Words().Carved.Load()/4)):
		interval = min(interval, time.Second)
	}
	if !sp.durable.AnchorDue(interval, anchorLoad) || time.Now().Before(b.retry) {
		return nil
	}
	version, err := sp.NewestVersion()
	if err == nil && version <= newest {
		return nil
	}
	if err == nil {
		err = sp.durable.WriteAnchor(nil, false)
	}
	if err != nil {
		b.retry = time.Now().Add(time.Second)
	}
	return err
}

// maybeSweep sweeps if a process has asked for a sweep, or if dead processes had reserved enough to
// make one worth it. Sweeps take no more than a tenth of the time.
func (b *background) maybeSweep() error {
	w := b.sp.Live.Words()
	wish := w.SweepWish.Load() != 0 || w.Leaked.Load() > max(16<<20, w.Carved.Load()/8) || b.n%idleTicks == 0 && b.sp.Checkpoints.Restored()
	if !wish || time.Since(b.swept) < max(b.pause, anchorLoad*b.sweep) {
		return nil
	}
	began, before := time.Now(), w.Swept.Load()
	_, err := b.sp.Sweep()
	b.swept, b.sweep = time.Now(), time.Since(began)
	switch { // every try makes all processes forget their lists
	case w.Swept.Load() != before:
		b.pause = 0
	case err != nil && !errors.Is(err, failure.ErrBusy):
		b.pause = min(max(2*b.pause, time.Minute), time.Hour)
	default:
		b.pause = time.Second
	}
	return err
}
