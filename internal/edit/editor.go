package edit

import (
	"sync/atomic"

	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/heap"
)

// Editor reads the objects of one version of a space, or makes the next version. It is what
// a transaction is as far as objects are concerned: whoever has the transaction begins it and
// ends it, and holds the version meanwhile. One that reads may be shared by goroutines. There
// is one for every View, which is never used again: so it is small, and what it finds out about
// the version is kept in the Store.
type Editor struct {
	*Making
	store  *Store
	Reader *heap.Reader
	State  *format.State // the version's; one that writes has a copy of its own
	ended  atomic.Bool

	*Found // nil: it has no handle, and is over after one operation
}

// Found is what a reading editor has come to: the map that it used first, since most
// use but one, and the search for what references lead to.
type Found struct {
	first atomic.Pointer[binding]
	refs  atomic.Pointer[refSearch]
}

// Making is what an editor has that writes, and a snapshot of one.
type Making struct {
	Write    *heap.Txn // nil: reading
	own      format.State
	alone    bool   // it has no handle, so nobody can share it
	using    using  // by which goroutine
	failed   error  // the tree may be half changed: only an abort is possible
	next     uint64 // NextIndex of the base: objects below it are published
	recent   *Map   // bound last to an object of this transaction
	fresh    fresh
	unlinked uint64 // values with handles that were replaced or removed

	role role // what its changes are

	of   *heap.Txn // of the writing one that it is a snapshot of, or nil
	lost error     // why it has ended, if the program is to be told

	time atomic.Int64 // see Time; 0: nobody has asked for it
}

// role is what the changes of an editor that writes are.
type role uint8

const (
	editing   role = iota // those of the program
	applying              // those of a journal or a backup: see package apply
	recasting             // of types: see package recast
	spoiled               // of nobody any more: a page could not be read, and what was written is not touched again
)

// reading is what all have that read a published version. Nobody writes it.
var reading Making

// Read makes it one that reads; its reader and its state are still to be set.
func (ed *Editor) Read(s *Store) { ed.store, ed.Making = s, &reading }

// Keep gives it room for what it finds out: it has a handle, and is used more than once.
func (ed *Editor) Keep(f *Found) { ed.Found = f }

// Prepare gives it what it takes to write. An editor that is alone has no handle, so
// nobody can share it.
func (ed *Editor) Prepare(m *Making, alone bool) {
	ed.Making = m
	m.alone = alone
}

// Start makes it one that writes. It is used by nobody else, and may have been used before.
// The base is still to be set, by From; until then it can only abort.
func (ed *Editor) Start(s *Store, write *heap.Txn) {
	ed.store, ed.Write = s, write
	setFlag(&ed.ended, false)
	ed.failed, ed.recent, ed.role = nil, nil, editing
	ed.unlinked = 0
	if ed.time.Load() != 0 {
		ed.time.Store(0)
	}
	ed.fresh.reset()
}

// From sets the state that it starts from.
func (ed *Editor) From(base *format.State) {
	ed.own = *base
	ed.State, ed.next = &ed.own, ed.own.NextIndex
	ed.Reader = &ed.Write.Reader
}

// SnapshotOf makes it one that reads what a writing one has made so far. It may be shared by
// goroutines, and the writing one may go on: blocks that are there stay as they are until
// Thaw. The writing one must not end before it.
func (ed *Editor) SnapshotOf(of *Editor) {
	of.freeze() // until Thaw
	state := of.own
	ed.store, ed.Reader, ed.State = of.store, of.Reader, &state
	ed.Making = &Making{next: of.next, of: of.Write}
	ed.time.Store(of.time.Load())
}

// Thaw lets go of what a snapshot is of, and reports whether it is one.
func (ed *Editor) Thaw() bool {
	if ed.of == nil {
		return false
	}
	ed.of.Thaw()
	return true
}

// End ends it, for who uses it, and reports whether it had not ended before. One that has no
// handle nobody else can end.
func (ed *Editor) End() bool {
	if ed.Making == nil || !ed.alone {
		return !ed.ended.Swap(true)
	}
	was := ed.ended.Load()
	setFlag(&ed.ended, true)
	return !was
}

// Ended reports whether it has ended.
func (ed *Editor) Ended() bool { return ed.ended.Load() }

// Err returns an error if the transaction has ended, or can only abort.
func (ed *Editor) Err() error {
	if ed.ended.Load() {
		if ed.lost != nil {
			return ed.lost
		}
		return ErrEnded
	}
	if ed.Write != nil {
		if err := ed.shared(); err != nil {
			return err
		}
	}
	return ed.failed
}

// Fail marks the transaction as one that can only abort, and returns the error.
func (ed *Editor) Fail(err error) error {
	if ed.failed == nil {
		ed.failed = err
	}
	return err
}

// Failure returns why it can only abort; nil: it can commit.
func (ed *Editor) Failure() error { return ed.failed }

// Spoil says that a page could not be read: what was written is not touched any more.
func (ed *Editor) Spoil() { ed.role = spoiled }

// Spoiled reports whether Spoil was called.
func (ed *Editor) Spoiled() bool { return ed.role == spoiled }

// BeginRecast says that it changes types from now on: handles are not judged until EndRecast
// (R5).
func (ed *Editor) BeginRecast() { ed.role = recasting }

// EndRecast ends that.
func (ed *Editor) EndRecast() {
	if ed.role == recasting {
		ed.role = editing
	}
}

// Recasts reports whether it changes types right now: then it is not for others.
func (ed *Editor) Recasts() bool { return ed.role == recasting }

// Lose says why the transaction is to end, or has ended: Err returns it then.
func (ed *Editor) Lose(err error) { ed.lost = err }

// Lost returns what Lose was told.
func (ed *Editor) Lost() error { return ed.lost }

// Unlinked returns how many values with handles were replaced or removed.
func (ed *Editor) Unlinked() uint64 { return ed.unlinked }

// Store returns what it has in common with other editors of the space.
func (ed *Editor) Store() *Store { return ed.store }

// Tag returns the tag of the IDs of its space.
func (ed *Editor) Tag() uint16 { return ed.store.header.Tag }

// Version returns the version that a reading transaction sees, or the one that
// a writing transaction starts from.
func (ed *Editor) Version() format.Version { return format.Version(ed.State.Version) }

// published reports whether the object with the index is one of a published
// version, and not of this transaction, which may abort.
func (ed *Editor) published(index uint64) bool {
	return ed.Write == nil && ed.of == nil || index < ed.next
}
