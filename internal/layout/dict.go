package layout

import (
	"bytes"
	"errors"
	"fmt"
	"iter"
	"math/bits"
	"reflect"
	"slices"
	"sync/atomic"
	"unsafe"

	"github.com/zeebo/xxh3"
)

// A Dict is a map that its value owns. It never changes, and a lookup reads it in place.
// Its fixed part is two slices, which are copied, measured and checked like any others: the
// index, and the entries, each a struct of a key and a value.
//
// The entries are in the order of their keys, so that equal Dicts have equal bytes. The index is
// empty up to dictScan entries: comparing so many keys is as fast as hashing one. Beyond that it is a
// hash table of words with linear probing. Its length is a power of two, and it is at most three
// quarters full. A word is 0 if its slot is empty. Otherwise its low bits are the number of an entry,
// counted from 1; there are as many low bits as the length of the index needs. The other bits come
// from the upper half of the key's hash. The entries are inserted in their order. LY11 says which of
// these properties readers may rely on.

const (
	dictSize    = 48
	dictEntries = 24 // where the header of the entries is; that of the index is first
	dictScan    = 8

	// dictSeed is the seed of the hashes in all Dicts. It can never change: Dicts store hashes.
	dictSeed = 0x9d1c70fe2b4a6c35
)

// errTwice: two entries of a Dict have equal keys.
var errTwice = errors.New("a key is there twice")

// DictOf marks a struct as a Dict: it is the type of the struct's first, blank field. The other two
// fields are the index and the entries.
type DictOf[K, V any] struct{}

// DictEntry is an entry of a Dict.
type DictEntry[K, V any] = struct {
	Key   K
	Value V
}

func (DictOf[K, V]) dictOf() (key, value reflect.Type) {
	return reflect.TypeFor[K](), reflect.TypeFor[V]()
}

// dictMarker is the interface of all instances of DictOf.
type dictMarker interface {
	dictOf() (key, value reflect.Type)
}

var dictMarkerType = reflect.TypeFor[dictMarker]()

// dictMarkerOf returns the marker of a Dict type, or nil.
func dictMarkerOf(rt reflect.Type) dictMarker {
	if rt.Kind() != reflect.Struct || rt.NumField() != 3 || rt.Size() != dictSize {
		return nil
	}
	f := rt.Field(0)
	if f.Name != "_" || f.Type.Size() != 0 || !f.Type.Implements(dictMarkerType) {
		return nil
	}
	return reflect.Zero(f.Type).Interface().(dictMarker)
}

// fillDict completes the type of a Dict.
func (c *compiler) fillDict(t *Type, rt reflect.Type, m dictMarker) (err error) {
	t.kind = Dict
	key, value := m.dictOf()
	if t.key, err = c.at(".key", key); err != nil {
		return err
	}
	if t.elem, err = c.at(".value", value); err != nil {
		return err
	}
	if t.index, err = c.node(rt.Field(1).Type); err != nil {
		return err
	}
	t.entries, err = c.node(rt.Field(2).Type)
	return err
}

// completeDicts makes the types of the parts of Dicts that were decoded, and not compiled from Go
// types. The shapes of nodes were checked. It returns all types, and what is wrong, or "".
func completeDicts(nodes []*Type) ([]*Type, string) {
	for _, t := range nodes {
		if t.kind == Table && t.table == nil {
			t.table = &Type{kind: Dict, size: dictSize, align: 8, key: t.key, elem: t.elem}
			nodes = append(nodes, t.table)
		}
	}
	for _, t := range nodes {
		if t.kind != Dict || t.entries != nil {
			continue
		}
		at := alignUp(t.key.size, t.elem.align)
		e := &Type{kind: Struct, align: max(t.key.align, t.elem.align)}
		e.fields = []Field{{"Key", "", 0, t.key}, {"Value", "", at, t.elem}}
		if e.size = at + t.elem.size; t.elem.size == 0 && e.size > 0 {
			e.size++ // as the compiler does: the address of the value then lies inside the entry
		}
		if e.size = alignUp(e.size, e.align); e.size > maxFixed {
			return nil, "an entry of a Dict is larger than 2 GiB"
		}
		word := &Type{kind: Uint32, size: 4, align: 4}
		t.index = &Type{kind: Slice, size: 24, align: 8, elem: word}
		t.entries = &Type{kind: Slice, size: 24, align: 8, elem: e}
		nodes = append(nodes, word, t.index, e, t.entries)
	}
	return nodes, ""
}

// How the keys of a type are hashed in Dicts.
type dictHash uint8

const (
	hashWord   dictHash = iota + 1 // 1, 2, 4 or 8 bytes, hashed as a number
	hashString                     // the bytes of a string
	hashPlain                      // by parts; Go's == agrees with Equal
	hashSlow                       // by parts of the stored form
)

// dictHash returns how keys of the type are hashed. It depends on the stored type alone, since Dicts
// store hashes.
func (t *Type) dictHash() dictHash {
	switch {
	case t.kind == String:
		return hashString
	case t.hashBytes && (t.size == 1 || t.size == 2 || t.size == 4 || t.size == 8):
		return hashWord
	case t.plainKey():
		return hashPlain
	}
	return hashSlow
}

// mixWord returns the hash of a one-word key: both halves of a product, combined.
func mixWord(v uint64) uint64 {
	hi, lo := bits.Mul64(v^dictSeed, 0x9e3779b97f4a7c15)
	return (hi ^ lo) * 0xd6e8feb86659fd93
}

// wordOf returns the key at p, of 1, 2, 4 or 8 bytes, as a number.
func wordOf(p unsafe.Pointer, size uintptr) uint64 {
	switch size {
	case 1:
		return uint64(*(*uint8)(p))
	case 2:
		return uint64(*(*uint16)(p))
	case 4:
		return uint64(*(*uint32)(p))
	}
	return *(*uint64)(p)
}

// hashDict returns the hash of a stored key in Dicts. The error is ErrNaN.
func (t *Type) hashDict(how dictHash, p unsafe.Pointer) (uint64, error) {
	if how == hashWord {
		return mixWord(wordOf(p, t.size)), nil
	}
	return t.Hash(dictSeed, p)
}

// dictSlots returns the length of the index of n entries.
func dictSlots(n uintptr) uintptr {
	if n <= dictScan {
		return 0
	}
	return 1 << bits.Len64(uint64(n+n/3))
}

// DictIndex returns the index of n entries whose keys have the hashes that hash returns.
func DictIndex(n int, hash func(i int) uint64) []uint32 {
	slots := dictSlots(uintptr(n))
	if slots == 0 {
		return nil
	}
	index := make([]uint32, slots)
	for i := range n {
		putDict(index, i, hash(i))
	}
	return index
}

// putDict puts the entry i, whose key has the hash, into an index.
func putDict(index []uint32, i int, hash uint64) {
	mask := uint32(len(index) - 1)
	at := uint32(hash) & mask
	for index[at] != 0 {
		at = (at + 1) & mask
	}
	index[at] = uint32(hash>>32)&^mask | uint32(i+1)
}

// dict returns the parts of the Dict at p, whose addresses were checked.
func (t *Type) dict(p unsafe.Pointer) (index []uint32, entries unsafe.Pointer, n uintptr) {
	if slots := word(p, 8); slots > 0 {
		index = unsafe.Slice((*uint32)(loadPointer(p)), slots)
	}
	h := unsafe.Add(p, dictEntries)
	return index, loadPointer(h), word(h, 8)
}

// dict checks the Dict at p, and changes its addresses if need be; shared reports whether another
// Dict has the same entries; that is allowed only for a type that can contain itself. A walk that
// changes addresses does not read keys: overlapping parts could have changed them, and their
// addresses may still be those of another place.
func (w *walker) dict(t *Type, p unsafe.Pointer) (shared bool, err error) {
	h := unsafe.Add(p, dictEntries)
	if word(h, 8) == 0 && (word(p, 0) != 0 || word(h, 0) != 0) {
		return false, damage(t, w.b, p, "a Dict without entries that has parts")
	}
	if err := w.slice(t.index, p); err != nil {
		return false, err
	}
	known := 0
	if t.entries.ident {
		known = w.ids.used
	}
	if err := w.slice(t.entries, h); err != nil {
		return false, err
	}
	n := word(h, 8)
	if word(p, 8) != dictSlots(n) {
		return false, damage(t, w.b, p, "a Dict with an index of a wrong length")
	}
	shared = t.entries.ident && n > 0 && t.entries.elem.size > 0 && w.ids.used == known
	if n == 0 || w.from != 0 || w.handle != nil || w.judge != nil {
		return shared, nil
	}
	if t.entries.ident && t.entries.elem.size > 0 {
		// Any number of Dicts can share entries. The walk checks the entries once, with the index of the
		// first Dict that has them (LY5); each other Dict costs only the check of its index.
		s := w.ids.find(word(h, 0), t.entries, n|sliceBit)
		if s.ptr != nil {
			have, _, _ := t.dict(p)
			want, _, _ := t.dict(s.ptr)
			return shared, w.sameIndex(t, p, have, want)
		}
		s.ptr = p
	}
	return shared, w.keys(t, p)
}

// sameIndex returns an error if the index of the Dict at p is not want.
func (w *walker) sameIndex(t *Type, p unsafe.Pointer, have, want []uint32) error {
	if !slices.Equal(have, want) {
		return damage(t, w.b, p, "a Dict with an index that does not match its keys")
	}
	return nil
}

// keys checks the keys of the Dict at p, and its index.
func (w *walker) keys(t *Type, p unsafe.Pointer) error {
	have, entries, n := t.dict(p)
	keys := walker{b: w.b, budget: ^uintptr(0)}
	size := t.entries.elem.size
	for i := range n {
		if err := keys.value(t.key, unsafe.Add(entries, i*size)); err != nil {
			return err
		}
	}
	want, err := t.indexOf(entries, n)
	if err != nil {
		return damage(t, w.b, p, "a Dict in which "+err.Error())
	}
	return w.sameIndex(t, p, have, want)
}

// indexOf returns the index of n entries, after checking that they are in order.
func (t *Type) indexOf(entries unsafe.Pointer, n uintptr) ([]uint32, error) {
	size, how := t.entries.elem.size, t.key.dictHash()
	index := make([]uint32, dictSlots(n))
	for i := range n {
		key := unsafe.Add(entries, i*size)
		if i > 0 {
			switch c := t.key.Compare(unsafe.Add(entries, (i-1)*size), key); {
			case c == 0:
				return nil, errTwice
			case c > 0:
				return nil, errors.New("the keys are not in order")
			}
		}
		if len(index) == 0 && how <= hashString {
			continue // else there may be a NaN
		}
		hash, err := t.key.hashDict(how, key)
		if err != nil {
			return nil, errors.New("a key is NaN")
		}
		if len(index) > 0 {
			putDict(index, int(i), hash)
		}
	}
	return index, nil
}

// unsettled is a Dict that is being made: its entries are in any order, and its index has its length
// but no contents yet.
type unsettled struct {
	typ *Type
	p   unsafe.Pointer // where it is; nil if it is in an image
	at  uintptr        // its offset in an image
}

// settle sorts the entries of the Dict at p, which lies in memory without pointers, and makes its
// index. Dicts in its values must be settled before: sorting moves them.
func (t *Type) settle(p unsafe.Pointer) error {
	index, entries, n := t.dict(p)
	if n == 0 {
		return nil
	}
	size := t.entries.elem.size
	order := make([]uintptr, n)
	for i := range order {
		order[i] = uintptr(i)
	}
	at := func(i uintptr) unsafe.Pointer { return unsafe.Add(entries, i*size) }
	compare := func(a, b uintptr) int { return t.key.Compare(at(a), at(b)) }
	if size > 0 && !slices.IsSortedFunc(order, compare) {
		slices.SortStableFunc(order, compare)
		old := bytes.Clone(bytesAt(entries, n*size))
		for i, from := range order {
			copy(bytesAt(at(uintptr(i)), size), old[from*size:][:size])
		}
	}
	made, err := t.indexOf(entries, n)
	if errors.Is(err, errTwice) {
		for i := range n - 1 {
			if compare(i, i+1) == 0 {
				w := printer{}
				_ = w.value(t.key, at(i))
				return fmt.Errorf("the key %s is there twice", w.b)
			}
		}
	}
	copy(index, made)
	return err
}

// settleAll settles the Dicts, the last one first: a Dict that was made later can lie inside one that
// was made before. address returns the address of a Dict.
func settleAll(dicts []unsettled, address func(d unsettled) unsafe.Pointer) error {
	for _, d := range slices.Backward(dicts) {
		if err := d.typ.settle(address(d)); err != nil {
			return err
		}
	}
	return nil
}

// dictKey knows how the keys of one Go type are compared and hashed. It is immutable.
type dictKey struct {
	of   Identity
	typ  *Type
	how  dictHash
	size uintptr
}

// dictKeys remembers the dictKeys used last.
var dictKeys [256]atomic.Pointer[dictKey]

// dictKeyOf returns the dictKey of type K. The error is an *UnstorableError or
// *KeyError.
func dictKeyOf[K comparable]() (*dictKey, error) {
	of := IdentityOf[K]()
	if k := dictKeys[byte(of.Word()>>5)].Load(); k != nil && k.of == of {
		return k, nil
	}
	return makeDictKey(of)
}

func makeDictKey(of Identity) (*dictKey, error) {
	t, err := Of(of.GoType())
	if err == nil {
		err = t.KeyError()
	}
	if err != nil {
		return nil, err
	}
	k := &dictKey{of, t, t.dictHash(), t.size}
	dictKeys[byte(of.Word()>>5)].Store(k)
	return k, nil
}

// plainKey reports whether Go's == on values of the program agrees with Equal.
func (t *Type) plainKey() bool {
	switch t.kind {
	case Time, Binary, Text:
		return false
	}
	plain := true
	t.byValue(func(u *Type) { plain = plain && u.plainKey() })
	return plain
}

// hash returns the hash of the key of the program at p. The error is ErrNaN, or that of a
// method of the key. The caller keeps the key alive.
func (k *dictKey) hash(p unsafe.Pointer) (uint64, error) {
	if k.typ.coded {
		var err error
		if p, err = k.typ.stored(p); err != nil {
			return 0, err
		}
	}
	return k.typ.hashDict(k.how, p)
}

// compare orders two keys of the program. The error is that of a method of a key.
func (k *dictKey) compare(a, b unsafe.Pointer) (c int, err error) {
	if k.typ.coded {
		if a, err = k.typ.stored(a); err != nil {
			return 0, err
		}
		if b, err = k.typ.stored(b); err != nil {
			return 0, err
		}
	}
	return k.typ.Compare(a, b), nil
}

// AllOfDict returns the entries of a Dict in their order.
func AllOfDict[K comparable, V any](entries []DictEntry[K, V]) iter.Seq2[K, V] {
	return func(yield func(K, V) bool) {
		for i := range entries {
			if !yield(entries[i].Key, entries[i].Value) {
				return
			}
		}
	}
}

// FindDict returns the position of a key among the entries of a Dict, or -1.
func FindDict[K comparable, V any](index []uint32, entries []DictEntry[K, V], key K) int {
	if len(entries) == 0 {
		return -1
	}
	k, err := dictKeyOf[K]()
	if err != nil || k.how == hashSlow {
		return findSlowly(k, err, entries, key)
	}
	if len(index) == 0 {
		for i := range entries {
			if entries[i].Key == key {
				return i
			}
		}
		return -1
	}
	var hash uint64
	switch p := NoEscapeKey(&key); k.how {
	case hashWord:
		hash = mixWord(wordOf(p, k.size))
	case hashString:
		hash = xxh3.HashStringSeed(*(*string)(p), dictSeed)
	default:
		if hash, err = k.hash(p); err != nil {
			return -1 // NaN
		}
	}
	mask := uint32(len(index) - 1)
	for at := uint32(hash) & mask; ; at = (at + 1) & mask {
		word := index[at]
		if (word^uint32(hash>>32))&^mask == 0 {
			if i := word & mask; i-1 < uint32(len(entries)) && entries[i-1].Key == key {
				return int(i - 1)
			}
		}
		if word == 0 {
			return -1
		}
	}
}

// findSlowly is FindDict for types with equal keys that Go's == tells apart. It compares keys in
// their stored form, and searches by their order.
func findSlowly[K comparable, V any](k *dictKey, err error, entries []DictEntry[K, V], key K) int {
	if err != nil {
		return -1 // only a damaged Dict gets here: no Dict with such keys is ever made
	}
	if i, found := placeDict(k, entries, key); found {
		return i
	}
	return -1
}

// placeDict returns the position that a key has, or would have, among the entries of a Dict.
func placeDict[K comparable, V any](k *dictKey, entries []DictEntry[K, V], key K) (int, bool) {
	return slices.BinarySearchFunc(entries, key, func(e DictEntry[K, V], key K) int {
		return compareKeys(k, e.Key, key)
	})
}

// compareKeys orders two keys. It panics with the error of a method of a key.
func compareKeys[K comparable](k *dictKey, a, b K) int {
	c, err := k.compare(NoEscapeKey(&a), NoEscapeKey(&b))
	if err != nil {
		panic(err)
	}
	return c
}

// MakeDict returns the parts of the Dict with the entries of a map. It panics with an error:
// an *UnstorableError, a *KeyError, ErrNaN, or that of a method of a key.
func MakeDict[K comparable, V any](m map[K]V) ([]uint32, []DictEntry[K, V]) {
	k := mustDictKey[K]()
	if len(m) == 0 {
		return nil, nil
	}
	entries := make([]DictEntry[K, V], 0, len(m))
	for key, v := range m {
		entries = append(entries, DictEntry[K, V]{key, v})
	}
	slices.SortFunc(entries, func(a, b DictEntry[K, V]) int { return compareKeys(k, a.Key, b.Key) })
	if k.how == hashSlow {
		entries = slices.CompactFunc(entries, func(a, b DictEntry[K, V]) bool { return compareKeys(k, a.Key, b.Key) == 0 })
	}
	return indexEntries(k, entries), entries
}

// WithDict returns the parts of the Dict that has the entries of another and the value under
// the key. It panics as MakeDict does.
func WithDict[K comparable, V any](entries []DictEntry[K, V], key K, v V) ([]uint32, []DictEntry[K, V]) {
	k := mustDictKey[K]()
	i, found := placeDict(k, entries, key)
	if found {
		entries = slices.Clone(entries)
		entries[i].Value = v
	} else {
		made := make([]DictEntry[K, V], 0, len(entries)+1)
		made = append(append(made, entries[:i]...), DictEntry[K, V]{key, v})
		entries = append(made, entries[i:]...)
	}
	return indexEntries(k, entries), entries
}

// WithoutDict returns the parts of the Dict without an entry.
func WithoutDict[K comparable, V any](entries []DictEntry[K, V], i int) ([]uint32, []DictEntry[K, V]) {
	if len(entries) == 1 {
		return nil, nil
	}
	made := make([]DictEntry[K, V], 0, len(entries)-1)
	made = append(append(made, entries[:i]...), entries[i+1:]...)
	return indexEntries(mustDictKey[K](), made), made
}

func mustDictKey[K comparable]() *dictKey {
	k, err := dictKeyOf[K]()
	if err != nil {
		panic(err)
	}
	return k
}

// indexEntries returns the index of entries that are in order.
func indexEntries[K comparable, V any](k *dictKey, entries []DictEntry[K, V]) []uint32 {
	hash := func(i int) uint64 {
		h, err := k.hash(NoEscapeKey(&entries[i].Key))
		if err != nil {
			panic(err)
		}
		return h
	}
	if k.how > hashString && len(entries) <= dictScan {
		for i := range entries {
			hash(i) // finds NaN
		}
	}
	return DictIndex(len(entries), hash)
}
