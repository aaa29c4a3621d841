package journal

import (
	"errors"
	"fmt"
	"io"

	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/live"
	"github.com/everheap/everheap/internal/mapping"
)

// ErrGap says that the journal has no records that follow a version: they were not kept, or
// one version was never in the journal.
var ErrGap = errors.New("the journal has no records from there on")

// A Tail reads the records of all versions that follow one, as they are written. One goroutine
// at a time uses it.
//
// It remembers, for each segment, where the last frame ends that it has used, and continues
// from there: a process writes its frames into a claimed segment in order. So for a frame
// that follows, a Tail reads hardly more than the frame. If that fails (a segment was
// reused, or a record came twice or in parts), it reads all segments that may have the
// records, as a recovery does, and remembers where they ended. In both cases it accepts only
// a record with a correct checksum, the next number, and the chain of the version reached
// (J4).
type Tail struct {
	file  mapping.File
	live  *live.Live
	space [16]byte
	at    format.Version            // the last version that it has returned
	chain uint64                    // chain of at; 0: unknown yet
	read  [format.NumSegments]int64 // by segment: the offset up to which it has used frames
	buf   []byte                    // for a frame
}

// NewTail returns a Tail that begins with the records after a version. chain is the
// version's chain; 0: the one from which records lead to the newest version.
func NewTail(f mapping.File, lv *live.Live, space [16]byte, version format.Version, chain uint64) *Tail {
	return &Tail{file: f, live: lv, space: space, at: version, chain: chain}
}

// At returns the last version whose record was returned, and its chain; 0 if that is
// unknown.
func (t *Tail) At() (format.Version, uint64) { return t.at, t.chain }

// Next calls fn with records that follow, up to the version limit, which is in the journal:
// with those that it can read cheaply, and with at least one if limit is newer than the last
// version. before is the chain of the previous version. The changes are valid until fn
// returns. Errors: ErrGap, and those of the file and of fn; after an error of fn its record
// counts as not returned.
func (t *Tail) Next(limit format.Version, fn func(h format.RecordHead, before uint64, ops []byte) error) error {
	if t.at >= limit {
		return nil
	}
	began := t.at
	if t.chain != 0 {
		if err := t.goOn(limit, fn); err != nil || t.at > began {
			return err
		}
	}
	return t.search(limit, fn)
}

// goOn returns the records that were written to the segments since they were read.
func (t *Tail) goOn(limit format.Version, fn func(h format.RecordHead, before uint64, ops []byte) error) error {
	for again := true; again && t.at < limit; {
		again = false
		for i := range t.live.Segments() {
			if t.live.SegmentLast(i) <= t.at {
				continue
			}
			at := t.at
			if err := t.goOnIn(i, limit, fn); err != nil {
				return err
			}
			again = again || t.at > at
		}
	}
	return nil
}

// goOnIn returns the records that follow in a segment, from the offset up to which it was read.
func (t *Tail) goOnIn(segment int, limit format.Version, fn func(h format.RecordHead, before uint64, ops []byte) error) error {
	for t.at < limit && t.read[segment]+int64(format.FrameHeadSize) <= format.SegmentSize {
		off := int64(segment)*format.SegmentSize + t.read[segment]
		b, err := t.frame(nil, off, format.FrameAlign)
		if err != nil {
			return err
		}
		h, ok := format.DecodeFrameHead(b)
		size := format.FrameHeadSize + int(h.Size)
		if !ok || h.Space != spaceWord(t.space) || t.read[segment]+int64(size) > format.SegmentSize ||
			h.Parts != 1 || h.First != uint64(t.at)+1 || h.Before != t.chain {
			return nil
		}
		if format.Version(h.Last) > limit { // return only some of its records now; search finds the rest next time
			return nil
		}
		if b, err = t.frame(b, off, size); err != nil {
			return err
		}
		if len(b) < size || format.Checksum(b[8:size]) != h.Sum { // it is being written
			return nil
		}
		if err := t.records(b[format.FrameHeadSize:size], limit, fn); err != nil {
			return err
		}
		t.used(off + int64(size))
	}
	return nil
}

// frame reads a frame of which b has the beginning, size bytes in total; less at the end of
// the file.
func (t *Tail) frame(b []byte, off int64, size int) ([]byte, error) {
	if size <= len(b) {
		return b, nil
	}
	if cap(t.buf) < size {
		t.buf = append(make([]byte, 0, max(size, 4<<10)), b...)
	}
	n, err := t.file.ReadAt(t.buf[len(b):size], off+int64(len(b)))
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("reading the journal: %w", err)
	}
	return t.buf[:len(b)+n], nil
}

// used notes that all records of the frame were returned that ends at that offset of the file.
func (t *Tail) used(end int64) {
	segment := (end - 1) / format.SegmentSize
	t.read[segment] = (end - segment*format.SegmentSize + format.FrameAlign - 1) &^ (format.FrameAlign - 1)
}

// records returns those records of a frame that follow.
func (t *Tail) records(b []byte, limit format.Version, fn func(h format.RecordHead, before uint64, ops []byte) error) error {
	for t.at < limit {
		h, ops, rest, ok := format.NextRecord(b)
		if !ok {
			return nil
		}
		if h.Version == uint64(t.at)+1 {
			if err := fn(h, t.chain, ops); err != nil {
				return err
			}
			t.at, t.chain = format.Version(h.Version), h.Chain
		}
		b = rest
	}
	return nil
}

// search looks for the records that follow in all segments.
func (t *Tail) search(limit format.Version, fn func(h format.RecordHead, before uint64, ops []byte) error) error {
	t.read = [format.NumSegments]int64{}
	log, err := load(t.file, t.space, t.at, t.at, func(i int) bool { return t.live.SegmentLast(i) > t.at })
	if err != nil {
		return err
	}
	chain, h, err := t.way(log, limit)
	if err != nil {
		return err
	}
	t.chain = chain
	began := t.at
	err = h.All(func(r format.RecordHead, ops []byte) error {
		if format.Version(r.Version) > limit {
			return errEnough
		}
		if err := fn(r, t.chain, ops); err != nil {
			return err
		}
		t.at, t.chain = format.Version(r.Version), r.Chain
		if h.list[0].last == r.Version {
			t.used(h.list[0].frame.end)
			h.list = h.list[1:]
		}
		return nil
	})
	if errors.Is(err, errEnough) {
		err = nil
	}
	if err == nil && t.at == began {
		return ErrGap
	}
	return err
}

var errEnough = errors.New("enough")

// way returns the records that lead to the limit, or as far as any do, and the chain with
// which they begin.
func (t *Tail) way(log *Log, limit format.Version) (chain uint64, best *History, err error) {
	chains := map[uint64]bool{t.chain: true}
	if t.chain == 0 {
		if chains, err = log.chainsAt(t.at); err != nil {
			return 0, nil, err
		}
	}
	for c := range chains {
		h, err := log.Follow(t.at, c)
		if err != nil {
			return 0, nil, err
		}
		if best == nil || h.Last > best.Last {
			chain, best = c, h
		}
	}
	if best == nil || best.Last < limit && best.Last == t.at {
		return 0, nil, ErrGap
	}
	return chain, best, nil
}

// chainsAt returns the chains of the version in the frames that continue from it.
func (l *Log) chainsAt(version format.Version) (map[uint64]bool, error) {
	chains := map[uint64]bool{}
	var buf []byte
	for i := range l.frames {
		f := &l.frames[i]
		switch {
		case f.head.First == uint64(version)+1:
			chains[f.head.Before] = true
		case f.head.First <= uint64(version) && f.head.Last > uint64(version):
			records, b, err := l.payload(f, buf)
			if err != nil {
				return nil, err
			}
			buf = b
			chains[chainAt(records, uint64(version))] = true
		}
	}
	return chains, nil
}
