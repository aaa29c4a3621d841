//go:build invariants && linux

package invariant

import (
	"fmt"
	"os"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The ledger has the owner of each extent, and of each block of an extent that was cut into
// blocks: one word each, an Owner. Package heap changes the words, and states there what they
// mean and which process may change which.
//
// A chunk of the file has the words of 256 extents: one page for the extents, and four pages
// for the blocks of each, of which as many are touched as the blocks need.
const (
	ledgerAt       = headBytes + numRings*ringBytes
	chunkExtents   = 256
	blocksOfExtent = 2048
	unitBytes      = blocksOfExtent * 8
	unitPages      = unitBytes / pageBytes
	chunkBytes     = pageBytes + chunkExtents*unitBytes
)

// ledgerMaps are the chunks that this process has mapped. One goroutine at a time uses them: the
// one that uses the heap's lists.
type ledgerMaps struct {
	chunks [][]byte
	pages  []uint8 // by extent: so many pages of its blocks were allocated (D2), plus 1 if that of its own word was
}

// Extent returns the word of an extent; nil if there can be none.
func (r Record) Extent(extent uint64) *atomic.Uint64 {
	return r.word(extent, 0, extent%chunkExtents*8)
}

// Block returns the word of a block, by its number in its extent; nil if there can be none.
func (r Record) Block(extent, n uint64) *atomic.Uint64 {
	return r.word(extent, int(n*8/pageBytes)+1, pageBytes+extent%chunkExtents*unitBytes+n*8)
}

// word returns the word at an offset of the chunk of an extent; pages says how many pages of
// the extent it takes.
func (r Record) word(extent uint64, pages int, offset uint64) *atomic.Uint64 {
	if r.record == nil || r.head.off.Load() != 0 {
		return nil
	}
	l := &r.ledger
	if extent >= uint64(len(l.pages)) || int(l.pages[extent]) < pages+1 {
		if !r.cover(extent, pages) {
			return nil
		}
	}
	return (*atomic.Uint64)(unsafe.Pointer(&l.chunks[extent/chunkExtents][offset]))
}

// cover maps the chunk of an extent, and allocates pages of it (D2).
func (r *record) cover(extent uint64, pages int) bool {
	l := &r.ledger
	for uint64(len(l.pages)) <= extent {
		l.chunks = append(l.chunks, nil)
		l.pages = append(l.pages, make([]uint8, chunkExtents)...)
	}
	at := ledgerAt + int64(extent/chunkExtents)*chunkBytes
	own := at + pageBytes + int64(extent%chunkExtents)*unitBytes
	err := r.allocate(at, pageBytes)
	if err == nil && pages > 0 {
		err = r.allocate(own, int64(pages)*pageBytes)
	}
	if c := &l.chunks[extent/chunkExtents]; err == nil && *c == nil {
		*c, err = r.mapAt(at, chunkBytes)
	}
	if err != nil {
		r.head.off.CompareAndSwap(0, offNoRoom)
		fmt.Fprintf(os.Stderr, "everheap: the ledger of owners ends: %v\n", err)
		return false
	}
	l.pages[extent] = max(l.pages[extent], uint8(pages+1))
	return true
}

// clearLedger makes every owner unknown (D3). Pages that were allocated become holes, for other
// processes too: a process that touches one allocates it again, if there is room.
func (r *record) clearLedger() {
	info, err := r.file.Stat()
	if err != nil || info.Size() <= ledgerAt {
		return
	}
	_ = unix.Fallocate(int(r.file.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, ledgerAt, info.Size()-ledgerAt)
	r.ledger.pages = make([]uint8, len(r.ledger.pages))
}

// Clear makes every owner unknown, and all rings empty, when so many have joined: for tests that
// make a space what it was before.
func (r Record) Clear(joined uint64) {
	if r.record != nil {
		r.clearLedger()
		for i := range r.head.rows {
			r.head.rows[i].owner.Store(0)
			r.head.rows[i].count.Store(0)
		}
		r.head.joined.Store(r.head.joined.Load()&^(1<<32-1) | joined&(1<<32-1))
	}
}

// Asserts reports whether the ledger is in use.
func (r Record) Asserts() bool { return r.record != nil && r.head.off.Load() == 0 }
