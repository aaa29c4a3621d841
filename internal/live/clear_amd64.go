//go:build !race

package live

import (
	"sync/atomic"
	"unsafe"
)

// clear64 clears a word after all that was read and written before. This processor keeps
// that order, and the compiler (package queue); an atomic write would cost as much as a swap.
func clear64(word *atomic.Uint64) { *(*uint64)(unsafe.Pointer(word)) = 0 }

// clear32 is the same for a small word.
func clear32(word *atomic.Uint32) { *(*uint32)(unsafe.Pointer(word)) = 0 }

// set64 sets a word in the same order. What is read after it may be read before others see
// it, which is for words that nothing is decided by.
func set64(word *atomic.Uint64, n uint64) { *(*uint64)(unsafe.Pointer(word)) = n }
