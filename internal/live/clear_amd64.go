//go:build !race

package live

import (
	"sync/atomic"
	"unsafe"
)

// clear64 clears a word after all that was read and written before. This processor keeps
// that order, and an atomic write would cost as much as a compare-and-swap.
//
// The compiler keeps the order, too: it gives each store and each call the state of memory that
// the one before has left, and each load one of those. A store that is followed by an atomic
// operation or a call is not left out, since these may read what it wrote; and an aligned word is
// written by one instruction. Other processors, and the race detector, get the atomic write.
func clear64(word *atomic.Uint64) { *(*uint64)(unsafe.Pointer(word)) = 0 }

// clear32 is the same for a small word.
func clear32(word *atomic.Uint32) { *(*uint32)(unsafe.Pointer(word)) = 0 }

// set64 sets a word in the same order. What is read after it may be read before others see
// it, which is for words that nothing is decided by.
func set64(word *atomic.Uint64, n uint64) { *(*uint64)(unsafe.Pointer(word)) = n }
