package chaos

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"strings"

	"github.com/zeebo/xxh3"
)

// Item is the value type of most structures: 10 bytes to 400 KB, with its owner, the transaction that
// wrote it, and its place. The sum covers all of that; so a damaged, stale or misplaced value is
// found.
type Item struct {
	Owner uint32
	Seq   uint64
	Body  []byte
	Parts *Part
	Sum   uint64
}

// Part is a link of the chain that an item may own.
type Part struct {
	Name string
	Next *Part
}

// newItem makes an item for a place, whose size the random source chooses.
func newItem(place place, key string, owner uint32, seq uint64, r *rand.Rand) Item {
	it := Item{Owner: owner, Seq: seq, Body: make([]byte, size(r))}
	fill := rand.New(rand.NewPCG(seq, uint64(owner)))
	i := 0
	for ; i+8 <= len(it.Body); i += 8 {
		binary.LittleEndian.PutUint64(it.Body[i:], fill.Uint64())
	}
	for ; i < len(it.Body); i++ {
		it.Body[i] = byte(seq)
	}
	for range r.IntN(4) {
		it.Parts = &Part{Name: strings.Repeat(fmt.Sprint(seq, " "), r.IntN(5)), Next: it.Parts}
	}
	it.Sum = it.sum(place, key)
	return it
}

// size returns the size of a value: mostly small, some of hundreds of kilobytes.
func size(r *rand.Rand) int {
	switch n := r.IntN(100); {
	case n < 60:
		return 10 + r.IntN(200)
	case n < 86:
		return 200 + r.IntN(4000)
	case n < 97:
		return 4000 + r.IntN(36_000)
	default:
		return 40_000 + r.IntN(360_000)
	}
}

// sum computes the sum of an item in its place.
func (it *Item) sum(place place, key string) uint64 {
	var h xxh3.Hasher
	var head [21]byte
	binary.LittleEndian.PutUint32(head[:], it.Owner)
	binary.LittleEndian.PutUint64(head[4:], it.Seq)
	binary.LittleEndian.PutUint64(head[12:], uint64(len(it.Body)))
	head[20] = byte(place)
	h.Write(head[:])
	h.WriteString(key)
	h.Write(it.Body)
	n := 0
	for p := it.Parts; p != nil && n < 100; p, n = p.Next, n+1 {
		h.WriteString("\x00")
		h.WriteString(p.Name)
	}
	return h.Sum64()
}

// verify returns an error if an item read from a place is wrong.
func (it *Item) verify(place place, key string, owner uint32) error {
	if it.Owner != owner {
		return fmt.Errorf("%s %q: the value is of owner %d (transaction %d), not of owner %d", place, key, it.Owner, it.Seq, owner)
	}
	if sum := it.sum(place, key); sum != it.Sum {
		return fmt.Errorf("%s %q: the value of transaction %d of owner %d, %d bytes, has the sum %#x and says %#x", place, key, it.Seq, it.Owner, len(it.Body), sum, it.Sum)
	}
	return nil
}

// A place is a structure in which an owner keeps values.
type place byte

const (
	inBlobs place = iota
	inIndex
	inList
	inChain
	inSide
	inNest
	inCards
	inLog
	places = int(inLog)
)

func (p place) String() string {
	return [...]string{"blobs", "index", "list", "chain", "side", "nest", "cards", "log"}[p]
}

// mix returns the contribution of a value to the digest of its place.
func mix(place place, key string, sum uint64) uint64 {
	var b [9]byte
	binary.LittleEndian.PutUint64(b[:], sum)
	b[8] = byte(place)
	var h xxh3.Hasher
	h.Write(b[:])
	h.WriteString(key)
	return h.Sum64()
}
