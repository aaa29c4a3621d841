//go:build !race

package queue

import (
	"sync/atomic"
	"unsafe"
)

// setOwner writes a word after all that was written before. What is read after it may be
// read before others see it. This processor keeps the order of writes, and an atomic write
// would cost as much as a compare-and-swap: it waits until all that was written before has
// reached the caches. Of the compiler package live says why that is enough (clear_amd64.go).
func setOwner(word *atomic.Uintptr, id uintptr) { *(*uintptr)(unsafe.Pointer(word)) = id }
