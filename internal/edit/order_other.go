//go:build !amd64 || race

package edit

import "sync/atomic"

// setFlag stores a flag after all earlier stores.
func setFlag(word *atomic.Bool, on bool) { word.Store(on) }
