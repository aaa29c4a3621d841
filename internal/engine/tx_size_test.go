package engine

import (
	"testing"
	"unsafe"
)

// Each transaction is an object of its own in Go memory, so that a transaction that leaks harms no
// other. So its size is a part of the cost of a small transaction. The root adds two words.
func TestTx_IsSmall(t *testing.T) {
	const class = 112 // a size class of the runtime's allocator; the next one is 128
	if size := unsafe.Sizeof(Viewer{}) + 2*unsafe.Sizeof(uintptr(0)); size > class {
		t.Errorf("a View has %d bytes; more than %d need the next size class", size, class)
	}
}
