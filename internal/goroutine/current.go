//go:build amd64 || arm64

package goroutine

// current is implemented in assembly: the address of the runtime's descriptor.
func current() uintptr

// word is implemented in assembly: the word of that descriptor at an offset.
func word(offset uintptr) uint64
