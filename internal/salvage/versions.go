package salvage

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"unsafe"

	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/journal"
	"github.com/everheap/everheap/internal/live"
	"github.com/everheap/everheap/internal/spacefile"
)

// candidate is a version that the salvage could dump.
type candidate struct {
	addr    format.Addr
	state   format.State
	made    bool // the state was not found but reconstructed, from the root of the object table
	found   string
	got     uint64 // how many objects and entries can be read
	objects uint64 // how many objects cannot be read; how many entries they had is unknown
	entries uint64 // how many entries cannot be read, of objects that can
	history *journal.History
	last    *format.RecordHead // the last record of the history; nil: it is empty
}

// reach returns the version at which the journal's changes end.
func (c *candidate) reach() uint64 {
	if c.last != nil {
		return c.last.Version
	}
	return c.state.Version
}

// missing returns how many objects and entries are known to be missing.
func (c *candidate) missing() uint64 { return c.objects + c.entries }

// better reports whether to dump this version rather than the other one.
//
// If the journal's changes of both end at the same version, the better one is the one with
// less missing. Otherwise the newer one is better, with one exception: if more than a
// hundredth of it is missing and the older one has more, the older one is better. But the
// older one may have at most as much more as the newer one lacks: a program must have
// deleted the rest since.
func (c *candidate) better(other *candidate) bool {
	if other == nil {
		return true
	}
	if c.reach() == other.reach() {
		return c.missing() < other.missing()
	}
	newer, older := c, other
	if c.reach() < other.reach() {
		newer, older = other, c
	}
	olderWins := newer.missing() > newer.got/100 && older.got > newer.got &&
		(newer.objects > 0 || older.got <= newer.got+newer.entries)
	return olderWins == (older == c)
}

// choose returns the version to dump.
func (s *salvager) choose() (*candidate, error) {
	log := s.openJournal()
	list := s.anchored()
	best := s.walkNewestFirst(nil, list, log)
	if best == nil || best.missing() > 0 || s.doubtful {
		if best == nil {
			s.note(0, spacefile.HeapName, format.AnchorOffset, "no anchor is usable; the whole file was searched for a version")
		}
		states, roots := s.scan()
		list = append(append(list, states...), roots...)
		best = s.walkNewestFirst(best, spread(states), log)
		best = s.walkNewestFirst(best, spread(roots), log)
	}
	if best == nil {
		return nil, &format.DamageError{File: spacefile.HeapName, What: "no version of the space is left: nothing can be salvaged"}
	}
	s.noteNewer(list, best.reach())
	return best, nil
}

// noteNewer notes that there is, or was, a newer version than the dumped one.
func (s *salvager) noteNewer(list []*candidate, reach uint64) {
	for _, c := range list {
		if c.history != nil && c.state.Version > reach { // choose has walked it, and it was not better
			s.lose(0, c.addr, fmt.Errorf("version %d is newer, but %d objects and %d entries of it are missing", c.state.Version, c.objects, c.entries))
			return
		}
	}
	if s.newest > reach {
		s.lose(0, 0, &format.DamageError{File: spacefile.HeapName, Offset: format.AnchorOffset, What: fmt.Sprintf("version %d, which an anchor names, is missing", s.newest)})
	}
}

// place returns the file and the offset of an address.
func (s *salvager) place(a format.Addr) (string, int64) {
	return spacefile.HeapName, int64(uint64(a) - s.header.Base)
}

// walkNewestFirst walks the versions of a list, newest first, until one is whole. It returns
// the best of them and of best.
func (s *salvager) walkNewestFirst(best *candidate, list []*candidate, log *journal.Log) *candidate {
	for _, c := range list {
		s.follow(c, log)
		s.measure(c)
		if c.better(best) {
			best = c
		}
		if c.missing() == 0 {
			break
		}
	}
	return best
}

// measure counts the objects and entries that can be read and that are missing in a version.
func (s *salvager) measure(c *candidate) {
	d := s.dump(c)
	d.Put = func(format.OpHead, []byte) error { return nil }
	d.Lost = func(uint64, format.Addr, error) error { return nil }
	if s.tags != nil {
		d.Meet = s.countTags
	}
	_ = s.guarded(d.Run) // a fault ends the count, and is not an error
	c.got, c.entries = d.Objects+d.Entries, d.Missing
	if c.made {
		c.state.Objects, c.state.NextIndex = d.Objects+1, d.Last+indexGap
	}
	c.objects = c.state.Objects - min(d.Objects, c.state.Objects)
}

// follow finds the journal's records of the versions after a candidate.
func (s *salvager) follow(c *candidate, log *journal.Log) {
	c.history = new(journal.History)
	if log == nil {
		return
	}
	h, err := log.Follow(format.Version(c.state.Version), c.state.Chain)
	if err != nil || h.Empty() {
		return
	}
	c.history = h
	_ = h.All(func(r format.RecordHead, _ []byte) error { // up to the first record that cannot be read
		c.last = &r
		return nil
	})
}

// openJournal reads the journal; nil if it cannot be read.
func (s *salvager) openJournal() *journal.Log {
	f, err := s.dir.OpenFile(journal.FileName, os.O_RDONLY, 0)
	var log *journal.Log
	if err == nil {
		s.log = f
		log, err = journal.Load(f, s.header.SpaceID, 0)
	}
	if err != nil {
		s.doubtful = true
		s.note(0, journal.FileName, 0, err.Error())
		return nil
	}
	return log
}

// anchored returns the version that was current last, if live is of this boot, and the
// versions of the anchors: each once, the newest first. It sets doubtful if there may be a
// version that is newer than all of them.
func (s *salvager) anchored() []*candidate {
	var list []*candidate
	var anchors []*format.Anchor
	if info, err := s.locks.Stat(); err == nil {
		if current, ok := live.Peek(s.dir, s.header.SpaceID, info); ok {
			if c := s.candidate(current, "live names it as current"); c != nil {
				list = append(list, c)
			}
		}
	}
	page := make([]byte, format.PageSize)
	for i := range format.NumAnchors {
		off := format.AnchorOffset + int64(i)*format.PageSize
		if _, err := s.file.ReadAt(page, off); err != nil && !errors.Is(err, io.EOF) {
			s.doubtful = true
			s.note(0, spacefile.HeapName, off, fmt.Sprintf("an anchor cannot be read: %v", err))
			continue
		}
		a, err := format.DecodeAnchor(page, i, s.header)
		if err != nil {
			if slices.ContainsFunc(page, func(b byte) bool { return b != 0 }) {
				s.doubtful = true
				s.note(0, spacefile.HeapName, off, err.(*format.DamageError).What)
			}
			continue
		}
		anchors = append(anchors, a)
		if a.Version >= s.newest {
			s.newest, s.limit = a.Version, a.Limit
		}
		c := s.candidate(format.Addr(a.State), "an anchor names it")
		if c != nil && c.state.Version == a.Version {
			list = append(list, c)
		}
	}
	slices.SortStableFunc(list, func(a, b *candidate) int { return cmp.Compare(b.state.Version, a.state.Version) })
	for _, a := range anchors {
		if len(list) == 0 || a.Version > list[0].state.Version {
			s.doubtful = true
			_, off := s.place(format.Addr(a.State))
			s.note(0, spacefile.HeapName, off, fmt.Sprintf("the state of the anchored version %d is damaged", a.Version))
		}
	}
	return slices.CompactFunc(list, func(a, b *candidate) bool { return a.addr == b.addr })
}

// candidate returns the version whose state is at a; nil if the state is damaged (Y2).
func (s *salvager) candidate(a format.Addr, found string) *candidate {
	if err := s.verifier(format.MaxVersion)(a, format.KindState); err != nil {
		return nil
	}
	c := &candidate{addr: a, found: found}
	if err := s.guarded(func() error { c.state = *s.stateAt(a); return nil }); err != nil {
		return nil
	}
	if s.r.Size(a) != format.ByteCount(format.StateSize) || c.state.Catalog != format.CatalogIndex || c.state.Types != format.TypesIndex || c.state.Version == 0 {
		return nil
	}
	return c
}

// stateAt returns the state in a verified block.
func (s *salvager) stateAt(a format.Addr) *format.State {
	return (*format.State)(unsafe.Add(unsafe.Pointer(nil), uintptr(a)+format.HeaderSize))
}
