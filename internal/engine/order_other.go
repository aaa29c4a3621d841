//go:build !amd64 || race

package engine

import "sync/atomic"

// setOwner writes a word after all that was written before.
func setOwner(word *atomic.Uintptr, id uintptr) { word.Store(id) }

// setFlag is the same for a flag.
func setFlag(word *atomic.Bool, on bool) { word.Store(on) }
