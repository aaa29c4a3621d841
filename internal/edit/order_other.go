//go:build !amd64 || race

package edit

import "sync/atomic"

// setFlag writes a flag after all that was written before.
func setFlag(word *atomic.Bool, on bool) { word.Store(on) }
