//go:build !amd64

package checksum

// fast is false: Update uses the standard library.
const fast = false

func chains(sum uint32, b []byte) uint32 { panic("chains is not implemented for this processor") }
