//go:build !amd64

package checksum

// fast says that the standard library has to do.
const fast = false

func chains(sum uint32, b []byte) uint32 { panic("there is none for this processor") }
