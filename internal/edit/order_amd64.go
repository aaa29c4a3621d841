//go:build !race

package edit

import (
	"sync/atomic"
	"unsafe"
)

// setFlag stores a flag after all earlier stores. A load that follows may run before other
// processors see the flag. This processor keeps the order of stores, and an atomic store would cost
// as much as a compare-and-swap: it waits until all earlier stores have reached the caches. The
// file order_amd64.go of package queue says why the compiler keeps the order too.
func setFlag(word *atomic.Bool, on bool) {
	n := uint32(0)
	if on {
		n = 1
	}
	*(*uint32)(unsafe.Pointer(word)) = n
}

var _ [4]byte = [unsafe.Sizeof(atomic.Bool{})]byte{}
