package engine

import (
	"errors"
	"fmt"

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
//	    were as long as they must be (examine). One who is told so later has lost
//	    what was made durable and then taken away, and no more.
//	F2  Where the heap is in its place, nothing is lost: two anchors make everything
//	    durable that is committed, and the journal needless (J1), before anybody is
//	    told of the loss of a journal (mend).
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

// examine looks whether the files of the space are what they were, by one system call
// for each. It returns nil if they are.
func (sp *Space) examine() *spacefile.Missing {
	if m := sp.Files.ExamineHeap(sp.Live.Words()); m != nil {
		return m
	}
	return sp.Files.ExamineJournal(sp.Live.Words(), sp.journal.id)
}

// assured is what one calls who is about to say that something is durable, after the
// sync: it returns an error if that may not be said. If only the journal is missing,
// everything that is committed is made durable in another way first (F2).
func (sp *Space) assured() error {
	m := sp.examine()
	if m == nil {
		return nil
	}
	return sp.mend(m)
}

// mend does what can be done about a file that is missing (F2, F3), and returns the
// error that tells of it.
func (sp *Space) mend(m *spacefile.Missing) error {
	sp.Live.Assure() // else nothing may be missing (L16)
	if m.File != journal.FileName {
		return sp.stop(m)
	}
	if err := sp.anchorTwice(); err != nil {
		return errors.Join(m.Err, err)
	}
	if !m.Cut {
		return sp.stop(m)
	}
	if err := sp.lengthen(); errors.Is(err, mapping.ErrNoSpace) {
		return m.Err
	} else if err != nil {
		return sp.stop(&spacefile.Missing{File: m.File, Err: errors.Join(m.Err, err)})
	}
	sp.Live.Words().JournalLosses.Add(1)
	return m.Err
}

// lengthen gives the journal the space back that all its segments have. On a full disk
// that fails, and the space goes on: everything durable takes anchors then.
func (sp *Space) lengthen() error {
	count := sp.Live.Words().SegmentCount.Load()
	sp.Live.Assure() // L16
	if count == 0 || sp.ReadOnly {
		return nil
	}
	return sp.journal.file.Allocate(0, int64(min(count, format.NumSegments))*format.SegmentSize)
}

// told returns an error if the journal was found cut, by whatever process, since one who
// waits for it in this process was told last: once.
func (sp *Space) told() error {
	losses := sp.Live.Words().JournalLosses.Load()
	if sp.journal.losses.Swap(losses) == losses {
		return nil
	}
	return &format.DamageError{File: journal.FileName,
		What: "the file was truncated, or got holes, while the space is open. Everything that is committed was made durable in the heap file, and the journal is whole again; what else has happened to the files of the space?"}
}

// stop stops all writing (F5), and remembers why.
func (sp *Space) stop(m *spacefile.Missing) error {
	err := sp.Kind(m.Err)
	if !errors.Is(err, errFailed) {
		err = fmt.Errorf("%w: %w", err, errFailed)
	}
	sp.stopped.CompareAndSwap(nil, &err)
	return sp.fail(err)
}

// whyFailed returns the error of one who wants to write after the space has failed.
func (sp *Space) whyFailed() error {
	if lost := sp.LookLost(); lost != nil {
		return lost
	}
	if sp.stopped.Load() == nil && !sp.ReadOnly {
		if m := sp.examine(); m != nil && (m.File == HeapName || !m.Cut) { // another process may have found it
			_ = sp.stop(m)
		}
	}
	if why := sp.stopped.Load(); why != nil {
		return *why
	}
	return errFailed
}

// whyStopped returns why nothing is written any more, if this process has found that out.
func (sp *Space) whyStopped() error {
	if why := sp.stopped.Load(); why != nil {
		return *why
	}
	return nil
}

// lookAround looks at the files in the background: what was durable is made so again
// before anybody asks.
func (b *background) lookAround() error {
	sp := b.sp
	if sp.refused() != nil {
		return nil
	}
	return sp.Guarded(sp.assured)
}

// settleJournal sees to it that the journal is the one of all processes, and whole (F4).
// created says that there was none, and this process has made it. The caller has the
// gate, and has joined.
func (sp *Space) settleJournal(created bool) error {
	w := sp.Live.Words()
	s, size, err := spacefile.JournalSize(w, func() (mapping.Status, error) { return mapping.StatusOfFile(sp.journal.file) })
	if err != nil {
		return err
	}
	sp.journal.id = s.FileID
	defer func() { sp.journal.losses.Store(w.JournalLosses.Load()) }()
	known := mapping.FileID{Device: w.JournalDevice.Load(), Inode: w.JournalInode.Load()}
	same := known == s.FileID || known == mapping.FileID{}
	if !same || w.Recovering.Load() != 0 {
		foreign, err := journal.ForeignTo(sp.journal.file, sp.Head.SpaceID)
		if err != nil {
			return err
		}
		if foreign {
			return fmt.Errorf("%w: %s is the journal of another space; bring back the right one", ErrReplaced, sp.Files.Join(journal.FileName))
		}
	}
	if sp.ReadOnly || same && spacefile.Whole(s, size) && !created {
		if !sp.ReadOnly {
			sp.nameJournal()
		}
		return nil
	}
	if !same {
		alone, err := sp.Files.Alone()
		if err != nil {
			return err
		}
		if !alone {
			return fmt.Errorf("%w: %s is another file than the one that other processes have open; close the space there first", ErrReplaced, sp.Files.Join(journal.FileName))
		}
	}
	if w.Recovering.Load() == 0 && sp.refused() == nil { // else what comes then does so: recover, heal
		if err := sp.anchorTwice(); err != nil { // F2: nothing depends on what was in the file then
			return err
		}
	}
	if !same {
		for i := range w.Segments { // of a file that nobody has any more
			w.Segments[i].Owner.Store(0)
		}
	}
	if err := sp.lengthen(); err != nil && !errors.Is(err, mapping.ErrNoSpace) {
		return err
	}
	if same {
		w.JournalLosses.Add(1)
	}
	sp.nameJournal()
	return nil
}

// nameJournal says which journal it is that all processes write.
func (sp *Space) nameJournal() {
	w := sp.Live.Words()
	w.JournalDevice.Store(sp.journal.id.Device)
	w.JournalInode.Store(sp.journal.id.Inode)
}
