//go:build !race

package queue

import (
	"sync/atomic"
	"unsafe"
)

// setOwner stores a word after all earlier writes. Later reads may happen before other processors see
// the store. This processor keeps the order of writes, so a plain store is enough. An atomic store
// would cost as much as a compare-and-swap: it waits until all earlier writes have reached the
// caches.
//
// The compiler keeps the order, too: each store and each call depends on the state of memory that the
// one before left. It does not drop a store before an atomic operation or a call, since these may
// read the word; and it writes an aligned word by one instruction. On other processors, and under the
// race detector, the store is atomic.
func setOwner(word *atomic.Uintptr, id uintptr) { *(*uintptr)(unsafe.Pointer(word)) = id }
