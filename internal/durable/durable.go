// Package durable makes versions survive a loss of power: it writes the journal and anchors, and
// handles failed syncs and files that have vanished. It also does the part of a recovery that reads
// the journal.
//
// A commit only names its changes. The leader of the journal copies the changes of all commits and
// syncs once for all that wait (journal.go, records.go). An anchor names a version that is
// completely on disk (anchor.go). After a failed sync nothing is acknowledged (sync.go), nor while
// the names of the files lead to other files (files.go). The transactions that commit are in higher
// layers: this package only uses the newest version, which it holds, and its state. The invariants
// are E4, E5 and E7 of the engine, J1 to J8 of the journal, and F1 to F5 here.
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

// Writer is one process's part in making the versions of a space durable.
type Writer struct {
	*member.Member
	options Options
	journal journaling
	anchor  struct {
		sync.Mutex
		last     time.Time
		duration time.Duration
	}
	Doubts spacefile.Doubts // about the anchors from which live was rebuilt, if it was

	healing bool // this process is rewriting what a failed sync may have lost
	doubt   struct {
		heap, journal *live.Doubt // whether what was there before is on disk; nil: it is known
	}
	stopped atomic.Pointer[error] // why the space refuses writes, if not because of the disk

	// Beside returns how many bytes subscriptions keep beside the journal, of versions after the
	// given one; nil means none.
	Beside func(after format.Version) format.ByteCount
}

// Options says how versions are made durable.
type Options struct {
	FlushInterval time.Duration // how often the journal is synced; 0: DefaultFlushInterval
	NoJournal     bool          // transactions log no changes, and only anchors make them durable
}

// DefaultFlushInterval is how often the background syncs the journal.
const DefaultFlushInterval = 100 * time.Millisecond

// Init prepares d for a member that is about to open the space.
func (d *Writer) Init(m *member.Member, o Options) {
	d.Member, d.options = m, o
	d.journal.wish = make(chan struct{}, 1)
}

// Journal returns the file of the journal; nil if this process is a guest without one.
func (d *Writer) Journal() mapping.File { return d.journal.file }

// NoJournal reports whether transactions log no changes.
func (d *Writer) NoJournal() bool { return d.options.NoJournal }

// Close closes the file of the journal.
func (d *Writer) Close() {
	if d.journal.file != nil {
		d.journal.file.Close()
	}
}
