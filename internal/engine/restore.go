package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"unsafe"

	"github.com/everheap/everheap/internal/apply"
	"github.com/everheap/everheap/internal/backup"
	"github.com/everheap/everheap/internal/dump"
	"github.com/everheap/everheap/internal/failure"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/heap"
	"github.com/everheap/everheap/internal/indexing"
	"github.com/everheap/everheap/internal/layout"
	"github.com/everheap/everheap/internal/live"
	"github.com/everheap/everheap/internal/mapping"
	"github.com/everheap/everheap/internal/spacefile"
)

// restoreBytes is how much of a backup goes into one transaction, which needs memory in proportion.
const restoreBytes = 16 << 20

// Restore makes a space in directory dir from a backup. The space has the tag, the secret and the
// object IDs of the original, but an ID and a window of its own. Restore calls register with that
// window when everything is done except the name of the directory; register must call place, which
// renames the directory. A nil register calls only place.
//
// The directory appears only when the space is whole: after the last byte of the backup was
// verified and everything is on disk. After an error there is none (spacefile.Creation.Construct).
func Restore(dir string, r io.Reader, o Options, register func(base, size uint64, place func() error) error) error {
	dir, err := filepath.Abs(dir)
	if err == nil {
		err = restore(dir, r, o, register)
	}
	if err == nil {
		return nil
	}
	if d := (*format.DamageError)(nil); errors.As(err, &d) && d.File == backupName {
		err = &failure.CorruptError{File: "the " + backupName, Offset: d.Offset, What: d.What}
	}
	return &failure.OpError{Op: "restore", Space: filepath.Base(dir), Err: failure.Kind(dir, err)}
}

// backupName is the name of the backup in damage errors.
const backupName = "backup"

// restore is Restore without the last wrapping of its errors.
func restore(dir string, r io.Reader, o Options, register func(base, size uint64, place func() error) error) error {
	if err := mapping.Supported(); err != nil {
		return err
	}
	if o.ReadOnly {
		return fmt.Errorf("%w: Restore writes the space; leave out WithReadOnly", failure.ErrReadOnly)
	}
	if err := spacefile.Vacant(dir); err != nil {
		return err
	}
	rd, err := backup.NewReader(r)
	if err != nil {
		return err
	}
	if o.MaxSize == 0 {
		o.MaxSize = rd.Head.Limit
	}
	limit, size, err := spacefile.Sizes(o.MaxSize)
	if err != nil {
		return err
	}
	c := o.creation()
	h, err := c.NewHeader(size)
	if err != nil {
		return err
	}
	h.Secret, h.Tag = rd.Head.Secret, rd.Head.Tag
	if register == nil {
		register = func(_, _ uint64, place func() error) error { return place() }
	}
	if _, ok := rd.Head.Chain(); o.Replica != nil && !ok {
		return errors.New("this backup does not say which version of the history it is: it was salvaged, or made by an older version of the program; make a replica of a new one")
	}
	return c.Construct(dir, func(temporary string) error {
		if err := c.CreateFiles(temporary, h, limit); err != nil {
			return err
		}
		return fill(temporary, rd, o)
	}, func(temporary string) error {
		return register(h.Base, h.Window, func() error { return c.Settle(temporary, dir) })
	})
}

// fill loads a backup into an empty space, and closes the space. It writes no journal: until the
// anchors at the end, no version is worth recovering.
func fill(dir string, r *backup.Reader, o Options) error {
	o.Manual, o.NoJournal, o.Verify, o.MustExist = true, true, false, true
	sp, err := open(context.Background(), dir, mapping.FileID{}, o)
	if err != nil {
		return err
	}
	if o.Replica == nil {
		err = sp.load(r)
	} else if err = sp.loadReplica(r); err == nil {
		err = sp.Changes.SetLead(*o.Replica) // RP4
	}
	if err == nil {
		err = sp.durable.AnchorTwice() // either of the usable anchors may be lost later
	}
	if err != nil {
		sp.Shut.Store(true)
		sp.release()
		return err
	}
	if err := sp.close(); err != nil {
		return err
	}
	return os.Remove(filepath.Join(dir, live.FileName)) // its words describe a space without a journal
}

// load applies a backup, in transactions of bounded size.
func (sp *Space) load(r *backup.Reader) error {
	for more := true; more; {
		_, err := sp.change(context.Background(), func(tx *Tx) (err error) {
			more, err = tx.loadSome(r, restoreBytes)
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// loadReplica is load for a replica: the result is the version of the backup, with its number, time
// and chain. Each version before it takes a part of the backup; if there are too few versions
// before it, the last transaction takes the rest, however large.
func (sp *Space) loadReplica(r *backup.Reader) error {
	for more := true; more; {
		tx, err := sp.beginNow(context.Background())
		if err != nil {
			return err
		}
		if more, err = tx.loadVersion(r); err != nil {
			tx.Abort()
			return err
		}
	}
	tx, err := sp.beginNow(context.Background())
	if err != nil {
		return err
	}
	defer tx.Abort()
	if uint64(tx.Version()) >= r.Head.Version {
		return nil
	}
	tx.Write.Begin(sp.Heap, tx.hold.State, format.Version(r.Head.Version), sp.Reader)
	tx.Write.NoLog()
	_, err = tx.commit(headOf(r), false)
	return err
}

// headOf returns the head of the record of the version that a backup is of.
func headOf(r *backup.Reader) *format.RecordHead {
	chain, _ := r.Head.Chain()
	return &format.RecordHead{Version: r.Head.Version, Chain: chain, UnixNano: r.Head.UnixNano}
}

// loadVersion loads and commits a part of a backup, and reports whether there may be more.
func (tx *Tx) loadVersion(r *backup.Reader) (more bool, err error) {
	sp, next, limit := tx.sp, uint64(tx.Version())+1, restoreBytes
	if next >= r.Head.Version {
		limit = math.MaxInt
	}
	err = sp.Guarded(func() (err error) {
		more, err = tx.loadSome(r, limit)
		return err
	})
	var as *format.RecordHead
	switch {
	case err != nil:
		return false, err
	case next > r.Head.Version: // the backup is of the first version of a space, which is empty
		tx.Abort()
		return false, nil
	case next == r.Head.Version:
		as = headOf(r)
	}
	_, err = tx.commit(as, false)
	return more, err
}

// loadSome applies changes of about limit bytes, and reports whether there may be more.
func (tx *Tx) loadSome(r *backup.Reader, limit int) (more bool, err error) {
	a := apply.New(&tx.Editor)
	a.Lenient, a.Anyhow = r.Head.Salvaged == 1, true
	a.Own = true // see backup.Reader.Next
	for n := 0; n < limit; {
		h, payload, err := r.Next()
		if err == io.EOF {
			return false, tx.loaded(r)
		}
		if err != nil {
			return false, err
		}
		if err := a.Apply(h, payload); err != nil {
			return false, blame(r, err)
		}
		n += format.OpHeadSize + len(payload)
	}
	return true, nil
}

// loaded compares the outcome with the end of the backup, and keeps every index of the original
// from being used again.
func (tx *Tx) loaded(r *backup.Reader) error {
	end, state := r.End(), tx.State
	if end.Objects != state.Objects || end.NextIndex < state.NextIndex || end.NextIndex > format.AddrMask {
		return blame(r, fmt.Errorf("it counts %d objects and has the next index %d; %d objects were loaded, and the next index is %d",
			end.Objects, end.NextIndex, state.Objects, state.NextIndex))
	}
	for _, index := range [2]uint64{state.Catalog, state.Types} {
		if err := tx.checkOwn(index); err != nil {
			return blame(r, err)
		}
	}
	if err := tx.Touch(); err != nil { // without changes the transaction would publish nothing
		return err
	}
	state.NextIndex = end.NextIndex
	if r.Head.Salvaged == 1 { // a salvage may have lost different entries of a map and of its index
		return indexing.RebuildAll(&tx.Editor)
	}
	return nil
}

// checkOwn verifies that the entries of one of the space's own maps refer to objects of the right
// kind: otherwise programs would write data that cannot be read.
func (tx *Tx) checkOwn(own uint64) error {
	var err error
	types := map[uint64]*layout.Type{}
	walkErr := tx.OwnEntries(own, func(e unsafe.Pointer) bool {
		index := *layout.Cast[uint64](tx.sp.store.Catalog.ValueOf(e))
		if own == tx.State.Types {
			types[index], _ = tx.StoredType(index)
		}
		err = dump.CheckLead(tx.sp.store.Catalog, e, tx.Bounds(e), own == tx.State.Types, types, tx.there(tx.Reader))
		return err == nil
	})
	return errors.Join(err, walkErr)
}

// blame returns the error for a change of a backup that cannot be applied, unless the machine has
// failed.
func blame(r *backup.Reader, err error) error {
	if machineFailed(err) {
		return err
	}
	return &format.DamageError{File: backupName, Offset: r.Offset(), What: fmt.Sprintf("it cannot be applied: %v", err)}
}

// machineFailed reports whether an error says nothing about the changes that were applied.
func machineFailed(err error) bool {
	for _, machine := range []error{heap.ErrFull, mapping.ErrNoSpace, mapping.ErrIO, failure.ErrIO, failure.ErrFault} {
		if errors.Is(err, machine) {
			return true
		}
	}
	return false
}
