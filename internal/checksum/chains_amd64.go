package checksum

import (
	"hash/crc32"

	"golang.org/x/sys/cpu"
)

// fast says that the processor has the instructions that chains uses.
var fast = cpu.X86.HasSSE42 && cpu.X86.HasPCLMULQDQ

// pieceWords is the number of words that chains splits into three at a time.
//
//lint:ignore U1000 the assembly has the same number
const pieceWords = 384

// moves[n] moves a sum on by n words: multiply the sum by it, and pass the product through one CRC
// instruction. It is x^(64n-33), with the lowest power in the highest bit.
//
//lint:ignore U1000 the assembly reads it
var moves = func() (m [pieceWords + 1]uint32) {
	m[1] = 1
	for n := 2; n < len(m); n++ {
		m[n] = ^crc32.Update(^m[n-1], castagnoli, make([]byte, 8))
	}
	return m
}()

// chains adds b to a sum, whose bits are not inverted.
//
//go:noescape
func chains(sum uint32, b []byte) uint32
