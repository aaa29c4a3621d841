package spacefile

import (
	"errors"
	"fmt"
	"os"

	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/journal"
	"github.com/everheap/everheap/internal/mapping"
)

// Missing describes a file of an open space that was removed, replaced or cut.
type Missing struct {
	File string // its name
	Err  error
	Cut  bool // the file has its name, but it is shorter than it was, or has new holes
}

// ExamineHeap returns what has happened to the heap file since the space was opened; nil:
// nothing. w points to the words of live.
func (d *Dir) ExamineHeap(w *format.Live) *Missing {
	carved := w.Carved.Load() // before the size: both only grow, the size first
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

// ExamineJournal returns what has happened to the journal since the space was opened; nil:
// nothing. It compares the disk space with the length of all segments: a file that was cut,
// and that grew again by later writes, has a hole. It misses a hole that is no larger than
// the space which the file system adds to the file for itself.
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
		damage.Offset, damage.What = 0, fmt.Sprintf("the file has new holes: it takes only %d bytes on disk, of %d", s.Disk, size)
	}
	return &Missing{File: journal.FileName, Cut: true, Err: damage}
}

// JournalSize returns the status of the journal, and the length that it must have at least.
// Members extend the journal before they publish its new length, and publish a smaller
// length before they cut it (J5, J6). So if the journal is too short, JournalSize reads the
// published length again.
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

// Whole reports whether a journal has at least size bytes, all of them with space on disk.
func Whole(s mapping.Status, size int64) bool { return s.Size >= size && s.Disk >= size }

// elsewhere returns what has happened to a file whose name is gone or names another file;
// nil: it names the file.
func (d *Dir) elsewhere(name string, id mapping.FileID, s mapping.Status, err error) *Missing {
	switch {
	case err == nil && s.FileID == id:
		return nil
	case err == nil:
		err = fmt.Errorf("%w: %s is another file than the one that the space was opened with; nothing is written to it", ErrReplaced, d.Join(name))
	case errors.Is(err, os.ErrNotExist):
		err = fmt.Errorf("%w: %s was removed while the space is open", ErrReplaced, d.Join(name))
	default:
		err = fmt.Errorf("%w: looking for %s: %w", mapping.ErrIO, d.Join(name), err)
	}
	return &Missing{File: name, Err: err}
}

// ErrNoJournal says that there is no journal where there must be one.
var ErrNoJournal = &format.DamageError{File: journal.FileName, What: "the file is missing, so the commits since the newest anchor cannot be recovered. To open the space without them, create an empty file of that name"}
