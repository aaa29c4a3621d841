package goroutine

import (
	"runtime"
	"strings"
)

// CalledBack reports whether a package has called the program that now calls the package again. That
// is so if the stack has functions of other packages between functions of this package. prefix is the
// beginning of the names of the package's functions: its path, and a dot.
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
