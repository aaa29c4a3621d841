package engine

import (
	"sync/atomic"
	"unsafe"

	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/trie"
	"github.com/everheap/everheap/internal/vector"
)

// What a reading transaction finds out about its version, before it comes to an entry or
// to a value, is the same for all that read the version. So the space keeps it, beside the
// transactions, which stay small; and who reads the newest version again finds it.
//
//	E13  What is kept is of one version, which its state's address and its number name. A
//	     transaction sees both of the version that it holds: a state that is held stays
//	     where it is, and no other version gets its number. So what was found for that
//	     pair is what the transaction would find itself.

// binding is a map in one version, bound to Go types. It is never changed.
type binding struct {
	of     MapOf
	m      *Map
	object *format.MapObject
	finder trie.Finder
	fast   bool // the finder may be used
	versionOf
}

// refSearch is the search for what references lead to in one version. It is never changed.
type refSearch struct {
	table vector.Prepared
	first uint64 // ID of index 0
	versionOf
}

// versionOf names a version (E13).
type versionOf struct {
	state   *format.State
	version uint64
}

// lately is what the space keeps.
type lately struct {
	maps [64]struct {
		bound atomic.Pointer[binding]
		seen  atomic.Uintptr // the state for which it was not there last
	}
	refs atomic.Pointer[refSearch]
}

// versionOf names the version that a transaction sees.
func (tx *Editor) versionOf() versionOf { return versionOf{tx.state, tx.state.Version} }

// keeps reports whether what the transaction finds out may be kept for others: it reads a
// published version, and does not verify what it reads.
func (tx *Editor) keeps() bool { return tx.making == &reading && tx.store.trusting }

// binding returns the map that the transaction has bound first; nil if there is none, or if
// the transaction has ended.
func (tx *Editor) binding() *binding {
	if tx.found == nil || tx.ended.Load() {
		return nil
	}
	return tx.first.Load()
}

// bound notes which map the transaction has bound, if it is the first.
func (tx *Editor) bound(b *binding) {
	if tx.found != nil {
		tx.first.CompareAndSwap(nil, b)
	}
}

// refSearch returns the search for what references lead to; nil if there is none yet, or if
// the transaction has ended.
func (tx *Editor) refSearch() *refSearch {
	if tx.found == nil || tx.ended.Load() {
		return nil
	}
	return tx.refs.Load()
}

// find returns the binding for a map in the version that a transaction reads; nil if there is none.
func (l *lately) find(tx *Editor, of MapOf) *binding {
	b := l.maps[of.ID.Index()%uint64(len(l.maps))].bound.Load()
	if b == nil || b.of != of || b.state != tx.state || b.version != tx.state.Version || !tx.keeps() {
		return nil
	}
	return b
}

// note notes that a transaction has come to a map. It is bound if that is worth it: when
// this is at least the second time in its version.
func (l *lately) note(tx *Editor, m *Map, object *format.MapObject) {
	if !tx.keeps() {
		return
	}
	place := &l.maps[m.index%uint64(len(l.maps))]
	if state := uintptr(unsafe.Pointer(tx.state)); place.seen.Load() != state {
		place.seen.Store(state)
		return
	}
	b := &binding{of: m.of, m: m, object: object, versionOf: tx.versionOf()}
	if !m.of.Sorted && !m.shape.Value.Coded() {
		b.finder, b.fast = trie.NewFinder(tx.reader, format.Link(object.Root), m.shape)
	}
	place.bound.Store(b)
	tx.bound(b)
}

// prepareRefs lets PeekValue go the short way from now on. The transaction has looked
// at its state before, so that is a page that can be read.
func (tx *Editor) prepareRefs() {
	if tx.found == nil || tx.refs.Load() != nil || !tx.keeps() {
		return
	}
	s, now := tx.store.lately.refs.Load(), tx.versionOf()
	if s == nil || s.versionOf != now {
		s = &refSearch{tx.store.finder.Prepare(format.Link(tx.state.Table)), uint64(format.MakeID(tx.store.header.Tag, 0)), now}
		tx.store.lately.refs.Store(s)
	}
	tx.refs.CompareAndSwap(nil, s)
}
