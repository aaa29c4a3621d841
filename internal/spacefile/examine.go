package spacefile

import (
	"errors"
	"fmt"
	"os"

	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/journal"
	"github.com/everheap/everheap/internal/mapping"
)

// Missing says what has become of a file of an open space, if it is not what it was.
type Missing struct {
	File string // its name
	Err  error
	Cut  bool // the file is in its place, and shorter than it was, or has holes
}

// ExamineHeap looks at the heap file, and returns nil if it is what it was. w are the
// words of live.
func (d *Dir) ExamineHeap(w *format.Live) *Missing {
	carved := w.Carved.Load() // before the size: both rise
	s, err := d.Stat(HeapName)
	if m := d.elsewhere(HeapName, d.HeapID, s, err); m != nil {
		return m
	}
	if uint64(s.Size) < carved {
		return &Missing{File: HeapName, Cut: true, Err: &format.DamageError{File: HeapName, Offset: s.Size,
			What: fmt.Sprintf("the file was truncated while the space is open: %d bytes of it were in use", carved)}}
	}
	return nil
}

// ExamineJournal looks at the journal, and returns nil if it is what it was. If all segments
// have their space on disk, no process has cut the file so that later writes made it grow
// again. It does not see a hole that is no larger than what the file system needs for itself.
func (d *Dir) ExamineJournal(w *format.Live, id mapping.FileID) *Missing {
	s, size, err := JournalSize(w, func() (mapping.Status, error) { return d.Stat(journal.FileName) })
	if m := d.elsewhere(journal.FileName, id, s, err); m != nil {
		return m
	}
	if Whole(s, size) {
		return nil
	}
	damage := &format.DamageError{File: journal.FileName, Offset: s.Size, What: fmt.Sprintf("the file was truncated while the space is open: it had %d bytes", size)}
	if s.Size >= size {
		damage.Offset, damage.What = 0, fmt.Sprintf("the file has holes that it did not have: it takes %d bytes on disk, of %d", s.Disk, size)
	}
	return &Missing{File: journal.FileName, Cut: true, Err: damage}
}

// JournalSize returns the status of the journal, and its least length. Members extend the
// journal before they publish its new length, and publish a smaller length before they cut
// it (J5, J6). So if the journal is too short, JournalSize reads the published length again.
func JournalSize(w *format.Live, stat func() (mapping.Status, error)) (s mapping.Status, size int64, err error) {
	for {
		cuts := w.JournalCuts.Load()
		count := w.SegmentCount.Load()
		s, err = stat()
		size = int64(count) * format.SegmentSize
		if err != nil || Whole(s, size) || w.JournalCuts.Load() == cuts && w.SegmentCount.Load() >= count {
			return s, size, err
		}
	}
}

// Whole reports whether a journal has so many bytes, all of them with space on disk.
func Whole(s mapping.Status, size int64) bool { return s.Size >= size && s.Disk >= size }

// elsewhere says what has become of a file whose name leads elsewhere; nil if it leads to
// the file.
func (d *Dir) elsewhere(name string, id mapping.FileID, s mapping.Status, err error) *Missing {
	switch {
	case err == nil && s.FileID == id:
		return nil
	case err == nil:
		err = fmt.Errorf("%w: %s is another file than the one that the space was opened with; nothing is written to it", ErrReplaced, d.Join(name))
	case errors.Is(err, os.ErrNotExist):
		err = fmt.Errorf("%w: %s is not there any more, while the space is open", ErrReplaced, d.Join(name))
	default:
		err = fmt.Errorf("%w: looking for %s: %w", mapping.ErrIO, d.Join(name), err)
	}
	return &Missing{File: name, Err: err}
}

// ErrNoJournal says that there is no journal where there must be one.
var ErrNoJournal = &format.DamageError{File: journal.FileName, What: "the file is missing: what was committed since the newest anchor cannot be recovered. To go on without it, create an empty file of that name"}
