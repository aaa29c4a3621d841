package edit

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
	time int64 // of the transaction whose own it is; 0: none
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
	maps, untyped [64]latelyMap // bound to Go types, and to none
	refs          atomic.Pointer[refSearch]
}

// latelyMap is the place of a map.
type latelyMap struct {
	bound atomic.Pointer[binding]
	seen  atomic.Uintptr // the state for which it was not there last
}

// versionOf names the version that a transaction sees.
func (ed *Editor) versionOf() versionOf { return versionOf{ed.State, ed.State.Version} }

// keeps reports whether what the transaction finds out may be kept for others: it reads a
// published version, and does not verify what it reads.
func (ed *Editor) keeps() bool { return ed.Making == &reading && ed.store.trusting }

// binding returns the map that the transaction has bound first; nil if there is none, or if
// the transaction has ended.
func (ed *Editor) binding() *binding {
	if ed.Found == nil || ed.ended.Load() {
		return nil
	}
	return ed.first.Load()
}

// bound notes which map the transaction has bound, if it is the first.
func (ed *Editor) bound(b *binding) {
	if ed.Found == nil || ed.first.CompareAndSwap(nil, b) {
		return
	}
	if was := ed.first.Load(); was.m == nil { // it has only the time
		own := *b
		own.time = was.time
		ed.first.CompareAndSwap(was, &own)
	}
}

// refSearch returns the search for what references lead to; nil if there is none yet, or if
// the transaction has ended.
func (ed *Editor) refSearch() *refSearch {
	if ed.Found == nil || ed.ended.Load() {
		return nil
	}
	return ed.refs.Load()
}

// find returns the binding for a map in the version that a transaction reads; nil if there is none.
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

// note notes that a transaction has come to a map. It is bound if that is worth it: when
// this is at least the second time in its version.
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

// prepareRefs lets PeekValue go the short way from now on. The transaction has looked
// at its state before, so that is a page that can be read.
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
