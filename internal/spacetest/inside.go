//go:build unix

package spacetest

import (
	"os"
	"time"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/internal/engine"
	"github.com/everheap/everheap/internal/inside"
	"github.com/everheap/everheap/internal/mapping"
)

// Engine returns what is behind a space, for tests that look inside.
func Engine(s *everheap.Space) *engine.Space { return inside.Engine(s) }

// EngineOptions returns what options mean to the engine.
func EngineOptions(opts ...everheap.Option) engine.Options { return inside.Options(opts) }

// engineOption is an option that no user has.
func engineOption(change func(o *engine.Options)) everheap.Option {
	return inside.Option(change).(everheap.Option)
}

// WithHashBits cuts the hashes of a space, so that tests meet collisions.
func WithHashBits(n uint) everheap.Option {
	return engineOption(func(o *engine.Options) { o.HashBits = n })
}

// WithoutJournal opens a space that logs no changes: what the journal costs is
// measured against that.
func WithoutJournal() everheap.Option {
	return engineOption(func(o *engine.Options) { o.NoJournal = true })
}

// WithAnchorInterval sets how often anchors are written in the background.
func WithAnchorInterval(d time.Duration) everheap.Option {
	return engineOption(func(o *engine.Options) { o.AnchorInterval = d })
}

// WithFiles opens the files of a space by the given function.
func WithFiles(open func(path string, flag int, perm os.FileMode) (mapping.File, error)) everheap.Option {
	return engineOption(func(o *engine.Options) { o.Files = open })
}

// WithoutBackground opens a space in which nothing happens by itself.
func WithoutBackground() everheap.Option {
	return engineOption(func(o *engine.Options) { o.Manual = true })
}

// WithCollecting opens a space whose collections drop so many objects in a transaction,
// and call step between them.
func WithCollecting(batch int, step func()) everheap.Option {
	return engineOption(func(o *engine.Options) { o.CollectBatch, o.CollectStep = batch, step })
}
