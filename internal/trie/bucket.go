package trie

import (
	"math/bits"
	"unsafe"

	"github.com/everheap/everheap/internal/format"
)

const (
	groupBits   = 3 // a group is a cache line of eight words
	groupWords  = 1 << groupBits
	headerWords = format.HeaderSize / 8
	headerMask  = 1<<headerWords - 1
	minWordBits = groupBits // the smallest bucket is one group
	maxWordBits = 5
	maxWords    = 1 << maxWordBits
	// maxEntries is how many entries a bucket holds before it splits. With more, too many of
	// them would be outside their own group.
	maxEntries = 26
	// mergeAt is how many entries two halves may have together when Delete joins them.
	mergeAt = maxEntries / 2
)

// room returns how many entries a bucket of 2^wordBits words may hold.
func room(wordBits uint) int {
	return [...]int{minWordBits: 6, 4: 13, maxWordBits: maxEntries}[wordBits]
}

// wordBitsFor returns the size of a bucket for n entries.
func wordBitsFor(n int) uint {
	w := uint(minWordBits)
	for w < maxWordBits && n > room(w) {
		w++
	}
	return w
}

// bucketWords views all words of a bucket, the header included. The sizes of buckets are
// classes that divide an extent, so buckets are aligned to their size, and a group is a
// cache line.
func bucketWords(payload unsafe.Pointer, leaf format.Link) []uint64 {
	return words(unsafe.Add(payload, -format.HeaderSize), 1<<leaf.WordBits())
}

func groupAt(payload unsafe.Pointer, g uint) *[groupWords]uint64 {
	return (*[groupWords]uint64)(unsafe.Add(payload, int(g*groupWords*8)-format.HeaderSize))
}

// homeGroup returns the group where an entry with the tag belongs. It takes the upper bits
// of the tag, since splits use up the lower ones first.
func homeGroup(tag uint64, last uint) uint { return uint(tag>>(64-groupBits)) & last }

// match returns a bit for every word of a group that has the tag. It has no branches, so the
// processor cannot mispredict the position of the word. It has few instructions, so the
// processor can run ahead while it fetches the line. A word has the tag exactly if the two
// differ only in the address bits: then their XOR is less than 2^48, and subtracting 2^48
// borrows.
func match(w *[groupWords]uint64, tag uint64) (found uint64) {
	const limit = 1 << 48
	var b uint64
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
	return found
}

// full reports whether a group has no unused word. A header is never zero.
func full(w *[groupWords]uint64) bool {
	for _, v := range w {
		if v == 0 {
			return false
		}
	}
	return true
}

// used returns how many words of a bucket refer to entries.
func used(list []uint64) (n int) {
	for _, w := range list[headerWords:] {
		if w != 0 {
			n++
		}
	}
	return n
}

// place puts a word into a bucket that has room (T4).
func place(list []uint64, word uint64) {
	last := uint(len(list)/groupWords - 1)
	for g := homeGroup(word&^format.AddrMask, last); ; g = (g + 1) & last {
		group := list[g*groupWords : (g+1)*groupWords]
		for i, w := range group {
			if w == 0 {
				group[i] = word
				return
			}
		}
	}
}

// removeWord removes word i from a bucket. If its group was full, entries in later groups
// may be there only because of that: then removeWord places all entries again.
func removeWord(list []uint64, i int) {
	g := i / groupWords
	if !full((*[groupWords]uint64)(list[g*groupWords:])) {
		list[i] = 0
		return
	}
	list[i] = 0
	var all [maxWords]uint64
	n := copy(all[:], list[headerWords:])
	clear(list[headerWords:])
	for _, w := range all[:n] {
		if w != 0 {
			place(list, w)
		}
	}
}
