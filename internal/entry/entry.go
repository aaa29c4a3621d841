// Package entry is the block of one key and its value: the hash, the key, the value, and then the
// parts that key and value own. It is also the block of a value alone. The structures link to such
// blocks, and the journal contains them.
//
// Terms: a shape is the layout of the entries of one map, which follows from its two types; a cell is
// the layout of the blocks of one value.
//
// A Shape and a Cell check the handles in the block after they have written it. So they check the
// handles that readers will see, even if the program changes its value meanwhile.
//
// Start reading at Shape, then Shape.New, then Cell.
package entry

import (
	"unsafe"

	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/heap"
	"github.com/everheap/everheap/internal/layout"
	"github.com/zeebo/xxh3"
)

const hashSize = 8 // of format.EntryHead

// Shape is the layout of the entries of one map: where key and value lie in the
// payload of an entry block. Immutable.
type Shape struct {
	Key, Value  *layout.Type
	seed        uint64
	keyAt       uintptr
	valueAt     uintptr
	ownedAt     uintptr
	keyString   bool
	valueString bool
	hashMask    uint64      // all ones, except in tests
	check       CheckHandle // nil: the types have no handles
}

// NewShape returns the shape for keys and values of the types; seed is the
// secret of the space.
func NewShape(key, value *layout.Type, seed uint64) *Shape {
	s := &Shape{Key: key, Value: value, seed: seed, keyAt: hashSize, hashMask: ^uint64(0)}
	s.valueAt = align(s.keyAt + key.Size())
	s.ownedAt = align(s.valueAt + value.Size())
	s.keyString, s.valueString = key.IsString(), value.IsString()
	return s
}

// CheckHandles makes the shape call check for each handle in a new entry.
func (s *Shape) CheckHandles(check CheckHandle) {
	if s.Key.HasHandles() || s.Value.HasHandles() {
		s.check = check
	}
}

// CutHash makes the shape use only the low bits of hashes, so that tests get collisions.
func (s *Shape) CutHash(bits uint) { s.hashMask = 1<<bits - 1 }

func align(n uintptr) uintptr { return (n + 7) &^ 7 }

// Hash returns the hash of a key, or an error for a key without a hash, such as NaN.
func (s *Shape) Hash(key unsafe.Pointer) (uint64, error) {
	if s.keyString {
		return xxh3.HashStringSeed(*(*string)(key), s.seed) & s.hashMask, nil
	}
	h, err := s.Key.Hash(s.seed, key)
	return h & s.hashMask, err
}

// Strings returns what a search for string keys needs: the seed and the mask of the hashes, and the
// offsets of the key's bytes and of the value in an entry. ok is false if the keys are not strings.
func (s *Shape) Strings() (seed, hashMask uint64, keyBytes, value uintptr, ok bool) {
	return s.seed, s.hashMask, s.ownedAt, s.valueAt, s.keyString
}

// Of returns the payload of the entry that contains a value.
func (s *Shape) Of(value unsafe.Pointer) unsafe.Pointer { return unsafe.Add(value, -int(s.valueAt)) }

// FixedSize returns the size of the payload of an entry without the parts that key and value own.
func (s *Shape) FixedSize() int { return int(s.ownedAt) }

// KeyOf returns the key in the payload of an entry.
func (s *Shape) KeyOf(entry unsafe.Pointer) unsafe.Pointer { return unsafe.Add(entry, s.keyAt) }

// ValueOf returns the value in the payload of an entry.
func (s *Shape) ValueOf(entry unsafe.Pointer) unsafe.Pointer { return unsafe.Add(entry, s.valueAt) }

// Move changes the addresses in a copy of the payload of an entry, as layout's
// Type.Move does.
func (s *Shape) Move(payload []byte, from, to uintptr) error {
	if err := s.Key.Move(payload, s.keyAt, from, to); err != nil {
		return err
	}
	return s.Value.Move(payload, s.valueAt, from, to)
}

// Bounds returns the limits of the payload of an entry.
func Bounds(r *heap.Reader, entry unsafe.Pointer) layout.Bounds {
	lo := uintptr(entry)
	return layout.Bounds{Lo: lo, Hi: lo + uintptr(r.Size(format.Addr(lo-format.HeaderSize)))}
}

// CheckedKey returns the key in the payload of an entry that may be damaged.
func (s *Shape) CheckedKey(r *heap.Reader, entry unsafe.Pointer) (unsafe.Pointer, error) {
	key := s.KeyOf(entry)
	return key, s.Key.Check(key, Bounds(r, entry))
}

// SameKey reports whether two entries have the same hash and key; each entry is read by its own
// reader.
func (s *Shape) SameKey(ra *heap.Reader, a unsafe.Pointer, rb *heap.Reader, b unsafe.Pointer) (bool, error) {
	if *(*uint64)(a) != *(*uint64)(b) {
		return false, nil
	}
	keyA, err := s.CheckedKey(ra, a)
	if err != nil {
		return false, err
	}
	keyB, err := s.CheckedKey(rb, b)
	return err == nil && s.Key.Equal(keyA, keyB), err
}

// Matches reports whether an entry has the hash and the key.
//
// The bytes of a string key always lie where the owned part of an entry begins.
// They are compared there, and not where the key's header points: so the
// processor can fetch them together with the header, which saves a cache miss.
func (s *Shape) Matches(entry unsafe.Pointer, hash uint64, key unsafe.Pointer) bool {
	if *(*uint64)(entry) != hash {
		return false
	}
	if !s.keyString {
		return s.Key.Equal(s.KeyOf(entry), key)
	}
	want := *(*string)(key)
	k := (*[2]uintptr)(s.KeyOf(entry))
	if k[1] != uintptr(len(want)) || len(want) > 0 && k[0] != uintptr(entry)+s.ownedAt {
		return false // another key, or a damaged entry, which matches no key
	}
	return unsafe.String((*byte)(unsafe.Add(entry, s.ownedAt)), len(want)) == want
}

// New writes an entry block with copies of the key and the value.
func (s *Shape) New(t *heap.Txn, hash uint64, key, value unsafe.Pointer) (format.Addr, error) {
	var keyOwned, valueOwned uintptr
	var err error
	if s.keyString {
		keyOwned = uintptr(len(*(*string)(key)))
	} else if keyOwned, err = s.Key.Measure(key); err != nil {
		return 0, err
	}
	if s.valueString {
		valueOwned = uintptr(len(*(*string)(value)))
	} else if valueOwned, err = s.Value.Measure(value); err != nil {
		return 0, err
	}
	valueOwnedAt := s.ownedAt + keyOwned
	if !s.valueString {
		valueOwnedAt = align(valueOwnedAt)
	}
	size := valueOwnedAt + valueOwned
	a, err := t.Alloc(format.KindEntry, format.ByteCount(size))
	if err != nil {
		return 0, err
	}
	rw := t.Payload(a)
	target := layout.Target{RW: uintptr(rw), RO: uintptr(a) + format.HeaderSize, Size: size}
	*(*uint64)(rw) = hash
	if s.keyString {
		putString(target, s.keyAt, s.ownedAt, *(*string)(key), keyOwned)
	} else {
		err = s.Key.Flatten(target, s.keyAt, s.ownedAt, keyOwned, key)
	}
	if s.valueString && err == nil {
		putString(target, s.valueAt, valueOwnedAt, *(*string)(value), valueOwned)
	} else if err == nil {
		err = s.Value.Flatten(target, s.valueAt, valueOwnedAt, valueOwned, value)
	}
	if err == nil && s.check != nil {
		entry, bounds := stored(a), blockBounds(a, size)
		if err = s.Key.Judge(s.KeyOf(entry), bounds, s.check); err == nil {
			err = s.Value.Judge(s.ValueOf(entry), bounds, s.check)
		}
	}
	if err != nil {
		t.Free(a)
		return 0, err
	}
	s.zeroGaps(rw)
	return a, nil
}

// zeroGaps clears the bytes between the fixed parts of an entry.
func (s *Shape) zeroGaps(rw unsafe.Pointer) {
	for _, gap := range [2][2]uintptr{{s.keyAt + s.Key.Size(), s.valueAt}, {s.valueAt + s.Value.Size(), s.ownedAt}} {
		for i := gap[0]; i < gap[1]; i++ {
			*(*byte)(unsafe.Add(rw, i)) = 0
		}
	}
}

// putString writes a string's header and bytes, as words and bytes: no pointer
// is ever stored by a typed assignment. n is the measured length.
func putString(d layout.Target, fixed, owned uintptr, v string, n uintptr) {
	header := (*[2]uintptr)(unsafe.Add(unsafe.Pointer(nil), d.RW+fixed))
	header[0], header[1] = d.RO+owned, n
	if n == 0 {
		header[0] = 0
	}
	copy(unsafe.Slice((*byte)(unsafe.Add(unsafe.Pointer(nil), d.RW+owned)), n), v)
}
