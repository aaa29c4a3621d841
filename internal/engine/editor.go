package engine

import (
	"fmt"
	"sync/atomic"
	"unsafe"

	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/heap"
)

// Editor reads the objects of one version of a space, or makes the next version. It is what
// a transaction is as far as objects are concerned: whoever has the transaction begins it and
// ends it, and holds the version meanwhile. One that reads may be shared by goroutines. There
// is one for every View, which is never used again: so it is small, and what it finds out about
// the version is kept in the Store.
type Editor struct {
	*making
	store  *Store
	reader *heap.Reader
	state  *format.State // the version's; one that writes has a copy of its own
	ended  atomic.Bool

	*found // nil: it has no handle, and is over after one operation
}

// found is what a reading editor has come to: the map that it used first, since most
// use but one, and the search for what references lead to.
type found struct {
	first atomic.Pointer[binding]
	refs  atomic.Pointer[refSearch]
}

// making is what an editor has that writes, and a snapshot of one.
type making struct {
	write    *heap.Txn // nil: reading
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
}

// role is what the changes of an editor that writes are.
type role uint8

const (
	editing   role = iota // those of the program
	applying              // those of a journal or a backup: see applier
	recasting             // of types: see recast
	spoiled               // of nobody any more: a page could not be read, and what was written is not touched again
)

// reading is what all have that read a published version. Nobody writes it.
var reading making

// Read makes it one that reads; its reader and its state are still to be set.
func (tx *Editor) Read(s *Store) { tx.store, tx.making = s, &reading }

// Keep gives it room for what it finds out: it has a handle, and is used more than once.
func (tx *Editor) Keep(f *found) { tx.found = f }

// Prepare gives it what it takes to write. An editor that is alone has no handle, so
// nobody can share it.
func (tx *Editor) Prepare(m *making, alone bool) {
	tx.making = m
	m.alone = alone
}

// Start makes it one that writes. It is used by nobody else, and may have been used before.
// The base is still to be set, by From; until then it can only abort.
func (tx *Editor) Start(s *Store, write *heap.Txn) {
	tx.store, tx.write = s, write
	tx.ended.Store(false)
	tx.failed, tx.recent, tx.role = nil, nil, editing
	tx.unlinked = 0
	tx.fresh.reset()
	s.writer = tx
}

// From sets the state that it starts from.
func (tx *Editor) From(base *format.State) {
	tx.own = *base
	tx.state, tx.next = &tx.own, tx.own.NextIndex
	tx.reader = &tx.write.Reader
}

// SnapshotOf makes it one that reads what a writing one has made so far. It may be shared by
// goroutines, and the writing one may go on: blocks that are there stay as they are until
// Thaw. The writing one must not end before it.
func (tx *Editor) SnapshotOf(of *Editor) {
	of.write.BorrowAll()
	of.write.Freeze()
	state := of.own
	tx.store, tx.reader, tx.state = of.store, of.reader, &state
	tx.making = &making{next: of.next, of: of.write}
}

// Thaw lets go of what a snapshot is of, and reports whether it is one.
func (tx *Editor) Thaw() bool {
	if tx.of == nil {
		return false
	}
	tx.of.Thaw()
	return true
}

// End ends it, and reports whether it had not ended before.
func (tx *Editor) End() bool { return !tx.ended.Swap(true) }

// Ended reports whether it has ended.
func (tx *Editor) Ended() bool { return tx.ended.Load() }

// errEnded says that a transaction is used after its end.
var errEnded = fmt.Errorf("%w: the transaction has ended; a Tx is valid only inside the function that it was passed to", ErrClosed)

// Err returns an error if the transaction has ended, or can only abort.
func (tx *Editor) Err() error {
	if tx.ended.Load() {
		if tx.lost != nil {
			return tx.lost
		}
		return errEnded
	}
	if tx.write != nil {
		if err := tx.shared(); err != nil {
			return err
		}
	}
	return tx.failed
}

// fail marks the transaction as one that can only abort, and returns the error.
func (tx *Editor) fail(err error) error {
	if tx.failed == nil {
		tx.failed = err
	}
	return err
}

// Failure returns why it can only abort; nil: it can commit.
func (tx *Editor) Failure() error { return tx.failed }

// Spoil says that a page could not be read: what was written is not touched any more.
func (tx *Editor) Spoil() { tx.role = spoiled }

// Spoiled reports whether Spoil was called.
func (tx *Editor) Spoiled() bool { return tx.role == spoiled }

// Recasts reports whether it changes types right now: then it is not for others.
func (tx *Editor) Recasts() bool { return tx.role == recasting }

// Lose says why the transaction is to end, or has ended: Err returns it then.
func (tx *Editor) Lose(err error) { tx.lost = err }

// Lost returns what Lose was told.
func (tx *Editor) Lost() error { return tx.lost }

// Unlinked returns how many values with handles were replaced or removed.
func (tx *Editor) Unlinked() uint64 { return tx.unlinked }

// Version returns the version that a reading transaction sees, or the one that
// a writing transaction starts from.
func (tx *Editor) Version() format.Version { return format.Version(tx.state.Version) }

// published reports whether the object with the index is one of a published
// version, and not of this transaction, which may abort.
func (tx *Editor) published(index uint64) bool {
	return tx.write == nil && tx.of == nil || index < tx.next
}

// birthOf returns the version that wrote the block of a value.
func (tx *Editor) birthOf(of RefOf) (format.Version, error) {
	p, _, err := tx.value(of)
	if err != nil {
		return 0, err
	}
	return (*format.BlockHeader)(unsafe.Add(p, -format.HeaderSize)).Birth(), nil
}
