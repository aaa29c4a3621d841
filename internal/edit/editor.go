package edit

import (
	"sync/atomic"

	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/heap"
)

// Editor reads the objects of one version of a space, or makes the next version. It is the part of
// a transaction that knows objects: the engine begins and ends the transaction, and holds the
// version meanwhile. Goroutines may share a reading editor. Every View has an editor of its own,
// which is never used again: so an editor is small, and the Store keeps what it finds out about the
// version.
type Editor struct {
	*Making
	store  *Store
	Reader *heap.Reader
	State  *format.State // the version's; a writing editor has a copy of its own
	ended  atomic.Bool

	*Found // nil: the editor has no handle, and ends after one operation
}

// Found holds what a reading editor has found: the map that it used first, since most use only one,
// and the search for referenced values.
type Found struct {
	first atomic.Pointer[binding]
	refs  atomic.Pointer[refSearch]
}

// Making is the part that only a writing editor has, and a snapshot of a writing editor.
type Making struct {
	Write    *heap.Txn // nil if the editor reads
	own      format.State
	alone    bool   // the editor has no handle, so no other goroutine can share it
	using    using  // which goroutine changes it
	failed   error  // the tree may be half changed: only an abort is possible
	next     uint64 // NextIndex of the base: objects below it are published
	recent   *Map   // the last map of this transaction that was bound
	fresh    fresh
	unlinked uint64 // how many values with handles were replaced or removed

	role role // where its changes come from

	of   *heap.Txn // the writing transaction that this is a snapshot of, or nil
	lost error     // why it has ended, if Err is to say so

	time atomic.Int64 // see Time; 0 until the first look
}

// role says where the changes of a writing editor come from.
type role uint8

const (
	editing   role = iota // from the program
	applying              // from a journal or a backup: see package apply
	recasting             // from a change of types: see package recast
	spoiled               // from nowhere: a page could not be read, and the abort leaves alone what was written
)

// reading is shared by all editors that read a published version, and is never written.
var reading Making

// Read makes ed a reading editor; the caller sets its reader and its state next.
func (ed *Editor) Read(s *Store) { ed.store, ed.Making = s, &reading }

// Keep gives ed room for what it finds out: it has a handle, and is used more than once.
func (ed *Editor) Keep(f *Found) { ed.Found = f }

// Prepare gives ed what a writing editor needs. An editor that is alone has no handle, so no other
// goroutine can share it.
func (ed *Editor) Prepare(m *Making, alone bool) {
	ed.Making = m
	m.alone = alone
}

// Start makes ed a writing editor. Nothing else uses ed now, but an earlier transaction may have.
// The caller sets the base next, with From; until then ed can only abort.
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

// From sets the state of the version that ed starts from.
func (ed *Editor) From(base *format.State) {
	ed.own = *base
	ed.State, ed.next = &ed.own, ed.own.NextIndex
	ed.Reader = &ed.Write.Reader
}

// SnapshotOf makes ed an editor that reads what the writing editor of has made so far. Goroutines
// may share ed, and of may continue to write: the blocks that exist now stay as they are until
// Thaw. of must not end before Thaw.
func (ed *Editor) SnapshotOf(of *Editor) {
	of.freeze() // until Thaw
	state := of.own
	ed.store, ed.Reader, ed.State = of.store, of.Reader, &state
	ed.Making = &Making{next: of.next, of: of.Write}
	ed.time.Store(of.time.Load())
}

// Thaw releases the blocks that a snapshot keeps unchanged, and reports whether ed is a snapshot.
func (ed *Editor) Thaw() bool {
	if ed.of == nil {
		return false
	}
	ed.of.Thaw()
	return true
}

// End ends ed for its users, and reports whether this call ended it. An editor without a handle
// needs no atomic swap: no other goroutine can end it.
func (ed *Editor) End() bool {
	if ed.Making == nil || !ed.alone {
		return !ed.ended.Swap(true)
	}
	was := ed.ended.Load()
	setFlag(&ed.ended, true)
	return !was
}

// Ended reports whether End was called.
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

// Failure returns why ed can only abort; nil if it can commit.
func (ed *Editor) Failure() error { return ed.failed }

// Spoil says that a page could not be read: the abort then leaves alone what was written.
func (ed *Editor) Spoil() { ed.role = spoiled }

// Spoiled reports whether Spoil was called.
func (ed *Editor) Spoiled() bool { return ed.role == spoiled }

// BeginRecast says that ed changes types from now on: CheckHandle accepts every handle until
// EndRecast (R5).
func (ed *Editor) BeginRecast() { ed.role = recasting }

// EndRecast ends what BeginRecast began.
func (ed *Editor) EndRecast() {
	if ed.role == recasting {
		ed.role = editing
	}
}

// Recasts reports whether ed changes types right now: then no other use of it is allowed.
func (ed *Editor) Recasts() bool { return ed.role == recasting }

// Lose records why the transaction is to end, or has ended: Err returns err from then on.
func (ed *Editor) Lose(err error) { ed.lost = err }

// Lost returns the error that Lose recorded.
func (ed *Editor) Lost() error { return ed.lost }

// Unlinked returns how many values with handles were replaced or removed.
func (ed *Editor) Unlinked() uint64 { return ed.unlinked }

// Store returns the store that ed shares with the other editors of the space.
func (ed *Editor) Store() *Store { return ed.store }

// Tag returns the tag of the IDs of ed's space.
func (ed *Editor) Tag() uint16 { return ed.store.header.Tag }

// Version returns the version that a reading transaction sees, or the one that
// a writing transaction starts from.
func (ed *Editor) Version() format.Version { return format.Version(ed.State.Version) }

// published reports whether the object with the index belongs to a published version, and not to
// this transaction, which may abort.
func (ed *Editor) published(index uint64) bool {
	return ed.Write == nil && ed.of == nil || index < ed.next
}
