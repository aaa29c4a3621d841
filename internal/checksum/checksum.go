// Package checksum computes the checksum of all that is persisted: CRC32C.
//
// Blocks are short, and a commit computes the sums of half a dozen of them. One CRC
// instruction waits for the one before it, three cycles each, and the standard library
// has but one chain of them for what is so short. Here a block is three stretches of equal
// length with a chain each, side by side. A sum is linear: the sum of a stretch, moved on
// by the length of what follows it, is its part of the whole; and to move it on is one
// multiplication without carries by a constant, which a table has for each length.
//
// Source: Gopal et al., a paper of Intel on this checksum and this instruction (2011); the
// multiplication as in https://github.com/corsix/fast-crc32.
package checksum

import "hash/crc32"

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Of returns the CRC32C of b.
func Of(b []byte) uint32 { return Update(0, b) }

// Update returns the sum of what sum is that of, followed by b.
func Update(sum uint32, b []byte) uint32 {
	if fast {
		return ^chains(^sum, b)
	}
	return crc32.Update(sum, castagnoli, b)
}
