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

// Files are removed, cut and replaced under the hands of programs that have them open:
// by who makes room on a full disk, restores a backup, or is in the wrong directory. A
// sync of such a file succeeds, and what it has made durable is found by nobody.
//
//	F1  Nothing is acknowledged as durable unless, after the sync, the names in the
//	    directory of the space still led to the files that were synced, and these
//	    were as long as they must be (Examine). One who is told so later has lost
//	    what was made durable and then taken away, and no more.
//	F2  Where the heap is in its place, nothing is lost: two anchors make everything
//	    durable that is committed, and the journal needless (J1), before anybody is
//	    told of the loss of a journal (Mend).
//	F3  A journal that was cut, and is in its place, becomes whole again when two
//	    anchors were written after the cut was seen: then nothing that was in it is
//	    needed. Nothing else is written over: what others have claimed in it, and
//	    write there meanwhile, is of later versions, and stays.
//	F4  All processes write one and the same journal: live says which (JournalDevice,
//	    JournalInode). One who finds another under the name does not open the space,
//	    unless he has it for himself: then he does as F2 says, and takes that one.
//	F5  What cannot be mended so stops all writing, as a failed sync does (E7), until
//	    the space was closed by all. Reading needs no names, and goes on.
//
// The file of the heap may have been moved within its file system, with its directory:
// the names in that directory are looked at, not the path.

// Examine looks whether the files of the space are what they were, by one system call
// for each. It returns nil if they are.
func (d *Writer) Examine() *spacefile.Missing {
	if m := d.Files.ExamineHeap(d.Live.Words()); m != nil {
		return m
	}
	return d.Files.ExamineJournal(d.Live.Words(), d.journal.id)
}

// Assured is what one calls who is about to say that something is durable, after the
// sync: it returns an error if that may not be said. If only the journal is missing,
// everything that is committed is made durable in another way first (F2).
func (d *Writer) Assured() error {
	m := d.Examine()
	if m == nil {
		return nil
	}
	return d.Mend(m)
}

// Mend does what can be done about a file that is missing (F2, F3), and returns the
// error that tells of it.
func (d *Writer) Mend(m *spacefile.Missing) error {
	d.Live.Assure() // else nothing may be missing (L16)
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

// lengthen gives the journal the space back that all its segments have. On a full disk
// that fails, and the space goes on: everything durable takes anchors then.
func (d *Writer) lengthen() error {
	count := d.Live.Words().SegmentCount.Load()
	d.Live.Assure() // L16
	if count == 0 || d.ReadOnly {
		return nil
	}
	return d.journal.file.Allocate(0, int64(min(count, format.NumSegments))*format.SegmentSize)
}

// told returns an error if the journal was found cut, by whatever process, since one who
// waits for it in this process was told last: once.
func (d *Writer) told() error {
	losses := d.Live.Words().JournalLosses.Load()
	if d.journal.losses.Swap(losses) == losses {
		return nil
	}
	return &format.DamageError{File: journal.FileName,
		What: "the file was truncated, or got holes, while the space is open. Everything that is committed was made durable in the heap file, and the journal is whole again; what else has happened to the files of the space?"}
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

// whyFailed returns the error of one who wants to write after the space has failed.
func (d *Writer) whyFailed() error {
	if lost := d.LookLost(); lost != nil {
		return lost
	}
	if d.stopped.Load() == nil && !d.ReadOnly {
		if m := d.Examine(); m != nil && (m.File == spacefile.HeapName || !m.Cut) { // another process may have found it
			_ = d.stop(m)
		}
	}
	if why := d.stopped.Load(); why != nil {
		return *why
	}
	return ErrFailed
}

// WhyStopped returns why nothing is written any more, if this process has found that out.
func (d *Writer) WhyStopped() error {
	if why := d.stopped.Load(); why != nil {
		return *why
	}
	return nil
}

// LookAround looks at the files in the background: what was durable is made so again
// before anybody asks.
func (d *Writer) LookAround() error {
	if d.Refused() != nil {
		return nil
	}
	return d.Guarded(d.Assured)
}

// settleJournal sees to it that the journal is the one of all processes, and whole (F4).
// created says that there was none, and this process has made it. The caller has the
// gate, and has joined.
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
	if w.Recovering.Load() == 0 && d.Refused() == nil { // else what comes then does so: Recover, Heal
		if err := d.coverTwice(); err != nil { // F2: nothing depends on what was in the file then
			return err
		}
	}
	if !same {
		for i := range w.Segments { // of a file that nobody has any more
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

// nameJournal says which journal it is that all processes write.
func (d *Writer) nameJournal() {
	w := d.Live.Words()
	w.JournalDevice.Store(d.journal.id.Device)
	w.JournalInode.Store(d.journal.id.Inode)
}
