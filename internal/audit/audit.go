// Package audit checks an open space: all blocks that the newest version can reach, the lists of free
// blocks, and the files that a recovery would need.
//
// A check runs while other processes write, and their work must never look like damage. So the
// comment of each part says why the data that it reads cannot change; or the part verifies afterwards
// whether the data have changed, and then reports nothing.
//
// Start reading at Audit.Check.
package audit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/everheap/everheap/internal/check"
	"github.com/everheap/everheap/internal/durable"
	"github.com/everheap/everheap/internal/entry"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/heap"
	"github.com/everheap/everheap/internal/journal"
	"github.com/everheap/everheap/internal/layout"
	"github.com/everheap/everheap/internal/live"
	"github.com/everheap/everheap/internal/mapping"
	"github.com/everheap/everheap/internal/member"
	"github.com/everheap/everheap/internal/spacefile"
)

// Audit checks the space of a member.
type Audit struct {
	*member.Member
	durable *durable.Writer
	shape   func(key, value *layout.Type) *entry.Shape // shape of the entries of a map
	aside   func(r format.RecordHead, name uint64) error
}

// Of returns the audit of a space. aside verifies the aside file of a record, which has the record's
// changes.
func Of(m *member.Member, d *durable.Writer, shape func(key, value *layout.Type) *entry.Shape, aside func(r format.RecordHead, name uint64) error) *Audit {
	return &Audit{m, d, shape, aside}
}

// Check verifies all blocks that the newest version can reach, and that none of them is listed as
// free. It also verifies what a recovery would need: the header, the two anchors with all blocks that
// their versions can reach, and the journal. A page that cannot be read is a finding.
func (a *Audit) Check(ctx context.Context) (report *check.Report, err error) {
	err = a.Within(func() error {
		seen, _ := ctx.Value(seenKey{}).(*atomic.Uint64)
		report = a.verify(seen)
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := a.checkJournal(report); err != nil {
			return err
		}
		a.Live.Assure() // the live file is intact, so the findings do not come from lost words
		return ctx.Err()
	})
	if err != nil {
		return nil, err
	}
	return report, nil
}

// seenKey is the context key of WithSeen.
type seenKey struct{}

// WithSeen returns a context with which a check counts the bytes of the visited blocks in seen, for
// showing progress.
func WithSeen(ctx context.Context, seen *atomic.Uint64) context.Context {
	return context.WithValue(ctx, seenKey{}, seen)
}

// verify is Check without the journal.
func (a *Audit) verify(seen *atomic.Uint64) *check.Report {
	hold := a.Live.HoldCurrent()
	defer a.Live.Release(&hold)
	r := a.Heap.Reader(true)
	marks := a.Heap.NewMarks(a.Live.Carved())
	if seen != nil {
		marks.Seen = seen.Add
	}
	report := check.Verify(&r, hold.State, marks, a.shape)
	a.checkFree(report, marks, a.pinsIn(hold.State))
	a.checkAnchors(report, &r, marks)
	return report
}

// pinsIn reports whether a held version pins others; also true if that is unknown.
func (a *Audit) pinsIn(state format.Addr) bool {
	pins := true
	_ = a.Guarded(func() error { pins = member.StateAt(state).Pins != 0; return nil })
	return pins
}

// listPatience is how long a check waits for a transaction of this process that uses
// the lists.
const listPatience = 100 * time.Millisecond

// checkFree compares the lists of free blocks with the version of the report. That version is held,
// and all of its blocks are in marks. If some are damaged, marks lacks blocks, but never has a block
// that the version cannot reach.
func (a *Audit) checkFree(report *check.Report, marks *heap.Marks, pinned bool) {
	_ = a.Guarded(func() error { // an unreadable page is already a finding if the version uses it
		c := a.Heap.NewFreeCheck(marks, report.Version, func(at format.Addr, what string) {
			report.Add(check.Finding{Addr: at, What: what})
		})
		defer func() { report.Free = c.Bytes }()
		c.Pinned = pinned
		w := a.Live.Words()
		clean := w.Clean.Load() != 0 // while it is set, no process takes batches; and no process sets it while this process has the space open
		stacks := len(report.Findings)
		c.Stacks(clean)
		if clean && w.Clean.Load() == 0 {
			report.Findings = report.Findings[:stacks]
		}
		if a.ReadOnly {
			return nil
		}
		ctx, cancel := context.WithTimeout(context.Background(), listPatience)
		defer cancel()
		if a.Queue.Lock(ctx) != nil {
			return nil // a transaction is using the lists
		}
		defer a.Queue.Unlock()
		return a.UsingLists(func() error {
			a.Heap.Enter()
			c.Lists()
			return nil
		})
	})
}

// checkAnchors verifies the header and the anchors that a recovery would start from.
// A slot is written again, and the blocks that only its version can reach are reclaimed, once two
// newer anchors are confirmed. So if an anchor is one of the two newest afterwards, it was valid all
// the time.
func (a *Audit) checkAnchors(report *check.Report, r *heap.Reader, marks *heap.Marks) {
	if h, err := spacefile.ReadHeader(a.Files.Heap); err != nil || *h != *a.Head {
		report.Add(check.Finding{File: spacefile.HeapName, What: fmt.Sprintf("the header has changed since the space was opened (%v)", err)})
	}
	for _, anchor := range a.Live.UsableAnchors() {
		finding := a.checkAnchor(a.Files.Heap, anchor, r, marks)
		if finding != nil && a.Live.Usable(anchor) {
			report.Add(*finding)
		}
	}
}

// checkAnchor verifies one anchor.
func (a *Audit) checkAnchor(file mapping.File, of live.Anchor, r *heap.Reader, marks *heap.Marks) *check.Finding {
	off := format.AnchorOffset + int64(of.Slot)*format.PageSize
	page := make([]byte, format.PageSize)
	var found *format.Anchor
	_, err := file.ReadAt(page, off)
	if err == nil || errors.Is(err, io.EOF) {
		found, err = format.DecodeAnchor(page, of.Slot, a.Head)
	}
	if err == nil && (found.State != uint64(of.State) || found.Version != uint64(of.Version) || found.Sequence != of.Sequence) {
		err = errors.New("it is not the anchor that was written there")
	}
	if err != nil {
		return &check.Finding{File: spacefile.HeapName, Offset: off, What: fmt.Sprintf("the anchor of version %d: %v", of.Version, err)}
	}
	if err := check.Complete(r, of.State, marks); err != nil {
		f := check.Finding{What: fmt.Sprintf("the anchored version %d: %v", of.Version, err), Addr: of.State}
		if d := (*format.DamageError)(nil); errors.As(err, &d) {
			f.Addr = format.Addr(a.Head.Base + uint64(d.Offset))
		}
		return &f
	}
	return nil
}

// checkJournal verifies that a recovery from the newest anchor would reach the newest durable
// version. The records for that stay in the file as long as the anchor is the newest.
func (a *Audit) checkJournal(report *check.Report) error {
	for range 3 {
		durable := a.Live.Words().Durable.Load()
		anchors := a.Live.UsableAnchors()
		if len(anchors) == 0 || durable <= uint64(anchors[0].Version) || a.durable.NoJournal() {
			return nil
		}
		newest := anchors[0]
		var chain uint64
		err := a.Guarded(func() error { chain = member.StateAt(newest.State).Chain; return nil })
		if err != nil {
			return nil // checkAnchors has reported it
		}
		finding := a.Records(newest.Version, chain, durable)
		if finding == nil {
			return nil
		}
		if now := a.Live.UsableAnchors(); len(now) > 0 && now[0] == newest {
			report.Add(*finding)
			return nil
		}
	}
	return nil // new anchors come faster than the journal can be read, so no record is needed for long
}

// Records verifies the journal: the records that follow the version, up to the durable one.
func (a *Audit) Records(version format.Version, chain, durable uint64) *check.Finding {
	f := &check.Finding{File: journal.FileName}
	log, err := journal.Load(a.durable.Journal(), a.Head.SpaceID, version)
	var history *journal.History
	if err == nil {
		history, err = log.Follow(version, chain)
	}
	if err == nil {
		err = history.All(func(h format.RecordHead, ops []byte) error {
			for rest := ops; len(rest) > 0; {
				op, _, next, ok := format.NextOp(rest)
				if !ok {
					return fmt.Errorf("the record of version %d has a change that does not fit it", h.Version)
				}
				if format.OpKindOf(op.What) == format.OpAside {
					if err := a.aside(h, op.Arg); err != nil {
						return err
					}
				}
				rest = next
			}
			return nil
		})
	}
	d := (*format.DamageError)(nil)
	switch {
	case errors.As(err, &d):
		f.File, f.Offset, f.What = d.File, d.Offset, d.What
	case err != nil:
		f.What = err.Error()
	case uint64(history.Last) < durable:
		next := uint64(history.Last) + 1
		f.What = fmt.Sprintf("version %d was durable, and after a power loss nothing newer than version %d could be recovered: the next record is missing or damaged", durable, history.Last)
		if off, ok := journal.Damaged(a.durable.Journal(), a.Head.SpaceID, next); ok {
			f.Offset, f.What = off, fmt.Sprintf("the checksum of the frame with version %d does not match: after a power loss nothing newer than version %d could be recovered, and version %d was durable", next, history.Last, durable)
		}
	default:
		return nil
	}
	return f
}
