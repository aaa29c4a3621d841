package heap

import (
	"slices"

	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/invariant"
)

// reclaimBatch is how many pending blocks make a scan worth while: it costs a
// look at every reader slot that is in use.
const reclaimBatch = 1024

// Reclaim frees the pending blocks that no protected version can see (I2). It puts a block
// that a version can see aside under that version, and looks at it again only when the
// version is no longer protected: an old reader costs nothing per scan, and pins only what
// it can see.
func (h *Heap) Reclaim() {
	h.live.Protected(&h.prot, h)
	newest := h.live.NewestAnchor()
	written := min(format.Version(h.live.Words().Written.Load()), h.prot.Current)
	h.live.Assure() // L16
	if newest != h.anchored {
		h.anchored = newest
		h.cool()
	}
	invariant.Point("reclaim.scanned")
	for v, list := range h.held {
		if _, protected := slices.BinarySearch(h.prot.Versions, v); !protected {
			delete(h.held, v)
			h.released.take(list)
		}
	}
	h.settleReleased()
	h.reclaimLogged(written)
	later := h.pending[:0]
	for _, f := range h.pending {
		if f.freed > h.prot.Current {
			later = append(later, f)
			continue
		}
		h.settle(f)
	}
	h.pending = later
	h.pinned.Store(uint64(h.waiting))
	h.live.Entry().Reserved.Store(uint64(h.waiting + h.freeBytes()))
}

// settleReleased settles a part of what versions held that are no longer protected: not all
// at once, since a commit waits for it.
func (h *Heap) settleReleased() {
	for range settleChunks {
		last := len(h.released.chunks) - 1
		if last < 0 {
			return
		}
		chunk := h.released.chunks[last]
		h.released.chunks = h.released.chunks[:last]
		for _, f := range chunk {
			h.settle(f)
		}
	}
}

// A freedList holds freed blocks in chunks: it grows without being copied.
type freedList struct{ chunks [][]freed }

const (
	chunkLen     = 512
	settleChunks = 8
)

// add adds a block.
func (l *freedList) add(f freed) {
	last := len(l.chunks) - 1
	if last < 0 || len(l.chunks[last]) == chunkLen {
		l.chunks = append(l.chunks, make([]freed, 0, chunkLen))
		last++
	}
	l.chunks[last] = append(l.chunks[last], f)
}

// take moves all chunks of the other list to this one.
func (l *freedList) take(other *freedList) {
	l.chunks = append(l.chunks, other.chunks...)
	other.chunks = nil
}

// reclaimLogged settles the blocks that the journal, which has all versions up to one, no
// longer needs. They are in the order of the commits, except for those of other processes,
// which may make others wait for a while.
func (h *Heap) reclaimLogged(written format.Version) {
	n := 0
	for n < len(h.logged) && h.logged[n].freed <= written {
		h.settle(h.logged[n])
		n++
	}
	if n > 0 {
		h.logged = slices.Delete(h.logged, 0, n)
	}
}

// settle frees a block or puts it aside.
func (h *Heap) settle(f freed) {
	if v, covered := h.prot.Covers(f.birth, f.freed); covered {
		list := h.held[v]
		if list == nil {
			list = new(freedList)
			h.held[v] = list
		}
		list.add(f)
		return
	}
	h.waiting -= f.size
	if !h.fits(f) {
		if invariant.Enabled {
			h.ledger.Misfit(f.addr, f.size, "what waits still fits its place when nobody can see it any more")
		}
		return // damaged: what it was is not known; it leaks until a sweep
	}
	if invariant.Enabled {
		h.ledger.Settled(f.addr, f.size)
	}
	// What was written after the newest anchor lies on a page that is dirty.
	h.put(f.addr, f.size, f.birth > h.anchored)
}

// fits reports whether a block of that size can lie there. The size is from the
// block's own header, which may be damaged: the extent table must agree, or the
// block would overlap others when it is used again.
func (h *Heap) fits(f freed) bool {
	within := uint64(f.addr) & (format.ExtentSize - 1)
	class := h.extentClass(h.extentOf(f.addr))
	if class == format.ClassRun {
		return within == 0 && f.size > format.MaxSmall
	}
	return f.size > 0 && class.BlockSize() == f.size && class.Begins(within)
}
