//go:build invariants && linux

package invariant

import (
	"fmt"
	"os"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The ledger has one word, an Owner, for each extent, and for each block of an extent that
// was cut into blocks. Package ledger changes the words; it states what they mean and which
// process may change which.
//
// A chunk of the file has the words of 256 extents: one page for the extents, and four pages
// for the blocks of each extent. A process touches only as many of the four as the blocks
// need.
const (
	ledgerAt       = headBytes + numRings*ringBytes
	chunkExtents   = 256
	blocksOfExtent = 2048
	unitBytes      = blocksOfExtent * 8
	unitPages      = unitBytes / pageBytes
	chunkBytes     = pageBytes + chunkExtents*unitBytes
)

// ledgerMaps has the chunks that this process has mapped. Only the goroutine that uses the
// heap's lists uses it.
type ledgerMaps struct {
	chunks [][]byte
	pages  []uint8 // by extent: how many pages for its blocks are allocated (D2), plus 1 if the page of its own word is
}

// Extent returns the word of an extent; nil if it cannot have one.
func (r Record) Extent(extent uint64) *atomic.Uint64 {
	return r.word(extent, 0, extent%chunkExtents*8)
}

// Block returns the word of a block, by its number in its extent; nil if it cannot have one.
func (r Record) Block(extent, n uint64) *atomic.Uint64 {
	return r.word(extent, int(n*8/pageBytes)+1, pageBytes+extent%chunkExtents*unitBytes+n*8)
}

// word returns the word at an offset of the chunk of an extent. It needs the first pages
// pages of the extent.
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

// clearLedger makes every owner unknown (D3). It turns allocated pages into holes, for other
// processes as well: a process that touches such a page allocates it again, if there is disk
// space.
func (r *record) clearLedger() {
	info, err := r.file.Stat()
	if err != nil || info.Size() <= ledgerAt {
		return
	}
	_ = unix.Fallocate(int(r.file.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, ledgerAt, info.Size()-ledgerAt)
	r.ledger.pages = make([]uint8, len(r.ledger.pages))
}

// Clear makes every owner unknown, and empties all rings. joined is how many processes have
// joined. It is for tests that restore an earlier state of a space.
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
