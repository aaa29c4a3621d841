//go:build !amd64 || race

package queue

import "sync/atomic"

// setOwner writes a word after all that was written before.
func setOwner(word *atomic.Uintptr, id uintptr) { word.Store(id) }
