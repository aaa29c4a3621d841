// Package format describes every byte that Everheap keeps in a file, once.
//
// Terms: the heap file holds a header page, anchor slots, the extent table and
// extents of blocks. The live file holds the words by which running processes
// coordinate. All integers are little-endian; an address is the absolute
// address of a byte in the read-only window of its space, and 0 is nil.
//
// Records that are read with a copy (Header, Anchor, LiveIdentity) are encoded
// and verified by the functions beside them. Records that are used in place
// (BlockHeader, State, MapObject, Live…) are mapped structs whose size and
// offsets are guarded at compile time.
//
// Start reading at BlockHeader, then State, then Live.
package format

import (
	"fmt"

	"github.com/everheap/everheap/internal/checksum"
)

// Addr is an absolute address in the read-only window of a space; 0 is nil.
type Addr uint64

// Version numbers a committed state; strictly increasing, 48 bits.
type Version uint64

// ByteCount is a number of bytes.
type ByteCount uint64

// Incarnation names one process's membership of a space. A live file never uses one twice.
// Its low bits are the index of the process entry.
type Incarnation uint64

const (
	// FormatVersion is the version of the persisted format that this code
	// writes and the only one that it reads.
	FormatVersion = 1
	// PageSize is the unit of mapping and of anchor slots.
	PageSize = 4096
	// ExtentSize is the unit in which space is reserved.
	ExtentSize = 64 << 10
	// ExtentShift is log2 of ExtentSize.
	ExtentShift = 16
	// AddrMask selects the 48 address bits of a link word.
	AddrMask = 1<<48 - 1
	// MaxVersion is the greatest version that a block header can hold.
	MaxVersion = 1<<48 - 1
)

// Checksum returns the CRC32C of b.
func Checksum(b []byte) uint32 { return checksum.Of(b) }

// DamageError says which bytes of a file are damaged.
type DamageError struct {
	File   string // "heap", "live"
	Offset int64  // offset of the record in the file
	What   string // what is wrong, and with which record
}

// Error implements error.
func (e *DamageError) Error() string {
	return fmt.Sprintf("%s at offset %d: %s", e.File, e.Offset, e.What)
}
