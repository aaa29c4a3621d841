package everheap

import "github.com/everheap/everheap/internal/engine"

// Engine returns what is behind a space, for tests that look inside.
func (s *Space) Engine() *engine.Space { return s.engine }

// WithHashBits cuts the hashes of a space, so that tests meet collisions.
func WithHashBits(n uint) Option {
	return option(func(s *settings) { s.engine.HashBits = n })
}
