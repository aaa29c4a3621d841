package durable

import (
	"errors"
	"time"

	"github.com/everheap/everheap/internal/failure"
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
	keptSegments  = 1
	restLooks     = 3                // looks, one a second, without a commit by anybody: the space is at rest
	usedLooks     = 12               // looks that tell how much of the journal is in use
	quietSegments = 2                // in use, at any look of late: little is written
	cutFailure    = 30 * time.Second // between tries, when cutting has failed
)

// Rest is what the background remembers of its looks at the journal.
type Rest struct {
	version format.Version // at the last look
	still   int            // looks since it has changed
	used    [usedLooks]int // segments in use, at the last looks
	looks   int
	retry   time.Time
}

// Look looks at the journal, once a second, and makes it shorter where that is due.
func (r *Rest) Look(d *Writer) error {
	if d.options.NoJournal || d.Refused() != nil {
		return nil
	}
	version, err := d.NewestVersion()
	if err != nil {
		return err
	}
	r.still++
	if version != r.version {
		r.version, r.still = version, 0
	}
	_, last := d.Live.SegmentsInUse()
	r.used[r.looks%usedLooks] = last
	r.looks++
	switch {
	case time.Now().Before(r.retry):
	case r.still >= restLooks:
		err = d.RestJournal(version)
	default:
		err = r.trim(d)
	}
	if err != nil {
		r.retry = time.Now().Add(cutFailure)
	}
	return err
}

// Quiet reports whether little was written lately, or nothing for some seconds.
func (r *Rest) Quiet() bool {
	if r.still >= restLooks {
		return true
	}
	return r.looks >= usedLooks && r.most() <= quietSegments
}

// most returns how many segments were in use at any of the last looks, at the most.
func (r *Rest) most() int {
	most := 0
	for _, n := range r.used {
		most = max(most, n)
	}
	return most
}

// trim leaves what was in use lately (J8).
func (r *Rest) trim(d *Writer) error {
	if r.looks < usedLooks || d.Live.Segments() <= keptSegments {
		return nil
	}
	if most := max(keptSegments, r.most()); d.Live.Segments() > most {
		return journal.Cut(d.journal.file, d.Live, most)
	}
	if used, last := d.Live.SegmentsInUse(); last > used && d.journal.TryLock() {
		defer d.journal.Unlock()
		if w := d.journal.writer; w.Segment() >= used {
			w.Release()
		}
	}
	return nil
}

// RestJournal leaves one segment of the journal, if the version is the newest still (J7).
func (d *Writer) RestJournal(version format.Version) error {
	if long, err := d.JournalIsLong(); err != nil || !long {
		return err
	}
	if err := d.coverJournal(version); err != nil || d.Live.JournalFloor() < version {
		return err
	}
	return d.CutJournal()
}

// JournalIsLong reports whether the journal has more than it keeps at rest.
func (d *Writer) JournalIsLong() (bool, error) {
	if d.options.NoJournal {
		return false, nil
	}
	if d.Live.Segments() > keptSegments {
		return true, nil
	}
	size, err := d.journal.file.Size()
	return size > keptSegments*format.SegmentSize, err
}

// coverJournal sees to it that both usable anchors have the version, unless there is a
// newer one. After a clean close it leaves the anchor that lists the free space.
func (d *Writer) coverJournal(version format.Version) error {
	for range 2 {
		newest, err := d.NewestVersion()
		if err != nil || newest != version || d.Live.JournalFloor() >= version || d.Live.Words().Clean.Load() != 0 {
			return err
		}
		if err := d.WriteAnchor(nil, true); errors.Is(err, failure.ErrBusy) {
			return nil // so many others write one
		} else if err != nil {
			return err
		}
	}
	return nil
}

// CompactJournal gives back what is not needed of the journal, whoever writes it.
func (d *Writer) CompactJournal() error {
	long, err := d.JournalIsLong()
	if err != nil || !long {
		return err
	}
	version, err := d.NewestVersion()
	if err == nil {
		err = d.coverJournal(version)
	}
	if err == nil {
		err = d.CutJournal()
	}
	return err
}

// CutJournal leaves one segment of the journal, or as many as are needed or claimed by
// others.
func (d *Writer) CutJournal() error {
	j := &d.journal
	if d.Refused() != nil || !j.TryLock() { // else somebody writes it
		return nil
	}
	defer j.Unlock()
	j.writer.Release()
	return journal.Cut(j.file, d.Live, keptSegments)
}
