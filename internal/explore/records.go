//go:build explore

package explore

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"

	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/invariant"
	"github.com/everheap/everheap/internal/journal"
)

// runFrames are the bytes of a segment that a run can write, at the most.
const runFrames = 64 << 10

// frames returns what a run may have written of all segments.
func (w *World) frames() (b []byte, err error) {
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

// records looks whether the journal tells the truth (J2): a version has the same changes
// wherever it is told of, they are what it has set, and none of them was copied from a block that
// was reclaimed by then.
func (r *Run) records(when string) {
	if r.world.options.NoJournal {
		return
	}
	b, err := r.world.frames()
	if err != nil {
		r.fail("%s: %v", when, err)
		return
	}
	type name struct{ version, chain uint64 }
	told := map[name][]byte{}
	set := map[uint64]*write{}
	for _, w := range r.writes {
		if w.outcome == committed && w.version != 0 {
			set[uint64(w.version)] = w
		}
	}
	reclaimed := bytes.Repeat([]byte{invariant.PoisonByte}, 8)
	for at := 0; at+format.FrameHeadSize <= len(b); at += format.FrameAlign {
		h, ok := format.DecodeFrameHead(b[at:])
		end := at + format.FrameHeadSize + int(h.Size)
		if !ok || h.Parts != 1 || end > len(b) || format.Checksum(b[at+8:end]) != h.Sum {
			continue
		}
		want := h.First
		for rest := b[at+format.FrameHeadSize : end]; len(rest) > 0; {
			head, ops, next, ok := format.NextRecord(rest)
			if !ok {
				r.fail("%s: the journal has a frame at %d whose records do not fit it", when, at)
				return
			}
			if head.Version != want {
				r.fail("%s: the journal has a frame at %d in which version %d is where %d should be", when, at, head.Version, want)
			}
			want++
			if w := set[head.Version]; w != nil && !bytes.Contains(ops, binary.LittleEndian.AppendUint64(nil, w.value<<8)) {
				r.fail("%s: the journal tells of version %d, which has set %v to %d, something else", when, head.Version, w.keys, w.value)
			}
			n := name{head.Version, head.Chain}
			if old, found := told[n]; found && !bytes.Equal(old, ops) {
				r.fail("%s: the journal tells two things of version %d", when, head.Version)
			}
			if bytes.Contains(ops, reclaimed) {
				r.fail("%s: the journal tells of version %d what was reclaimed by then", when, head.Version)
			}
			told[n] = ops
			rest = next
		}
	}
}
