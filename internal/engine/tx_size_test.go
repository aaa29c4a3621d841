package engine

import (
	"testing"
	"unsafe"
)

// Each transaction is an object of its own, so that one that leaks is nobody else's: what
// it takes is a part of what a small one costs. The root adds two words.
func TestTx_IsSmall(t *testing.T) {
	const class = 112 // of the runtime's allocator; the next one is 128
	if size := unsafe.Sizeof(Viewer{}) + 2*unsafe.Sizeof(uintptr(0)); size > class {
		t.Errorf("what a View has is %d bytes; more than %d take those of the next class", size, class)
	}
}
