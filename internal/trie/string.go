package trie

import (
	"math/bits"
	"unsafe"

	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/heap"
	"github.com/zeebo/xxh3"
)

// GetString is Get for string keys in the case that matters: the key is there, in
// its own group. ok is false in any other case, and then Get decides.
//
// It is one function, without calls but the hash and the comparison, and without
// a branch that data decide but whether the key is found: what bounds a search is
// memory, and the fewer instructions it has, the more searches the processor
// works on while it waits.
func GetString(r *heap.Reader, root format.Link, sh *Shape, key string) (entry unsafe.Pointer, ok bool) {
	const (
		kindShift, bitsShift, wordShift = 48, 52, 56
		inner, bucket                   = uint64(format.LinkInner), uint64(format.LinkBucket)
		limit                           = 1 << 48
	)
	lo, span := r.Limits()
	hash := xxh3.HashStringSeed(key, sh.seed) & sh.hashMask
	link, rest, at := uint64(root), hash, hash
	for link>>kindShift&0xf == inner {
		a := link & format.AddrMask
		if a-lo >= span || rest == 0 {
			return nil, false
		}
		slot := rest & (1<<(link>>bitsShift&0xf) - 1)
		link = *(*uint64)(unsafe.Add(unsafe.Pointer(nil), a+format.HeaderSize+slot*8))
		rest, at = rest>>fanBits, rest
	}
	a := link & format.AddrMask
	if link>>kindShift&0xf != bucket || a-lo >= span {
		return nil, false
	}
	tag := at << 48
	g := tag >> (64 - groupBits) & (1<<(link>>wordShift&0xf)/groupWords - 1)
	w := (*[groupWords]uint64)(unsafe.Add(unsafe.Pointer(nil), a+g*groupWords*8))
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
	if found &^= headerMask >> (g * headerWords); found == 0 {
		return nil, false
	}
	e := w[bits.TrailingZeros64(found)&(groupWords-1)] & format.AddrMask
	if e-lo >= span {
		return nil, false
	}
	p := unsafe.Add(unsafe.Pointer(nil), e+format.HeaderSize)
	head := (*[3]uint64)(p) // hash, address and length of the key
	owned := e + format.HeaderSize + uint64(sh.ownedAt)
	if head[0] != hash || head[2] != uint64(len(key)) || head[1] != owned {
		return nil, false
	}
	return p, unsafe.String((*byte)(unsafe.Add(unsafe.Pointer(nil), owned)), len(key)) == key
}
