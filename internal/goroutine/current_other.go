//go:build !amd64 && !arm64

package goroutine

// current tells nobody apart where the space could not be opened anyway.
func current() uintptr { return 0 }
