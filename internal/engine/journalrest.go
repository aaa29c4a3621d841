package engine

import (
	"errors"
	"time"

	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/journal"
)

// The journal grows with what is written between two anchors, and what it has grown to is
// used again. Where that is not needed any more it is given back:
//
//	J7  A space at rest, in which nobody has committed for some seconds, or which its last
//	    user has closed, or which was compacted, has a journal of one segment. Before it is cut, two
//	    anchors of the newest version make all of it needless; those are written once,
//	    and only if the journal has more than that segment. So a space at rest comes to
//	    rest.
//	J8  In a space that is written to, the journal keeps what was in use at any look of
//	    the last dozen: so it is not cut by those who need it again at once. Who has
//	    claimed a segment although there would be one before it gives it up, or
//	    one who writes little would keep all before it.
//
// Who may cut where, and why nothing is lost by that, is J6 of package journal.

const (
	keptSegments = 1
	restLooks    = 3                // looks, one a second, without a commit by anybody: the space is at rest
	usedLooks    = 12               // looks that tell how much of the journal is in use
	cutFailure   = 30 * time.Second // between tries, when cutting has failed
)

// journalRest is what the background remembers of its looks at the journal.
type journalRest struct {
	version format.Version // at the last look
	still   int            // looks since it has changed
	used    [usedLooks]int // segments in use, at the last looks
	looks   int
	retry   time.Time
}

// look looks at the journal, once a second, and makes it shorter where that is due.
func (r *journalRest) look(sp *Space) error {
	if sp.options.NoJournal || sp.refused() != nil {
		return nil
	}
	version, err := sp.NewestVersion()
	if err != nil {
		return err
	}
	r.still++
	if version != r.version {
		r.version, r.still = version, 0
	}
	_, last := sp.Live.SegmentsInUse()
	r.used[r.looks%usedLooks] = last
	r.looks++
	switch {
	case time.Now().Before(r.retry):
	case r.still >= restLooks:
		err = sp.restJournal(version)
	default:
		err = r.trim(sp)
	}
	if err != nil {
		r.retry = time.Now().Add(cutFailure)
	}
	return err
}

// quiet reports whether little was written lately, or nothing for some seconds.
func (r *journalRest) quiet() bool {
	if r.still >= restLooks {
		return true
	}
	return r.looks >= usedLooks && r.most() <= quietSegments
}

// most returns how many segments were in use at any of the last looks, at the most.
func (r *journalRest) most() int {
	most := 0
	for _, n := range r.used {
		most = max(most, n)
	}
	return most
}

// trim leaves what was in use lately (J8).
func (r *journalRest) trim(sp *Space) error {
	if r.looks < usedLooks || sp.Live.Segments() <= keptSegments {
		return nil
	}
	if most := max(keptSegments, r.most()); sp.Live.Segments() > most {
		return journal.Cut(sp.journal.file, sp.Live, most)
	}
	if used, last := sp.Live.SegmentsInUse(); last > used && sp.journal.TryLock() {
		defer sp.journal.Unlock()
		if w := sp.journal.writer; w.Segment() >= used {
			w.Release()
		}
	}
	return nil
}

// restJournal leaves one segment of the journal, if the version is the newest still (J7).
func (sp *Space) restJournal(version format.Version) error {
	if long, err := sp.journalIsLong(); err != nil || !long {
		return err
	}
	if err := sp.coverJournal(version); err != nil || sp.Live.JournalFloor() < version {
		return err
	}
	return sp.cutJournal()
}

// journalIsLong reports whether the journal has more than it keeps at rest.
func (sp *Space) journalIsLong() (bool, error) {
	if sp.options.NoJournal {
		return false, nil
	}
	if sp.Live.Segments() > keptSegments {
		return true, nil
	}
	size, err := sp.journal.file.Size()
	return size > keptSegments*format.SegmentSize, err
}

// coverJournal sees to it that both usable anchors have the version, unless there is a
// newer one. After a clean close it leaves the anchor that lists the free space.
func (sp *Space) coverJournal(version format.Version) error {
	for range 2 {
		newest, err := sp.NewestVersion()
		if err != nil || newest != version || sp.Live.JournalFloor() >= version || sp.Live.Words().Clean.Load() != 0 {
			return err
		}
		if err := sp.writeAnchor(nil, true); errors.Is(err, ErrBusy) {
			return nil // so many others write one
		} else if err != nil {
			return err
		}
	}
	return nil
}

// compactJournal gives back what is not needed of the journal, whoever writes it.
func (sp *Space) compactJournal() error {
	long, err := sp.journalIsLong()
	if err != nil || !long {
		return err
	}
	version, err := sp.NewestVersion()
	if err == nil {
		err = sp.coverJournal(version)
	}
	if err == nil {
		err = sp.cutJournal()
	}
	return err
}

// cutJournal leaves one segment of the journal, or as many as are needed or claimed by
// others.
func (sp *Space) cutJournal() error {
	j := &sp.journal
	if sp.refused() != nil || !j.TryLock() { // else somebody writes it
		return nil
	}
	defer j.Unlock()
	j.writer.Release()
	return journal.Cut(j.file, sp.Live, keptSegments)
}
