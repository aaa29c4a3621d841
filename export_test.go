package everheap

import (
	"os"
	"time"

	"github.com/everheap/everheap/internal/engine"
	"github.com/everheap/everheap/internal/mapping"
)

// Engine returns what is behind a space, for tests that look inside.
func (s *Space) Engine() *engine.Space { return s.engine }

// EngineOptions returns what options mean to the engine.
func EngineOptions(opts ...Option) engine.Options { return settingsOf(opts).engine }

// WithHashBits cuts the hashes of a space, so that tests meet collisions.
func WithHashBits(n uint) Option {
	return option(func(s *settings) { s.engine.HashBits = n })
}

// WithoutJournal opens a space that logs no changes: what the journal costs is
// measured against that.
func WithoutJournal() Option {
	return option(func(s *settings) { s.engine.NoJournal = true })
}

// WithAnchorInterval sets how often anchors are written in the background.
func WithAnchorInterval(d time.Duration) Option {
	return option(func(s *settings) { s.engine.AnchorInterval = d })
}

// WithFiles opens the files of a space by the given function.
func WithFiles(open func(path string, flag int, perm os.FileMode) (mapping.File, error)) Option {
	return option(func(s *settings) { s.engine.Files = open })
}

// WithoutBackground opens a space in which nothing happens by itself.
func WithoutBackground() Option {
	return option(func(s *settings) { s.engine.Manual = true })
}

// WithCollecting opens a space whose collections drop so many objects in a transaction,
// and call step between them.
func WithCollecting(batch int, step func()) Option {
	return option(func(s *settings) { s.engine.CollectBatch, s.engine.CollectStep = batch, step })
}
