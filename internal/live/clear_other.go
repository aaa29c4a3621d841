//go:build !amd64 || race

package live

import "sync/atomic"

// clear64 clears a word after all that was read and written before.
func clear64(word *atomic.Uint64) { word.Store(0) }

// clear32 is the same for a small word.
func clear32(word *atomic.Uint32) { word.Store(0) }

// set64 sets a word in the same order. What is read after it may be read before others see
// it, which is for words that nothing is decided by.
func set64(word *atomic.Uint64, n uint64) { word.Store(n) }
