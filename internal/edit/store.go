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

// Store is shared by all editors of a space: it keeps what they found out about types and versions,
// and how to read blocks.
type Store struct {
	header      *format.Header
	hashBits    uint                     // how many bits of hashes count; 0: all
	verified    heap.Reader              // reads blocks that were verified before
	trusting    bool                     // reads do not verify checksums
	finder      vector.Finder            // set if trusting
	Catalog     *entry.Shape             // of the space's own maps
	types       sync.Map                 // uint64 -> *layout.Type: stored descriptors, by index
	bound       [256]atomic.Pointer[Map] // maps bound to Go types
	untyped     [64]atomic.Pointer[Map]  // maps by their stored types
	lately      lately
	typed       typedCache
	CheckHandle entry.CheckHandle
	fitting     [16]fitting // of checkHandle: see fits
	keeper      Keeper      // of indexes
	clock       Clock       // by which entries expire

	takeIndex func(least uint64) uint64
}

// Open prepares the store for a space, after Attach. r reads versions; verified reads blocks that
// were verified before. hashBits is how many bits of each hash count; 0 is all.
func (s *Store) Open(header *format.Header, r *heap.Reader, verified heap.Reader, hashBits uint) {
	s.header, s.hashBits, s.verified = header, hashBits, verified
	s.finder, s.trusting = vector.NewFinder(r)
	s.Catalog = s.Shape(object.OwnTypes())
}

// Attach sets the functions that the store calls. check is the CheckHandle of the transaction that
// writes. takeIndex returns an index for a new object that is at least least, and that no other
// object of the space has, had or will get.
func (s *Store) Attach(check entry.CheckHandle, takeIndex func(least uint64) uint64) {
	s.CheckHandle, s.takeIndex = check, takeIndex
}
