//go:build !amd64 && !arm64

package goroutine

// current tells nobody apart where the space could not be opened anyway.
func current() uintptr { return 0 }

// word finds no number there.
func word(uintptr) uint64 { return 0 }
