package durable

import (
	"errors"
	"fmt"

	"github.com/everheap/everheap/internal/check"
	"github.com/everheap/everheap/internal/failure"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/invariant"
	"github.com/everheap/everheap/internal/journal"
	"github.com/everheap/everheap/internal/live"
	"github.com/everheap/everheap/internal/mapping"
	"github.com/everheap/everheap/internal/member"
	"github.com/everheap/everheap/internal/spacefile"
)

// Recover replays the journal onto the anchored version from which live was rebuilt. The caller has
// the gate, and no other process has the space open. A recovery may die anywhere: until Recovering
// is 0 the next opener rebuilds live and begins again, from the same anchor and the same records.
// replay applies records in one transaction.
func (d *Writer) Recover(replay func(*journal.History) error) error {
	w := d.Live.Words()
	d.healing = w.Failed.Load() != 0 // Heal follows, and nothing is acknowledged before it
	defer func() { d.healing = false }()
	floor := d.Live.JournalFloor()
	log, err := journal.LoadKept(d.journal.file, d.Head.SpaceID, floor, d.Live.KeptFloor())
	if err != nil {
		return err
	}
	base := *member.StateAt(d.Live.Current())
	if err := d.trustAnchor(format.Version(base.Version)); err != nil {
		return err
	}
	records, err := log.Follow(format.Version(base.Version), base.Chain)
	if err != nil {
		return err
	}
	last := base.Version
	if err := d.Files.Reached(d.Doubts, records.Last); err != nil {
		return err
	}
	if !records.Empty() {
		if d.ReadOnly {
			return fmt.Errorf("%w: the space was not closed before the power was lost: recover it first, with a program that opens it for writing, or with everheap recover %s", failure.ErrReadOnly, d.Files.Path())
		}
		last = uint64(records.Last)
		d.prefault()
		d.distrustFree()
		if err := replay(records); err != nil {
			return err
		}
		invariant.Point("recover.replayed")
		// Perhaps only live was lost, and the records were never synced.
		d.Live.BeginSync(live.JournalFile)
		err := d.journal.file.Datasync()
		if err != nil {
			err = d.Fail(err)
		}
		d.Live.EndSync(live.JournalFile)
		if err != nil {
			return err
		}
	}
	for i, newest := range log.Segments(format.Version(last)) {
		w.Segments[i].Last.Store(uint64(newest))
		d.Live.AddSegment(i)
	}
	if err := d.lengthen(); err != nil && !errors.Is(err, mapping.ErrNoSpace) { // the last segment may be cut
		return err
	}
	w.Written.Store(last)
	w.Durable.Store(last)
	w.Recovering.Store(0)
	return nil
}

// distrustFree forgets the free space that a clean anchor lists. There are versions after that
// anchor, so another anchor came before them, and is damaged now; so the lists, and the blocks that
// they lie in, may have been used since (E5).
func (d *Writer) distrustFree() {
	w := d.Live.Words()
	for i := range format.NumStacks {
		live.SetStack(w, i, 0)
	}
	w.Clean.Store(0)
	w.SweepWish.Store(1)
}

// trustAnchor decides whether a recovery may start from the version of its anchor. Two anchors are
// usable so that one may be damaged. If two slots are damaged, they may have been the two newest
// anchors, and blocks of older versions may have been reused since: then trustAnchor verifies all
// of the version.
func (d *Writer) trustAnchor(version format.Version) error {
	if d.Doubts.Damaged < 2 {
		return nil
	}
	r := d.Heap.Reader(true)
	err := check.Complete(&r, d.Live.Current(), d.Heap.NewMarks(d.Live.Carved()))
	if err != nil {
		return &format.DamageError{File: spacefile.HeapName, Offset: format.AnchorOffset,
			What: fmt.Sprintf("%d anchors are damaged, and version %d, of the newest intact anchor, is not whole any more (%v); %s", d.Doubts.Damaged, version, err, d.Files.WayOut())}
	}
	return nil
}

// prefaultBytes is how much of a heap a replay maps in advance.
const prefaultBytes = 1 << 30

// prefault maps the heap of a space in advance, unless it is huge: a replay looks up keys
// everywhere in it.
func (d *Writer) prefault() {
	if carved := d.Live.Carved(); carved <= prefaultBytes {
		d.Region.Prefault(0, int64(carved))
	}
}
