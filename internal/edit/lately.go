package edit

import (
	"sync/atomic"
	"unsafe"

	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/trie"
	"github.com/everheap/everheap/internal/vector"
)

// What a reading transaction finds out about its version, before it gets to an entry or a value, is
// the same for all transactions that read the version. So the Store keeps it: transactions stay
// small, and the next transaction that reads the same version finds it there.
//
//	E13  Each cached fact is about one version, named by the address of its state and by its
//	     number. A transaction checks both against the version that it holds: a held state stays
//	     where it is, and no other version gets its number. So a fact cached under that pair is
//	     what the transaction would find itself.

// binding is a map in one version, bound to Go types. It is never changed.
type binding struct {
	of     MapOf
	m      *Map
	object *format.MapObject
	finder trie.Finder
	fast   bool // the finder may be used
	versionOf
	time int64 // of the transaction that this copy belongs to; 0 if it is shared
}

// refSearch is the search for referenced values in one version. It is never changed.
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

// lately caches what was found in the version that was read last.
type lately struct {
	maps, untyped [64]latelyMap // bound to Go types, and to none
	refs          atomic.Pointer[refSearch]
}

// latelyMap is the place of a map.
type latelyMap struct {
	bound atomic.Pointer[binding]
	seen  atomic.Uintptr // the state in which find missed last
}

// versionOf names the version that ed reads.
func (ed *Editor) versionOf() versionOf { return versionOf{ed.State, ed.State.Version} }

// keeps reports whether other transactions may use what this one finds out: it reads a published
// version, and does not verify what it reads.
func (ed *Editor) keeps() bool { return ed.Making == &reading && ed.store.trusting }

// binding returns the map that the transaction bound first; nil if it has bound none, or has ended.
func (ed *Editor) binding() *binding {
	if ed.Found == nil || ed.ended.Load() {
		return nil
	}
	return ed.first.Load()
}

// bound notes the binding if it is the first of the transaction.
func (ed *Editor) bound(b *binding) {
	if ed.Found == nil || ed.first.CompareAndSwap(nil, b) {
		return
	}
	if was := ed.first.Load(); was.m == nil { // it holds only the time
		own := *b
		own.time = was.time
		ed.first.CompareAndSwap(was, &own)
	}
}

// refSearch returns the search for referenced values; nil if it is not prepared, or the transaction
// has ended.
func (ed *Editor) refSearch() *refSearch {
	if ed.Found == nil || ed.ended.Load() {
		return nil
	}
	return ed.refs.Load()
}

// find returns the cached binding of a map in the version that ed reads; nil if there is none.
func (l *lately) find(ed *Editor, of MapOf) *binding {
	b := l.maps[of.ID.Index()%uint64(len(l.maps))].bound.Load()
	if b == nil || b.of != of || b.state != ed.State || b.version != ed.State.Version || !ed.keeps() {
		return nil
	}
	return b
}

// findUntyped is find for a map by its stored types.
func (l *lately) findUntyped(ed *Editor, id format.ID) *binding {
	b := l.untyped[id.Index()%uint64(len(l.untyped))].bound.Load()
	if b == nil || b.m.ID(ed) != id || b.state != ed.State || b.version != ed.State.Version || !ed.keeps() {
		return nil
	}
	return b
}

// note counts the transactions that come to a map. From the second one of a version on it caches a binding.
func (l *lately) note(ed *Editor, m *Map, object *format.MapObject) {
	if b := l.maps[m.index%uint64(len(l.maps))].note(ed, m, object); b != nil {
		ed.bound(b)
	}
}

// note returns what it has bound; nil: nothing.
func (l *latelyMap) note(ed *Editor, m *Map, object *format.MapObject) *binding {
	if !ed.keeps() {
		return nil
	}
	if state := uintptr(unsafe.Pointer(ed.State)); l.seen.Load() != state {
		l.seen.Store(state)
		return nil
	}
	b := &binding{of: m.of, m: m, object: object, versionOf: ed.versionOf()}
	if !m.sorted() && !m.shape.Value.Coded() && !m.Expires() {
		b.finder, b.fast = trie.NewFinder(ed.Reader, format.Link(object.Root), m.shape)
	}
	l.bound.Store(b)
	return b
}

// prepareRefs lets PeekValue take its short path from now on. The transaction has read its state
// before, so the page of the state is readable.
func (ed *Editor) prepareRefs() {
	if ed.Found == nil || ed.refs.Load() != nil || !ed.keeps() {
		return
	}
	s, now := ed.store.lately.refs.Load(), ed.versionOf()
	if s == nil || s.versionOf != now {
		s = &refSearch{ed.store.finder.Prepare(format.Link(ed.State.Table)), uint64(format.MakeID(ed.store.header.Tag, 0)), now}
		ed.store.lately.refs.Store(s)
	}
	ed.refs.CompareAndSwap(nil, s)
}
