package edit

import (
	"sync"
	"sync/atomic"

	"github.com/everheap/everheap/internal/entry"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/heap"
	"github.com/everheap/everheap/internal/object"
	"github.com/everheap/everheap/internal/vector"
)

// Store is what all editors of a space have in common: what was found out about types and
// about versions, and how blocks are read.
type Store struct {
	header      *format.Header
	hashBits    uint                     // how many bits of hashes are used; 0: all
	verified    heap.Reader              // of what was verified before
	trusting    bool                     // what is read is not verified
	finder      vector.Finder            // if trusting
	Catalog     *entry.Shape             // of the space's own maps
	types       sync.Map                 // uint64 -> *layout.Type: stored descriptors, by index
	bound       [256]atomic.Pointer[Map] // to Go types
	untyped     [64]atomic.Pointer[Map]  // to no Go types
	lately      lately
	typed       typedCache
	CheckHandle entry.CheckHandle
	fitting     [16]fitting // of checkHandle: see fits
	keeper      Keeper      // of indexes
	clock       Clock       // by which entries expire

	takeIndex func(least uint64) uint64
}

// Open sets it up for a space. r is what versions are read by; verified reads what was verified
// before. Of hashes so many bits are used; 0 is all. Attach must come before.
func (s *Store) Open(header *format.Header, r *heap.Reader, verified heap.Reader, hashBits uint) {
	s.header, s.hashBits, s.verified = header, hashBits, verified
	s.finder, s.trusting = vector.NewFinder(r)
	s.Catalog = s.Shape(object.OwnTypes())
}

// Attach sets the functions that it calls. check is the CheckHandle of whoever writes;
// takeIndex returns an index for a new object, not below the least one, that no other object
// of the space gets or has got.
func (s *Store) Attach(check entry.CheckHandle, takeIndex func(least uint64) uint64) {
	s.CheckHandle, s.takeIndex = check, takeIndex
}
