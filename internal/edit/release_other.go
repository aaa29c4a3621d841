//go:build !amd64

package edit

import "sync/atomic"

// release clears a word after all that was written before.
func release(word *uintptr) { atomic.StoreUintptr(word, 0) }
