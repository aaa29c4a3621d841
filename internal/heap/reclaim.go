package heap

import (
	"slices"

	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/invariant"
)

// reclaimBatch is how many pending blocks make a scan worthwhile: a scan looks at every
// reader slot in use.
const reclaimBatch = 1024

// settleStep is how many blocks each commit settles after a scan. It is usually more than a
// commit frees, so all are settled long before the next scan, and no commit waits for all of
// them.
const settleStep = 24

// Reclaim frees the pending blocks that no protected version can see (I2). If a version can
// see a block, Reclaim puts the block aside under that version, and looks at it again only
// when the version is no longer protected. So an old reader costs nothing in each scan, and
// pins only the blocks that it can see.
func (h *Heap) Reclaim() {
	h.scan()
	h.settleRipe(len(h.ripe))
	h.noteWaiting()
}

// reclaimSome is Reclaim for a commit: it settles only a part of the blocks of the last
// scan. It does not matter that the scan was some time ago: a version that a reader has held
// only since then was the newest one then, or is newer (L4), and cannot see a block that was
// freed up to then.
func (h *Heap) reclaimSome() {
	if len(h.pending) >= reclaimBatch || len(h.logged) >= reclaimBatch && h.logged[reclaimBatch/2].freed <= format.Version(h.live.Words().Written.Load()) {
		h.settleRipe(len(h.ripe)) // by the result of the scan that found them
		h.scan()
	}
	if len(h.ripe) > 0 {
		if h.settleRipe(settleStep); len(h.ripe) == 0 {
			h.noteWaiting()
		}
	}
}

// scan finds the protected versions, and takes the blocks out of the lists that can be
// settled by this result.
func (h *Heap) scan() {
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
			h.released.moveFrom(list)
		}
	}
	h.settleReleased()
	if len(h.ripe) == 0 {
		h.ripe, h.pending = h.pending, h.ripe
	} else {
		h.ripe, h.pending = append(h.ripe, h.pending...), h.pending[:0]
	}
	h.ripenLogged(written)
}

// settleRipe settles the last n of the blocks of a scan.
func (h *Heap) settleRipe(n int) {
	h.live.Assure() // L16
	first := max(len(h.ripe)-n, 0)
	list := h.ripe[first:]
	h.ripe = h.ripe[:first]
	for _, f := range list {
		if f.freed > h.prot.Current {
			h.pending = append(h.pending, f)
			continue
		}
		h.freeOrHold(f)
	}
}

// noteWaiting notes how many bytes could not be reused.
func (h *Heap) noteWaiting() {
	h.pinned.Store(uint64(h.waiting))
	h.live.Entry().Reserved.Store(uint64(h.waiting + h.freeBytes()))
}

// settleReleased settles a part of the blocks whose versions are no longer protected: not
// all at once, since a commit waits for it.
func (h *Heap) settleReleased() {
	for range settleChunks {
		last := len(h.released.chunks) - 1
		if last < 0 {
			return
		}
		chunk := h.released.chunks[last]
		h.released.chunks = h.released.chunks[:last]
		for _, f := range chunk {
			h.freeOrHold(f)
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

// moveFrom moves all chunks of the other list to this one.
func (l *freedList) moveFrom(other *freedList) {
	l.chunks = append(l.chunks, other.chunks...)
	other.chunks = nil
}

// ripenLogged takes the blocks out of the list logged that the journal no longer needs,
// since it has all versions up to written. The list is in the order of commits, except for
// blocks from other processes, which may make later ones wait for some time.
func (h *Heap) ripenLogged(written format.Version) {
	n := 0
	for n < len(h.logged) && h.logged[n].freed <= written {
		n++
	}
	if n > 0 {
		h.ripe = append(h.ripe, h.logged[:n]...)
		h.logged = slices.Delete(h.logged, 0, n)
	}
}

// freeOrHold frees a block, or puts it aside under a version that can see it.
func (h *Heap) freeOrHold(f freed) {
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
		return // the header is damaged, so the size is unknown: the block leaks until a sweep
	}
	if invariant.Enabled {
		h.ledger.Settled(f.addr, f.size)
	}
	// A block that was written after the newest anchor lies on a dirty page.
	h.put(f.addr, f.size, f.birth > h.anchored)
}

// fits reports whether a block of that size can lie there. The size is from the block's own
// header, which may be damaged: the extent table must agree, otherwise the block would
// overlap others when it is reused.
func (h *Heap) fits(f freed) bool {
	within := uint64(f.addr) & (format.ExtentSize - 1)
	class := h.extentClass(h.extentOf(f.addr))
	if class == format.ClassRun {
		return within == 0 && f.size > format.MaxSmall
	}
	return f.size > 0 && class.BlockSize() == f.size && class.Begins(within)
}
