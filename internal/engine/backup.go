package engine

import (
	"errors"
	"fmt"
	"io"

	"github.com/everheap/everheap/internal/backup"
	"github.com/everheap/everheap/internal/dump"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/heap"
	"github.com/everheap/everheap/internal/member"
	"github.com/everheap/everheap/internal/vector"
)

// Backup writes the version that a reading transaction sees as a backup, for RestoreBackup. It
// verifies every block on the way: damage is an error, and then the backup is incomplete.
func (tx *Tx) Backup(w io.Writer) error {
	if err := tx.Err(); err != nil {
		return err
	}
	if tx.Write != nil {
		return errors.New("a backup is made of a committed version: use View")
	}
	sp, state := tx.sp, tx.State
	limit := sp.MaxSize()
	if lost := sp.LookLost(); lost != nil {
		return lost
	}
	wr, err := backup.NewWriter(w, dump.Head(sp.Head, limit, state))
	if err != nil {
		return err
	}
	r := sp.Heap.Reader(true)
	d := dump.Dump{Reader: &r, State: state, Own: sp.store.Catalog, Shape: sp.store.Shape, Verify: r.Verify, Put: wr.Put}
	d.There = tx.there(&r)
	d.Lost = func(object uint64, a format.Addr, err error) error { return sp.Located(object, a, err) }
	if err := d.Run(); err != nil {
		return err
	}
	if d.Objects != state.Objects {
		return sp.Located(0, tx.hold.State, fmt.Errorf("the version counts %d objects, and there are %d", state.Objects, d.Objects))
	}
	// The newest version's next index, even for a checkpoint: programs may know IDs that were given
	// out since.
	next := max(state.NextIndex, member.StateAt(tx.hold.State).NextIndex)
	return wr.Close(next, state.Objects, 0)
}

// there returns a function that reports whether an object with an index exists.
func (tx *Tx) there(r *heap.Reader) func(index uint64) bool {
	return func(index uint64) bool {
		word, err := vector.Get(r, format.Link(tx.State.Table), index)
		return err == nil && word != 0
	}
}
