package durable

import (
	"errors"
	"time"

	"github.com/everheap/everheap/internal/failure"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/journal"
)

// The journal grows with what is written between two anchors, and its space is reused. When that
// much space is not needed any more, it is given back:
//
//	J7  A space at rest has a journal of one segment. It is at rest if nobody has committed for
//	    some seconds, if its last user has closed it, or if it was compacted. Before the journal
//	    is cut, two anchors of the newest version make all of it unnecessary. They are written
//	    once, and only if the journal has more than one segment: so a space at rest writes nothing
//	    more.
//	J8  In a space with commits the journal keeps as many segments as were in use at any of the
//	    last dozen looks: so it is not cut when they will be needed again at once. A process that
//	    has claimed a segment gives it up if one before it is free; otherwise a process that
//	    writes little would keep all segments before its own.
//
// J6 of package journal says which process may cut where, and why nothing is lost by that.

const (
	keptSegments  = 1
	restLooks     = 3                // so many looks, one a second, without any commit mean that the space is at rest
	usedLooks     = 12               // so many last looks tell how much of the journal is in use
	quietSegments = 2                // no more in use at any of the last looks means that little is written
	cutFailure    = 30 * time.Second // pause after cutting has failed
)

// Rest is the memory of the background of its looks at the journal.
type Rest struct {
	version format.Version // newest version at the last look
	still   int            // looks since version changed
	used    [usedLooks]int // segments in use at the last looks
	looks   int
	retry   time.Time
}

// Look looks at the journal, once a second, and makes it shorter if that is due.
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

// Quiet reports whether little was written during the last looks, or nothing for some seconds.
func (r *Rest) Quiet() bool {
	if r.still >= restLooks {
		return true
	}
	return r.looks >= usedLooks && r.most() <= quietSegments
}

// most returns the most segments that were in use at any of the last looks.
func (r *Rest) most() int {
	most := 0
	for _, n := range r.used {
		most = max(most, n)
	}
	return most
}

// trim cuts the journal to as many segments as were in use during the last looks (J8).
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

// RestJournal leaves one segment of the journal, if the version still is the newest (J7).
func (d *Writer) RestJournal(version format.Version) error {
	if long, err := d.JournalIsLong(); err != nil || !long {
		return err
	}
	if err := d.coverJournal(version); err != nil || d.Live.JournalFloor() < version {
		return err
	}
	return d.CutJournal()
}

// JournalIsLong reports whether the journal is longer than at rest.
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

// coverJournal makes sure that both usable anchors have the version, unless there is a newer one.
// After a clean close it keeps the anchor that lists the free space.
func (d *Writer) coverJournal(version format.Version) error {
	for range 2 {
		newest, err := d.NewestVersion()
		if err != nil || newest != version || d.Live.JournalFloor() >= version || d.Live.Words().Clean.Load() != 0 {
			return err
		}
		if err := d.WriteAnchor(nil, true); errors.Is(err, failure.ErrBusy) {
			return nil // other processes are writing anchors in all slots
		} else if err != nil {
			return err
		}
	}
	return nil
}

// CompactJournal gives back the parts of the journal that are not needed, whichever process writes
// it.
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

// CutJournal leaves one segment of the journal, or as many as are needed or claimed by others.
func (d *Writer) CutJournal() error {
	j := &d.journal
	if d.Refused() != nil || !j.TryLock() { // another goroutine is writing it
		return nil
	}
	defer j.Unlock()
	j.writer.Release()
	return journal.Cut(j.file, d.Live, keptSegments)
}
