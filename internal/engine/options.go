package engine

import (
	"os"
	"time"

	"github.com/everheap/everheap/internal/mapping"
	"github.com/everheap/everheap/internal/spacefile"
)

// Options say how a space is opened.
type Options struct {
	MaxSize        uint64        // that the space has, or gets at creation; 0: any, spacefile.DefaultMaxSize
	FlushInterval  time.Duration // of the journal; 0: durable.DefaultFlushInterval
	AnchorInterval time.Duration // of the background anchors; 0: DefaultAnchorInterval
	ReadOnly       bool
	Verify         bool         // checksums on every read
	Mode           os.FileMode  // of the directory, at creation; 0: 0700
	MustExist      bool         // do not create
	Base           uint64       // of the window, at creation; 0: any
	HashBits       uint         // for tests: how many bits of hashes are used; 0: all
	Manual         bool         // for tests: nothing is done in the background
	NoCollect      bool         // objects that nothing refers to are not collected in the background
	CollectBatch   int          // for tests: how many objects one transaction of a collection drops; 0: as many as there is time for
	CollectStep    func()       // for tests: called between the steps of a collection, without a lock; may be nil
	Clock          func() int64 // for tests: the wall clock by which entries expire, nanoseconds since 1970; nil: the machine's
	NoJournal      bool         // for measurements: changes are not logged, and only anchors make them durable
	Replica        *string      // of a backup that is restored: it becomes a replica, led by this one; nil: it does not
	// Files opens the files of the space; nil: those of the operating system.
	// Tests put files in their place that fail, or that remember what was written.
	Files func(path string, flag int, perm os.FileMode) (mapping.File, error)
	// Rename and SyncDir move a file or directory, and make the names in a directory
	// durable; nil: as the operating system does.
	Rename  func(from, to string) error
	SyncDir func(dir string) error
	// Taken reports whether a window belongs to somebody else; nil: none does.
	Taken func(base, size uint64) bool
}

// system returns what opens and moves the files.
func (o *Options) system() spacefile.System {
	return spacefile.System{Files: o.Files, Rename: o.Rename, SyncDir: o.SyncDir}
}

// creation returns what makes a space with the options.
func (o *Options) creation() *spacefile.Creation {
	return &spacefile.Creation{System: o.system(), MaxSize: o.MaxSize, Mode: o.Mode, Base: o.Base, Taken: o.Taken}
}

// DefaultAnchorInterval is how often anchors are written in the background.
const DefaultAnchorInterval = 10 * time.Second
