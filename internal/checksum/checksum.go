// Package checksum computes CRC32C, the checksum of all persisted data.
//
// Blocks are short, and a commit computes the sums of half a dozen blocks. In a chain, each CRC
// instruction waits three cycles for the one before it, and for so few bytes the standard library
// uses a single chain. This package cuts a block into three stretches of equal length, and computes
// three chains side by side. Sums are linear: the sum of a stretch, moved on by the length of the
// bytes after it, is the stretch's part of the whole sum. Moving a sum on is one carry-less
// multiplication by a constant; a table has the constant for each length.
//
// Source: Gopal et al., a paper of Intel on this checksum and this instruction (2011); the
// multiplication as in https://github.com/corsix/fast-crc32.
package checksum

import "hash/crc32"

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Of returns the CRC32C of b.
func Of(b []byte) uint32 { return Update(0, b) }

// Update continues a sum: if sum is the sum of some bytes, it returns the sum of those bytes followed
// by b.
func Update(sum uint32, b []byte) uint32 {
	if fast {
		return ^chains(^sum, b)
	}
	return crc32.Update(sum, castagnoli, b)
}
