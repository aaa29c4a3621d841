package durable

import (
	"errors"
	"fmt"

	"github.com/everheap/everheap/internal/failure"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/journal"
	"github.com/everheap/everheap/internal/mapping"
	"github.com/everheap/everheap/internal/spacefile"
)

// People remove, cut and replace files while programs have them open: to make room on a full disk,
// to restore a backup, or in the wrong directory. A sync of such a file succeeds, but nobody will
// find what it made durable.
//
//	F1  A process acknowledges versions as durable only if, after the sync, the names in the
//	    directory of the space still led to the synced files, and these were as long as they must
//	    be (Examine). If a later check fails, only what was taken away after it had been durable
//	    is lost.
//	F2  If the heap is in its place, nothing is lost: before a process reports the loss of a
//	    journal, two anchors make everything committed durable, and the journal unnecessary (J1)
//	    (Mend).
//	F3  A journal that was cut, and is in its place, is whole again once two anchors were written
//	    after the cut was seen: then nothing that was in it is needed. Nothing else in it is
//	    overwritten: other processes may have claimed segments and be writing later versions to
//	    them.
//	F4  All processes write one and the same journal, which live names (JournalDevice,
//	    JournalInode). A process that finds another file under the name does not open the space,
//	    unless it has the space for itself: then it does as in F2, and uses that file.
//	F5  A loss that cannot be mended in this way stops all writing, as a failed sync does (E7),
//	    until all processes have closed the space. Reads need no names, and continue.
//
// The heap file may be moved within its file system together with its directory: the checks look at
// the names in that directory, not at the path.

// Examine checks that the files of the space are the ones that were opened, by one system call for
// each. It returns nil if they are.
func (d *Writer) Examine() *spacefile.Missing {
	if m := d.Files.ExamineHeap(d.Live.Words()); m != nil {
		return m
	}
	return d.Files.ExamineJournal(d.Live.Words(), d.journal.id)
}

// Assured is called after a sync and before its versions are acknowledged as durable: it returns an
// error if they may not be. If only the journal is missing, Assured first makes everything
// committed durable in another way (F2).
func (d *Writer) Assured() error {
	m := d.Examine()
	if m == nil {
		return nil
	}
	return d.Mend(m)
}

// Mend repairs what it can if a file is missing (F2, F3), and returns the error that reports the
// loss.
func (d *Writer) Mend(m *spacefile.Missing) error {
	d.Live.Assure() // words of a lost live file could report a loss that did not happen (L16)
	if m.File != journal.FileName {
		return d.stop(m)
	}
	if err := d.coverTwice(); err != nil {
		return errors.Join(m.Err, err)
	}
	if !m.Cut {
		return d.stop(m)
	}
	if err := d.lengthen(); errors.Is(err, mapping.ErrNoSpace) {
		return m.Err
	} else if err != nil {
		return d.stop(&spacefile.Missing{File: m.File, Err: errors.Join(m.Err, err)})
	}
	d.Live.Words().JournalLosses.Add(1)
	return m.Err
}

// lengthen makes the journal file as long as all its segments need. On a full disk it fails, and
// the space continues: then every durable commit writes anchors.
func (d *Writer) lengthen() error {
	count := d.Live.Words().SegmentCount.Load()
	d.Live.Assure() // L16
	if count == 0 || d.ReadOnly {
		return nil
	}
	return d.journal.file.Allocate(0, int64(min(count, format.NumSegments))*format.SegmentSize)
}

// told returns an error, once, if any process has found the journal cut since the last call in this
// process.
func (d *Writer) told() error {
	losses := d.Live.Words().JournalLosses.Load()
	if d.journal.losses.Swap(losses) == losses {
		return nil
	}
	return &format.DamageError{File: journal.FileName,
		What: "the file was truncated, or got holes, while the space is open. Everything committed was made durable in the heap file, and the journal is whole again. Find out what else was done to the files of the space"}
}

// stop stops all writing (F5), and remembers why.
func (d *Writer) stop(m *spacefile.Missing) error {
	err := d.Kind(m.Err)
	if !errors.Is(err, ErrFailed) {
		err = fmt.Errorf("%w: %w", err, ErrFailed)
	}
	d.stopped.CompareAndSwap(nil, &err)
	return d.Fail(err)
}

// whyFailed returns the error for a writer after the space has failed.
func (d *Writer) whyFailed() error {
	if lost := d.LookLost(); lost != nil {
		return lost
	}
	if d.stopped.Load() == nil && !d.ReadOnly {
		if m := d.Examine(); m != nil && (m.File == spacefile.HeapName || !m.Cut) { // another process may have found the loss
			_ = d.stop(m)
		}
	}
	if why := d.stopped.Load(); why != nil {
		return *why
	}
	return ErrFailed
}

// WhyStopped returns why the space refuses writes, if this process has found that out, else nil.
func (d *Writer) WhyStopped() error {
	if why := d.stopped.Load(); why != nil {
		return *why
	}
	return nil
}

// LookAround checks the files in the background: if one is missing, everything committed becomes
// durable again before anybody asks.
func (d *Writer) LookAround() error {
	if d.Refused() != nil {
		return nil
	}
	return d.Guarded(d.Assured)
}

// settleJournal makes sure that the journal is the one of all processes, and whole (F4). created
// says that this process has just made the file. The caller has the gate, and has joined.
func (d *Writer) settleJournal(created bool) error {
	w := d.Live.Words()
	s, size, err := spacefile.JournalSize(w, func() (mapping.Status, error) { return mapping.StatusOfFile(d.journal.file) })
	if err != nil {
		return err
	}
	d.journal.id = s.FileID
	defer func() { d.journal.losses.Store(w.JournalLosses.Load()) }()
	known := mapping.FileID{Device: w.JournalDevice.Load(), Inode: w.JournalInode.Load()}
	same := known == s.FileID || known == mapping.FileID{}
	if !same || w.Recovering.Load() != 0 {
		foreign, err := journal.ForeignTo(d.journal.file, d.Head.SpaceID)
		if err != nil {
			return err
		}
		if foreign {
			return fmt.Errorf("%w: %s is the journal of another space; bring back the right one", failure.ErrReplaced, d.Files.Join(journal.FileName))
		}
	}
	if d.ReadOnly || same && spacefile.Whole(s, size) && !created {
		if !d.ReadOnly {
			d.nameJournal()
		}
		return nil
	}
	if !same {
		alone, err := d.Files.Alone()
		if err != nil {
			return err
		}
		if !alone {
			return fmt.Errorf("%w: %s is another file than the one that other processes have open; close the space there first", failure.ErrReplaced, d.Files.Join(journal.FileName))
		}
	}
	if w.Recovering.Load() == 0 && d.Refused() == nil { // otherwise Recover or Heal does so later
		if err := d.coverTwice(); err != nil { // F2: then nothing in the file is needed
			return err
		}
	}
	if !same {
		for i := range w.Segments { // they are segments of a file that no process has
			w.Segments[i].Owner.Store(0)
		}
	}
	if err := d.lengthen(); err != nil && !errors.Is(err, mapping.ErrNoSpace) {
		return err
	}
	if same {
		w.JournalLosses.Add(1)
	}
	d.nameJournal()
	return nil
}

// nameJournal enters into live which file is the journal of all processes.
func (d *Writer) nameJournal() {
	w := d.Live.Words()
	w.JournalDevice.Store(d.journal.id.Device)
	w.JournalInode.Store(d.journal.id.Inode)
}
