package engine

import (
	"testing"
	"unsafe"
)

// Each transaction is an object of its own, so that one that leaks is nobody else's: what
// it takes is a part of what a small one costs.
func TestTx_FitsItsClass(t *testing.T) {
	const class = 512 // of the runtime's allocator; the next one is 576
	if size := unsafe.Sizeof(Tx{}); size > class {
		t.Errorf("a Tx has %d bytes; more than %d take those of the next class", size, class)
	}
}
