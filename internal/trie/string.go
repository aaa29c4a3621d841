package trie

import (
	"math/bits"
	"unsafe"

	"github.com/everheap/everheap/internal/entry"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/heap"
	"github.com/zeebo/xxh3"
)

// Finder searches one version of a map with string keys in the usual case: the map has the
// key, and its entry is in its own group of the bucket. In any other case it reports that it
// did not find the key, and the caller calls Get.
//
// Memory bounds the speed of a search: it waits for the bucket, and then for the entry.
// Meanwhile the processor begins the next search, if the instructions of this one fit into
// its window. So a search is one function that calls only the hash and the comparison,
// branches on data only for whether it found the key, and computes nothing again that could
// be computed once. A damaged link cannot take the search out of the window of the space,
// since the search takes only the offset from a link. Nor can the search go in cycles, since
// the hash runs out. And an entry that it returns has the key.
type Finder struct {
	root     uint64
	base     uint64 // base of the window
	offset   uint64 // mask for offsets in the window
	seed     uint64
	hashMask uint64
	ownedAt  uint64
	valueAt  uintptr
}

// masks[n] selects n bits. groups[n] selects the group of a bucket of 2^n words.
var masks, groups = func() (m, g [16]uint64) {
	for n := range m {
		m[n] = 1<<n - 1
		g[n] = 1 << n / groupWords
		if g[n] > 0 {
			g[n]--
		}
	}
	return m, g
}()

// NewFinder returns a finder for a root; ok is false if the shape's keys are not strings, or
// if the reader verifies blocks.
func NewFinder(r *heap.Reader, root format.Link, sh *entry.Shape) (f Finder, ok bool) {
	base, window, trusting := r.Window()
	seed, hashMask, keyBytes, value, ok := sh.Strings()
	if !ok || !trusting {
		return f, false
	}
	return Finder{
		root: uint64(root), base: base, offset: window - 1, seed: seed, hashMask: hashMask,
		ownedAt: uint64(keyBytes) + format.HeaderSize, valueAt: value + format.HeaderSize,
	}, true
}

// load reads the word at an address of the window.
func load(a uint64) uint64 { return *(*uint64)(unsafe.Add(unsafe.Pointer(nil), a)) }

// Value returns the value of the key; ok is false if it did not find it.
func (f *Finder) Value(key string) (value unsafe.Pointer, ok bool) {
	const limit = 1 << 48
	hash := xxh3.HashStringSeed(key, f.seed) & f.hashMask
	link, rest, at := f.root, hash, hash
	for link&(1<<48) != 0 && rest != 0 { // LinkInner
		slot := rest & masks[link>>52&0xf]
		link = load(f.base + link&f.offset + format.HeaderSize + slot*8)
		rest, at = rest>>fanBits, rest
	}
	if link>>48&0xf != uint64(format.LinkBucket) {
		return nil, false
	}
	tag := at << 48
	g := tag >> (64 - groupBits) & groups[link>>56&0xf]
	w := (*[groupWords]uint64)(unsafe.Add(unsafe.Pointer(nil), f.base+link&f.offset+g*groupWords*8))
	var found, b uint64
	_, b = bits.Sub64(w[7]^tag, limit, 0)
	found, _ = bits.Add64(0, 0, b)
	_, b = bits.Sub64(w[6]^tag, limit, 0)
	found, _ = bits.Add64(found, found, b)
	_, b = bits.Sub64(w[5]^tag, limit, 0)
	found, _ = bits.Add64(found, found, b)
	_, b = bits.Sub64(w[4]^tag, limit, 0)
	found, _ = bits.Add64(found, found, b)
	_, b = bits.Sub64(w[3]^tag, limit, 0)
	found, _ = bits.Add64(found, found, b)
	_, b = bits.Sub64(w[2]^tag, limit, 0)
	found, _ = bits.Add64(found, found, b)
	_, b = bits.Sub64(w[1]^tag, limit, 0)
	found, _ = bits.Add64(found, found, b)
	_, b = bits.Sub64(w[0]^tag, limit, 0)
	found, _ = bits.Add64(found, found, b)
	if found &^= headerMask >> (g * headerWords & 63); found == 0 {
		return nil, false
	}
	e := f.base + w[bits.TrailingZeros64(found)&(groupWords-1)]&f.offset
	if load(e+format.HeaderSize) != hash || load(e+format.HeaderSize+16) != uint64(len(key)) || load(e+format.HeaderSize+8) != e+f.ownedAt {
		return nil, false
	}
	if unsafe.String((*byte)(unsafe.Add(unsafe.Pointer(nil), e+f.ownedAt)), len(key)) != key {
		return nil, false
	}
	return unsafe.Add(unsafe.Pointer(nil), uintptr(e)+f.valueAt), true
}
