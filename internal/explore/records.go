//go:build explore

package explore

import (
	"bytes"
	"os"
	"path/filepath"

	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/invariant"
	"github.com/everheap/everheap/internal/journal"
)

// records looks whether the journal tells the truth (J2): a version has the same changes
// wherever it is told of, and none of them was copied from a block that was reclaimed by then.
func (r *Run) records(when string) {
	if r.world.options.NoJournal {
		return
	}
	b, err := os.ReadFile(filepath.Join(r.world.dir, journal.FileName))
	if err != nil {
		r.fail("%s: %v", when, err)
		return
	}
	type name struct{ version, chain uint64 }
	told := map[name][]byte{}
	reclaimed := bytes.Repeat([]byte{invariant.PoisonByte}, 8)
	for at := 0; at+format.FrameHeadSize <= len(b); at += format.FrameAlign {
		h, ok := format.DecodeFrameHead(b[at:])
		end := at + format.FrameHeadSize + int(h.Size)
		if !ok || h.Parts != 1 || end > len(b) || format.Checksum(b[at+8:end]) != h.Sum {
			continue
		}
		for rest := b[at+format.FrameHeadSize : end]; len(rest) > 0; {
			head, ops, next, ok := format.NextRecord(rest)
			if !ok {
				r.fail("%s: the journal has a frame at %d whose records do not fit it", when, at)
				return
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
