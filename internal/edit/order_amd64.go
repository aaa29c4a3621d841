//go:build !race

package edit

import (
	"sync/atomic"
	"unsafe"
)

// setFlag writes a flag after all that was written before. What is read after it may be read
// before others see it. This processor keeps the order of writes, and an atomic write would
// cost as much as a compare-and-swap: it waits until all that was written before has reached
// the caches. Of the compiler package queue says why that is enough (order_amd64.go).
func setFlag(word *atomic.Bool, on bool) {
	n := uint32(0)
	if on {
		n = 1
	}
	*(*uint32)(unsafe.Pointer(word)) = n
}

var _ [4]byte = [unsafe.Sizeof(atomic.Bool{})]byte{}
