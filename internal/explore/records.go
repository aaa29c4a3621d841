//go:build explore

package explore

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"

	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/invariant"
	"github.com/everheap/everheap/internal/journal"
)

// runFrames is the greatest number of bytes that a run writes in a segment.
const runFrames = 64 << 10

// journalFrames returns the parts of all segments that a run may have written.
func (w *World) journalFrames() (b []byte, err error) {
	f, err := os.Open(filepath.Join(w.dir, journal.FileName))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	for at := int64(0); err == nil && at < info.Size(); at += format.SegmentSize {
		piece := make([]byte, min(runFrames, info.Size()-at))
		if _, err = f.ReadAt(piece, at); err == nil {
			b = append(b, piece...)
		}
	}
	return b, err
}

// A recordName identifies a version in one history of the space.
type recordName struct{ version, chain uint64 }

// eachRecord calls fn with all records of the frames, in their order in the file.
func eachRecord(b []byte, fn func(h format.RecordHead, ops []byte)) error {
	for at := 0; at+format.FrameHeadSize <= len(b); at += format.FrameAlign {
		h, ok := format.DecodeFrameHead(b[at:])
		end := at + format.FrameHeadSize + int(h.Size)
		if !ok || h.Parts != 1 || end > len(b) || format.Checksum(b[at+8:end]) != h.Sum {
			continue
		}
		want := h.First
		for rest := b[at+format.FrameHeadSize : end]; len(rest) > 0; want++ {
			head, ops, next, ok := format.NextRecord(rest)
			if !ok {
				return fmt.Errorf("the records of the frame at %d go beyond its end", at)
			}
			if head.Version != want {
				return fmt.Errorf("the frame at %d has version %d in place of version %d", at, head.Version, want)
			}
			fn(head, ops)
			rest = next
		}
	}
	return nil
}

// isAside reports whether a record names an aside.
func isAside(ops []byte) bool {
	h, _, _, ok := format.NextOp(ops)
	return ok && format.OpKindOf(h.What) == format.OpAside
}

// findAbandoned notes the journal's records of versions that a power loss has undone.
func (w *World) findAbandoned() error {
	w.abandoned = map[recordName]bool{}
	b, err := w.journalFrames()
	if err != nil {
		return err
	}
	newest := w.liveWords().Written.Load()
	return eachRecord(b, func(h format.RecordHead, _ []byte) {
		if h.Version > newest {
			w.abandoned[recordName{h.Version, h.Chain}] = true
		}
	})
}

// records verifies the records of the journal (J2). All records of a version have the same
// changes; these are the changes of its transaction; and no change was copied from a block
// that had been reclaimed.
func (r *Run) records(when string) {
	if r.world.options.NoJournal {
		return
	}
	b, err := r.world.journalFrames()
	if err != nil {
		r.fail("%s: %v", when, err)
		return
	}
	told := map[recordName][]byte{}
	set := map[uint64]*write{}
	for _, w := range r.writes {
		if w.outcome == committed && w.version != 0 {
			set[uint64(w.version)] = w
		}
	}
	reclaimed := bytes.Repeat([]byte{invariant.PoisonByte}, 8)
	err = eachRecord(b, func(h format.RecordHead, ops []byte) {
		n := recordName{h.Version, h.Chain}
		if r.world.abandoned[n] {
			return
		}
		if aside := isAside(ops); !aside && set[h.Version] != nil && set[h.Version].unlisted {
			r.fail("%s: the journal tells of version %d, which does not list its changes", when, h.Version)
		} else if aside { // framesAfter verifies its contents
			told[n] = ops
			return
		}
		if w := set[h.Version]; w != nil && !bytes.Contains(ops, binary.LittleEndian.AppendUint64(nil, w.value<<8)) {
			r.fail("%s: the journal tells of version %d, which has set %v to %d, something else", when, h.Version, w.keys, w.value)
		}
		if old, found := told[n]; found && !bytes.Equal(old, ops) {
			r.fail("%s: the journal tells two things of version %d", when, h.Version)
		}
		if bytes.Contains(ops, reclaimed) {
			r.fail("%s: the journal tells of version %d what was reclaimed by then", when, h.Version)
		}
		told[n] = ops
	})
	if err != nil {
		r.fail("%s: the journal has %v", when, err)
	}
}
