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
	aheadEarly    = 5 * time.Millisecond // between looks at what is waited for after the start,
	aheadLooks    = 200                  // as many as that
	reapTicks     = 5                    // ticks between looks for dead members
	idleTicks     = 10                   // ticks without a commit after which free space is handed over
	anchorLoad    = 10                   // an anchor comes at the earliest after that many times the last one's duration
	longJournal   = 64 << 20             // bytes since the newest anchor: time for another
	urgentJournal = 96 << 20             // more than should be
	pinnedBytes   = 4 << 20              // that old anchors keep from reuse: time for a new one, if it is a quarter of the heap, too
)

// runBackground does what no transaction should have to wait for.
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

// runAhead makes the pages present, and the file as long, as transactions will need soon.
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

// onTick ticks, and reports whether there is anything to be done any more.
func (b *background) onTick() bool {
	if b.sp.Forked() { // the runtime of a fork finds the parent's timers, and runs what waits for them
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
	commits uint64 // of this process, at the last tick
	idle    int    // ticks since they changed
	retry   time.Time
	sweep   time.Duration // the last one took
	pause   time.Duration // after a sweep that came to nothing
	swept   time.Time
	ahead   readahead.Reader
	journal durable.Rest
	shrink  upkeep.Shrinking
}

// tick runs every tenth of a second. It is how a process finds out that live is lost in
// which nobody does anything.
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
	replica := sp.Changes.IsReplica() // then none of what would publish a version (RP1)
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

// tidy reclaims what can be, hands over what is too much, and, when this process
// is idle, nearly everything; and takes care of pending blocks that others left.
// It uses the process's lists, so it takes the queue: if that is free, and now and
// then in any case.
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
	if sp.Live.OwnsWriter() { // handed over after the waiter had given up
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

// anchor writes an anchor if there is something new and the last one was long
// enough ago, or the journal has grown long since: a recovery would have to replay
// that; or old anchors keep much from its reuse. Anchors take no more than a tenth of the time, unless the journal gets so
// long that its room becomes scarce.
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

// maybeSweep sweeps when somebody wishes it, or when what the dead had reserved
// is worth it, but spends no more than a tenth of the time on it.
func (b *background) maybeSweep() error {
	w := b.sp.Live.Words()
	wish := w.SweepWish.Load() != 0 || w.Leaked.Load() > max(16<<20, w.Carved.Load()/8) || b.n%idleTicks == 0 && b.sp.Checkpoints.Restored()
	if !wish || time.Since(b.swept) < max(b.pause, anchorLoad*b.sweep) {
		return nil
	}
	began, before := time.Now(), w.Swept.Load()
	_, err := b.sp.Sweep()
	b.swept, b.sweep = time.Now(), time.Since(began)
	switch { // every try makes all processes forget what they had
	case w.Swept.Load() != before:
		b.pause = 0
	case err != nil && !errors.Is(err, failure.ErrBusy):
		b.pause = min(max(2*b.pause, time.Minute), time.Hour)
	default:
		b.pause = time.Second
	}
	return err
}
