//go:build !amd64 || race

package live

import "sync/atomic"

// clear64 clears a word after all earlier reads and writes.
func clear64(word *atomic.Uint64) { word.Store(0) }

// clear32 is clear64 for a 32-bit word.
func clear32(word *atomic.Uint32) { word.Store(0) }

// set64 sets a word in the same order. Later reads may happen before other processes see the
// new value: so it is only for words that decide nothing.
func set64(word *atomic.Uint64, n uint64) { word.Store(n) }
