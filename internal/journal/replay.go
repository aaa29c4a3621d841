package journal

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/mapping"
)

// SkipSums makes Load believe frames whose checksums do not match. It exists for
// the test that shows that such a fault does not go unnoticed.
var SkipSums = false

// Log is what was found in a journal file.
type Log struct {
	frames   []loaded      // by first version
	segments [][][2]uint64 // by segment: first and last versions of its frames
}

// loaded is a frame, or a record that was put together from its parts.
type loaded struct {
	head    format.FrameHead
	payload []byte
}

// Load reads all frames of the file that have versions above the floor. What is no
// frame is passed over.
func Load(f mapping.File, space [16]byte, floor format.Version) (*Log, error) {
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	l := new(Log)
	p := partial{}
	for off := int64(0); off < size && len(l.segments) < format.NumSegments; off += format.SegmentSize {
		b := make([]byte, min(format.SegmentSize, size-off))
		if n, err := f.ReadAt(b, off); err != nil && !errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("reading the journal: %w", err)
		} else if n < len(b) {
			b = b[:n]
		}
		l.segments = append(l.segments, nil)
		l.scan(b, spaceWord(space), floor, p)
	}
	l.frames = append(l.frames, p.whole()...)
	slices.SortStableFunc(l.frames, func(a, b loaded) int { return cmp.Compare(a.head.First, b.head.First) })
	return l, nil
}

// scan finds the frames of a segment.
func (l *Log) scan(b []byte, space uint64, floor format.Version, p partial) {
	segment := len(l.segments) - 1
	for len(b) >= format.FrameHeadSize {
		h, ok := format.DecodeFrameHead(b)
		n := format.FrameHeadSize + int(h.Size)
		if !ok || h.Space != space || n > len(b) || !SkipSums && format.Checksum(b[8:n]) != h.Sum {
			b = b[min(format.FrameAlign, len(b)):]
			continue
		}
		if h.Last > uint64(floor) {
			l.segments[segment] = append(l.segments[segment], [2]uint64{h.First, h.Last})
			frame := loaded{h, b[format.FrameHeadSize:n:n]}
			if h.Parts == 1 {
				l.frames = append(l.frames, frame)
			} else {
				p.add(frame)
			}
		}
		n = (n + format.FrameAlign - 1) &^ (format.FrameAlign - 1)
		b = b[min(n, len(b)):]
	}
}

// partial collects the parts of records: by what they have in common, which is
// all of their heads but the number of the part.
type partial map[format.FrameHead]map[uint32][]byte

func (p partial) add(f loaded) {
	key := f.head
	key.Part, key.Sum, key.Size = 0, 0, 0
	if p[key] == nil {
		p[key] = map[uint32][]byte{}
	}
	p[key][f.head.Part] = f.payload
}

// whole returns the records of which all parts are there.
func (p partial) whole() []loaded {
	var list []loaded
	for key, parts := range p {
		if len(parts) != int(key.Parts) {
			continue
		}
		var b []byte
		for i := range key.Parts {
			b = append(b, parts[i]...)
		}
		list = append(list, loaded{key, b})
	}
	return list
}

// Record is what the journal says of one version.
type Record struct {
	format.RecordHead
	Ops []byte
}

// Follow returns the records that follow the version with the chain, in their
// order, as far as none is missing (J4).
func (l *Log) Follow(version format.Version, chain uint64) []Record {
	var list []Record
	at := uint64(version)
	for _, f := range l.frames {
		if f.head.Last <= at {
			continue
		}
		if f.head.First > at+1 {
			break // the frames after this one begin even later
		}
		before, reached := f.head.Before, f.head.First-1
		var found []Record
		for rest, ok := f.payload, true; len(rest) > 0; {
			var r Record
			if r.RecordHead, r.Ops, rest, ok = format.NextRecord(rest); !ok || r.Version != reached+1 {
				break
			}
			if reached >= at {
				if reached == at && before != chain {
					break // of another history
				}
				found = append(found, r)
			}
			reached, before = r.Version, r.Chain
		}
		if len(found) > 0 {
			list = append(list, found...)
			at, chain = reached, before
		}
	}
	return list
}

// Segments returns, for each segment of the file, the newest version up to the
// limit that it may hold records of.
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
