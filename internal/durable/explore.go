//go:build explore

package durable

import (
	"time"

	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/journal"
)

// OnTick does one tick of the background's work on the journal, and reports whether there are more.
func (d *Writer) OnTick() bool { return d.inBackground(d.flushSoon, new(time.Time)) }

// Told returns the newest version that a recovery would find in the journal if it began at the
// version with that chain.
func (d *Writer) Told(version format.Version, chain uint64) (format.Version, error) {
	log, err := journal.Load(d.journal.file, d.Head.SpaceID, version)
	if err != nil {
		return 0, err
	}
	told, err := log.Follow(version, chain)
	if err != nil {
		return 0, err
	}
	return told.Last, nil
}

// JournalLength returns the length of the journal file.
func (d *Writer) JournalLength() (int64, error) { return d.journal.file.Size() }

// Used returns how many segments of the journal were in use at the last looks, if the space is not
// at rest (J8), and 0 if it is.
func (r *Rest) Used() int {
	if r.still < restLooks && r.looks >= usedLooks {
		return r.most()
	}
	return 0
}
