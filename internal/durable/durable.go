// Package durable makes versions survive a loss of power: by the journal, by anchors, and by what it
// does when a sync has failed or a file has vanished. It also recovers a space, as far as
// that is reading the journal.
//
// Commits only name their changes. Whoever leads the journal copies them and syncs, for all
// who wait (journal.go, records.go). Anchors name versions that are on disk as a whole
// (anchor.go). Nothing is acknowledged after a failed sync (sync.go), nor while the names of
// the files lead elsewhere (files.go). The transactions that commit are above it: what it
// takes of them is the newest version, which it holds, and its state. The invariants are
// E4, E5 and E7 of the engine, J1 to J8 of the journal, and F1 to F5 here.
//
// Start reading at Writer.Await and Writer.WriteAnchor.
package durable

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/live"
	"github.com/everheap/everheap/internal/mapping"
	"github.com/everheap/everheap/internal/member"
	"github.com/everheap/everheap/internal/spacefile"
)

// Writer is the part of one process in making the versions of a space durable.
type Writer struct {
	*member.Member
	options Options
	journal journaling
	anchor  struct {
		sync.Mutex
		last     time.Time
		duration time.Duration
	}
	Doubts spacefile.Doubts // of the anchors that live was rebuilt from, if it was

	healing bool // this process writes anew what a failed sync may have lost
	doubt   struct {
		heap, journal *live.Doubt // whether what was there before is on disk; nil: it is known
	}
	stopped atomic.Pointer[error] // why nothing can be written any more, if that is not the disk's fault

	// Beside returns what subscriptions keep beside the journal, of versions after one; nil: nothing.
	Beside func(after format.Version) format.ByteCount
}

// Options say how versions are made durable.
type Options struct {
	FlushInterval time.Duration // of the journal; 0: DefaultFlushInterval
	NoJournal     bool          // changes are not logged, and only anchors make them durable
}

// DefaultFlushInterval is how often the journal is synced in the background.
const DefaultFlushInterval = 100 * time.Millisecond

// Init sets it up for a member that is about to open the space.
func (d *Writer) Init(m *member.Member, o Options) {
	d.Member, d.options = m, o
	d.journal.wish = make(chan struct{}, 1)
}

// Journal returns the file of the journal; nil: a guest may have none.
func (d *Writer) Journal() mapping.File { return d.journal.file }

// NoJournal reports whether changes are not logged.
func (d *Writer) NoJournal() bool { return d.options.NoJournal }

// Close closes the file of the journal.
func (d *Writer) Close() {
	if d.journal.file != nil {
		d.journal.file.Close()
	}
}
