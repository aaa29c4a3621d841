//go:build !race

package queue

import (
	"sync/atomic"
	"unsafe"
)

// setOwner writes a word after all that was written before. What is read after it may be
// read before others see it. This processor keeps the order of writes, and an atomic write
// would cost as much as a compare-and-swap: it waits until all that was written before has
// reached the caches.
//
// The compiler keeps the order, too: it gives each store and each call the state of memory that
// the one before has left, and each load one of those. A store that is followed by an atomic
// operation or a call is not left out, since these may read what it wrote; and an aligned word is
// written by one instruction. Other processors, and the race detector, get the atomic write.
func setOwner(word *atomic.Uintptr, id uintptr) { *(*uintptr)(unsafe.Pointer(word)) = id }
