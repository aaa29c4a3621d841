//go:build amd64 || arm64

package prefetch

// Line asks the processor to fetch the cache line at an address, which may be
// any: nothing waits for it and nothing can fault.
//
//go:noescape
func Line(addr uintptr)
