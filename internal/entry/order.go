package entry

import (
	"math/bits"
	"strings"
	"unsafe"

	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/heap"
	"github.com/everheap/everheap/internal/layout"
)

// The functions below order entries by their keys. In a sorted map, the hash of an entry is the first
// word of the ordered form of its key.

// CheckOrder returns an error for a key without a place in the order, such as NaN.
func (s *Shape) CheckOrder(key unsafe.Pointer) error { return s.Key.CheckOrder(key) }

// CheckKeys returns an error if values of a type cannot be keys of a map of the kind.
func CheckKeys(key *layout.Type, kind format.Kind) error {
	if kind == format.KindSorted {
		return key.OrderError()
	}
	return key.KeyError()
}

// WordsDecide reports whether keys with the same first word are equal.
func (s *Shape) WordsDecide() bool { return s.Key.OrderDecides() }

// Word returns eight bytes of the ordered form of a key, from the given place on.
func (s *Shape) Word(key unsafe.Pointer, from uintptr) uint64 {
	if s.keyString {
		k := *(*string)(key)
		return layout.BytesWord(unsafe.Pointer(unsafe.StringData(k)), uintptr(len(k)), from)
	}
	return s.Key.OrderWord(key, from)
}

// Common returns the length of the common beginning of the ordered forms of two keys, at most to. The
// caller knows that the first from bytes agree.
func (s *Shape) Common(a, b unsafe.Pointer, from, to uintptr) uintptr {
	for ; from < to; from += 8 {
		if x := s.Word(a, from) ^ s.Word(b, from); x != 0 {
			return min(from+uintptr(bits.LeadingZeros64(x)/8), to)
		}
	}
	return to
}

// StoredKey returns the key in the payload of an entry. First it verifies that the key's strings lie
// in the entry.
func (s *Shape) StoredKey(r *heap.Reader, entry unsafe.Pointer) (unsafe.Pointer, error) {
	if s.keyString {
		if _, err := s.text(r, entry); err != nil {
			return nil, err
		}
	} else if s.Key.Owns() && !s.Key.StringsWithin(s.KeyOf(entry), Bounds(r, entry)) {
		return nil, badKey(r, entry)
	}
	return s.KeyOf(entry), nil
}

// badKey describes an entry whose key cannot be read.
func badKey(r *heap.Reader, entry unsafe.Pointer) error {
	return &format.DamageError{File: "heap", Offset: r.Offset(format.Addr(uintptr(entry) - format.HeaderSize)), What: "the key of an entry lies outside the entry"}
}

// text returns the key of an entry with string keys. It computes the address of the bytes from the
// entry's address, so that the processor need not load the string's header first.
func (s *Shape) text(r *heap.Reader, entry unsafe.Pointer) (string, error) {
	k := (*[2]uintptr)(s.KeyOf(entry))
	a := format.Addr(uintptr(entry) - format.HeaderSize)
	size := uintptr(r.Size(a))
	if size < s.ownedAt || k[1] > size-s.ownedAt || k[1] > 0 && k[0] != uintptr(entry)+s.ownedAt {
		return "", badKey(r, entry)
	}
	return unsafe.String((*byte)(unsafe.Add(entry, s.ownedAt)), k[1]), nil
}

// Compare orders a key and the key of an entry: -1, 0 or 1.
func (s *Shape) Compare(r *heap.Reader, key, entry unsafe.Pointer) (int, error) {
	if !s.keyString {
		stored, err := s.StoredKey(r, entry)
		if err != nil {
			return 0, err
		}
		return s.Key.Compare(key, stored), nil
	}
	stored, err := s.text(r, entry)
	if err != nil {
		return 0, err
	}
	return strings.Compare(*(*string)(key), stored), nil
}
