package goroutine

import (
	"runtime"
	"strings"
)

// CalledBack reports whether a package has called the program that calls it: whether the stack has
// functions of the package below those of it that have called CalledBack. prefix is what
// the names of its functions begin with: its path, and a point.
func CalledBack(prefix string) bool {
	var pcs [64]uintptr
	for skip, inside := 2, true; ; skip += len(pcs) {
		n := runtime.Callers(skip, pcs[:])
		if n == 0 {
			return false
		}
		frames := runtime.CallersFrames(pcs[:n])
		for more := true; more; {
			var f runtime.Frame
			f, more = frames.Next()
			is := strings.HasPrefix(f.Function, prefix)
			if is && !inside {
				return true
			}
			inside = inside && is
		}
	}
}
