//go:build !race

package live

import (
	"sync/atomic"
	"unsafe"
)

// clear64 clears a word after all earlier reads and writes. This processor keeps that order,
// and so does the compiler (package queue). An atomic write would cost as much as a swap.
func clear64(word *atomic.Uint64) { *(*uint64)(unsafe.Pointer(word)) = 0 }

// clear32 is clear64 for a 32-bit word.
func clear32(word *atomic.Uint32) { *(*uint32)(unsafe.Pointer(word)) = 0 }

// set64 sets a word in the same order. Later reads may happen before other processes see the
// new value: so it is only for words that decide nothing.
func set64(word *atomic.Uint64, n uint64) { *(*uint64)(unsafe.Pointer(word)) = n }
