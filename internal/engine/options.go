package engine

import (
	"os"
	"time"

	"github.com/everheap/everheap/internal/mapping"
	"github.com/everheap/everheap/internal/spacefile"
)

// Options say how a space is opened.
type Options struct {
	MaxSize        uint64        // of the space; 0: whatever it has, at creation spacefile.DefaultMaxSize
	FlushInterval  time.Duration // of the journal; 0: durable.DefaultFlushInterval
	AnchorInterval time.Duration // of the background anchors; 0: DefaultAnchorInterval
	ReadOnly       bool
	Verify         bool         // checksums on every read
	Mode           os.FileMode  // of the directory, at creation; 0: 0700
	MustExist      bool         // do not create
	Base           uint64       // of the window, at creation; 0: any
	HashBits       uint         // for tests: how many bits of hashes count; 0: all
	Manual         bool         // for tests: no background work
	NoCollect      bool         // the background does not collect objects that nothing refers to
	CollectBatch   int          // for tests: how many objects one transaction of a collection drops; 0: as many as fit into its time
	CollectStep    func()       // for tests: a collection calls it between its steps, without a lock; may be nil
	Clock          func() int64 // for tests: the wall clock by which entries expire, nanoseconds since 1970; nil: the machine's
	NoJournal      bool         // for measurements: transactions log no changes, and only anchors make them durable
	Replica        *string      // for Restore: makes a replica whose leader has this name; nil: makes a space of its own
	// Files opens the files of the space; nil uses those of the operating system. Tests pass files
	// that fail, or that remember what was written.
	Files func(path string, flag int, perm os.FileMode) (mapping.File, error)
	// Rename and SyncDir move a file or directory, and make the names in a directory durable; nil
	// uses those of the operating system.
	Rename  func(from, to string) error
	SyncDir func(dir string) error
	// Taken reports whether a window belongs to another space; nil means that none does.
	Taken func(base, size uint64) bool
}

// system returns the functions that open and move the files.
func (o *Options) system() spacefile.System {
	return spacefile.System{Files: o.Files, Rename: o.Rename, SyncDir: o.SyncDir}
}

// creation returns the part of the options that creates a space.
func (o *Options) creation() *spacefile.Creation {
	return &spacefile.Creation{System: o.system(), MaxSize: o.MaxSize, Mode: o.Mode, Base: o.Base, Taken: o.Taken}
}

// DefaultAnchorInterval is how often the background writes an anchor.
const DefaultAnchorInterval = 10 * time.Second
