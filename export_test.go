package everheap

import (
	"time"

	"github.com/everheap/everheap/internal/engine"
)

// Engine returns what is behind a space, for tests that look inside.
func (s *Space) Engine() *engine.Space { return s.engine }

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
