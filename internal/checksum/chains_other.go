//go:build !amd64

package checksum

// fast is false: Update uses the standard library.
const fast = false

// chains is never called here, since fast is false.
func chains(sum uint32, b []byte) uint32 { panic("chains was called on a processor without it") }
