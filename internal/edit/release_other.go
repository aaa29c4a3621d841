//go:build !amd64

package edit

import "sync/atomic"

// release clears a word after all earlier stores.
func release(word *uintptr) { atomic.StoreUintptr(word, 0) }
