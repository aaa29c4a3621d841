package journal

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"

	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/mapping"
)

// SkipSums makes Load accept frames with wrong checksums. A test uses it to show that such a
// fault would be noticed.
var SkipSums = false

// Log has the frames that Load found in a journal file.
type Log struct {
	file     mapping.File
	frames   []loaded      // by first version
	segments [][][2]uint64 // by segment: the first and last versions of its frames
}

// loaded is a frame, or a record assembled from its parts. The payload of a frame stays
// in the file: a journal is long, and the second read finds it in the caches.
type loaded struct {
	head   format.FrameHead
	off    int64  // offset of the payload in the file
	end    int64  // end of the frame, or of the last part, in the file
	record []byte // the assembled record; nil for a frame
}

// payload returns the records of a frame, in buf if that is large enough, and the buffer.
func (l *Log) payload(f *loaded, buf []byte) (records, _ []byte, err error) {
	if f.record != nil {
		return f.record, buf, nil
	}
	n := format.FrameHeadSize + int(f.head.Size)
	if cap(buf) < n {
		buf = make([]byte, max(n, maxFrame+format.FrameHeadSize))
	}
	b := buf[:n]
	if _, err := l.file.ReadAt(b, f.off-int64(format.FrameHeadSize)); err != nil {
		return nil, buf, fmt.Errorf("reading the journal: %w", err)
	}
	if h, ok := format.DecodeFrameHead(b); !ok || h != f.head || !SkipSums && format.Checksum(b[8:]) != h.Sum {
		return nil, buf, &format.DamageError{File: FileName, Offset: f.off, What: "it changes while it is read"}
	}
	return b[format.FrameHeadSize:], buf, nil
}

// Load reads all frames of the file that have versions above the floor. It skips
// everything else.
func Load(f mapping.File, space [16]byte, floor format.Version) (*Log, error) {
	return LoadKept(f, space, floor, floor)
}

// LoadKept is Load, but notes for Segments the frames of each segment with versions above
// kept, which is not above the floor.
func LoadKept(f mapping.File, space [16]byte, floor, kept format.Version) (*Log, error) {
	return load(f, space, floor, kept, func(int) bool { return true })
}

// load is Load of some of the segments.
func load(f mapping.File, space [16]byte, floor, kept format.Version, needed func(segment int) bool) (*Log, error) {
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	l := &Log{file: f}
	p := partial{}
	buf := make([]byte, format.SegmentSize)
	for off := int64(0); off < size && len(l.segments) < format.NumSegments; off += format.SegmentSize {
		if !needed(len(l.segments)) {
			l.segments = append(l.segments, nil)
			continue
		}
		b := buf[:min(format.SegmentSize, size-off)]
		if n, err := f.ReadAt(b, off); err != nil && !errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("reading the journal: %w", err)
		} else if n < len(b) {
			b = b[:n]
		}
		l.segments = append(l.segments, nil)
		l.scan(b, off, spaceWord(space), [2]uint64{uint64(floor), uint64(kept)}, p)
	}
	l.frames = append(l.frames, p.whole()...)
	slices.SortStableFunc(l.frames, func(a, b loaded) int { return cmp.Compare(a.head.First, b.head.First) })
	return l, nil
}

// ForeignTo reports whether a file is the journal of a space with another id: one of its
// segments begins with a frame of that space.
func ForeignTo(f mapping.File, space [16]byte) (bool, error) {
	size, err := f.Size()
	if err != nil {
		return false, err
	}
	b := make([]byte, format.FrameAlign)
	for off := int64(0); off < size; off += format.SegmentSize {
		n, err := f.ReadAt(b, off)
		if err != nil && !errors.Is(err, io.EOF) {
			return false, fmt.Errorf("reading the journal: %w", err)
		}
		if h, ok := format.DecodeFrameHead(b[:n]); ok && h.Space != spaceWord(space) {
			return true, nil
		}
	}
	return false, nil
}

// scan finds the frames of a segment, which lies at off.
func (l *Log) scan(b []byte, off int64, space uint64, floors [2]uint64, p partial) {
	segment := len(l.segments) - 1
	for at, frame := range framesIn(b, space) {
		h, _ := format.DecodeFrameHead(frame)
		if h.Last > floors[1] {
			l.segments[segment] = append(l.segments[segment], [2]uint64{h.First, h.Last})
		}
		if h.Last <= floors[0] {
			continue
		}
		if h.Parts == 1 {
			l.frames = append(l.frames, loaded{head: h, off: off + int64(at+format.FrameHeadSize), end: off + int64(at+len(frame))})
		} else {
			p.add(h, part{slices.Clone(frame[format.FrameHeadSize:]), off + int64(at+len(frame))})
		}
	}
}

// framesIn returns the whole frames of the space in b, with their offsets.
func framesIn(b []byte, space uint64) iter.Seq2[int, []byte] {
	return func(yield func(at int, frame []byte) bool) {
		for at := 0; len(b)-at >= format.FrameHeadSize; {
			h, ok := format.DecodeFrameHead(b[at:])
			n := format.FrameHeadSize + int(h.Size)
			if !ok || h.Space != space || n > len(b)-at || !SkipSums && format.Checksum(b[at+8:at+n]) != h.Sum {
				at += format.FrameAlign
				continue
			}
			if !yield(at, b[at:at+n]) {
				return
			}
			at += (n + format.FrameAlign - 1) &^ (format.FrameAlign - 1)
		}
	}
}

// partial collects the parts of records by the fields that these have in common: the whole
// head but the number of the part.
type partial map[format.FrameHead]map[uint32]part

// part is one part, and where it ends in the file.
type part struct {
	payload []byte
	end     int64
}

func (p partial) add(key format.FrameHead, of part) {
	number := key.Part
	key.Part, key.Sum, key.Size = 0, 0, 0
	if p[key] == nil {
		p[key] = map[uint32]part{}
	}
	p[key][number] = of
}

// whole returns the records whose parts are complete.
func (p partial) whole() []loaded {
	var list []loaded
	for key, parts := range p {
		if len(parts) != int(key.Parts) {
			continue
		}
		var b []byte
		for i := range key.Parts {
			b = append(b, parts[i].payload...)
		}
		list = append(list, loaded{head: key, record: b, end: parts[key.Parts-1].end})
	}
	return list
}

// History is a part of a log: the records of consecutive versions.
type History struct {
	Last format.Version // version of the last record; the version before the history if there is none
	log  *Log
	list []piece
}

// piece is a frame, and the range of its records that belong to the history.
type piece struct {
	frame       *loaded
	first, last uint64
}

func (h *History) Empty() bool { return len(h.list) == 0 }

// Split returns the records up to a version, and those after it.
func (h *History) Split(at format.Version) (before, after *History) {
	before, after = &History{Last: min(at, h.Last), log: h.log}, &History{Last: h.Last, log: h.log}
	for _, p := range h.list {
		if p.first <= uint64(at) {
			before.list = append(before.list, piece{p.frame, p.first, min(p.last, uint64(at))})
		}
		if p.last > uint64(at) {
			after.list = append(after.list, piece{p.frame, max(p.first, uint64(at)+1), p.last})
		}
	}
	return before, after
}

// Follow returns the records that follow the version with the chain, in order, up to the
// first missing one (J4).
func (l *Log) Follow(version format.Version, chain uint64) (*History, error) {
	list := &History{Last: version, log: l}
	var buf []byte
	for i := range l.frames {
		f, at := &l.frames[i], uint64(list.Last)
		if f.head.Last <= at {
			continue
		}
		if f.head.First > at+1 {
			break // the frames after this one begin even later
		}
		before := f.head.Before
		if f.head.First <= at { // written by two leaders: the chain is in its records
			var records []byte
			var err error
			if records, buf, err = l.payload(f, buf); err != nil {
				return nil, err
			}
			before = chainAt(records, at)
		}
		if before == chain { // else of another history
			list.list = append(list.list, piece{f, at + 1, f.head.Last})
			list.Last, chain = format.Version(f.head.Last), f.head.After
		}
	}
	return list, nil
}

// chainAt returns the chain of a version among the records; 0 if none of them is of that version.
func chainAt(records []byte, version uint64) uint64 {
	for {
		h, _, rest, ok := format.NextRecord(records)
		if !ok {
			return 0
		}
		if h.Version == version {
			return h.Chain
		}
		records = rest
	}
}

// All calls fn for each record, until fn returns an error. The changes are valid until fn
// returns.
func (h *History) All(fn func(h format.RecordHead, ops []byte) error) error {
	var buf []byte
	for _, p := range h.list {
		records, b, err := h.log.payload(p.frame, buf)
		if err != nil {
			return err
		}
		buf = b
		for next := p.first; next <= p.last; {
			head, ops, rest, ok := format.NextRecord(records)
			if !ok || head.Version > next {
				return &format.DamageError{File: FileName, Offset: p.frame.off, What: fmt.Sprintf("the record of version %d is not in its frame", next)}
			}
			if head.Version == next {
				if err := fn(head, ops); err != nil {
					return err
				}
				next++
			}
			records = rest
		}
	}
	return nil
}

// Segments returns, for each segment of the file, the newest version up to the limit of
// which it may have a record.
func (l *Log) Segments(limit format.Version) []format.Version {
	list := make([]format.Version, len(l.segments))
	for i, frames := range l.segments {
		for _, f := range frames {
			if f[0] <= uint64(limit) {
				list[i] = max(list[i], min(format.Version(f[1]), limit))
			}
		}
	}
	return list
}

// Damaged looks for a frame of the space with the version that has a wrong checksum.
func Damaged(f mapping.File, space [16]byte, version uint64) (off int64, ok bool) {
	size, err := f.Size()
	if err != nil {
		return 0, false
	}
	sector := make([]byte, format.FrameAlign)
	frame := make([]byte, format.SegmentSize)
	for ; off < size; off += format.FrameAlign {
		if _, err := f.ReadAt(sector, off); err != nil {
			return off, !errors.Is(err, io.EOF)
		}
		h, head := format.DecodeFrameHead(sector)
		if !head || h.Space != spaceWord(space) || version < h.First || version > h.Last {
			continue
		}
		n := format.FrameHeadSize + int(h.Size)
		if _, err := f.ReadAt(frame[:n], off); err != nil || format.Checksum(frame[8:n]) != h.Sum {
			return off, true
		}
	}
	return 0, false
}
