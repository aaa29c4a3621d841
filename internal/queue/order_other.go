//go:build !amd64 || race

package queue

import "sync/atomic"

// setOwner stores a word after all earlier writes.
func setOwner(word *atomic.Uintptr, id uintptr) { word.Store(id) }
