package durable

import (
	"errors"
	"fmt"
	"slices"
	"unsafe"

	"github.com/everheap/everheap/internal/failure"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/heap"
	"github.com/everheap/everheap/internal/invariant"
	"github.com/everheap/everheap/internal/journal"
	"github.com/everheap/everheap/internal/mapping"
	"github.com/everheap/everheap/internal/member"
	"github.com/everheap/everheap/internal/spacefile"
)

// write brings the journal up to the newest version. It cannot if a version has no list of its
// changes, if the file cannot grow, or if the changes of a version are damaged or unreadable: then
// two anchors take the place of the records.
func (d *Writer) write() error {
	j := &d.journal
	j.Lock()
	defer j.Unlock()
	covered := format.Version(0)
	for {
		d.Own.Add()
		hold := d.Live.HoldCurrent()
		err := d.Guarded(func() error { return d.copyRecords(hold.State) })
		d.Live.Release(&hold)
		d.Own.Done()
		damage := (*format.DamageError)(nil)
		switch {
		case errors.Is(err, errMoved):
			continue
		case (errors.Is(err, errUnlisted) || errors.Is(err, journal.ErrFull)) && d.Live.Subscribed() && covered != d.Live.Written()+1: // CH4
			covered = d.Live.Written() + 1
			if err := d.anchorTwice(false); err != nil {
				return err
			}
			continue
		case errors.Is(err, errUnlisted) && d.Live.Subscribed() && d.Live.JournalFloor() >= covered: // subscriptions miss this version, and get the next ones
			d.Live.RaiseWritten(covered)
			continue
		case errors.Is(err, errUnlisted), errors.Is(err, journal.ErrFull), errors.Is(err, mapping.ErrNoSpace):
			return d.coverTwice()
		case errors.Is(err, mapping.ErrIO):
			return d.Fail(err)
		case errors.Is(err, failure.ErrFault), errors.As(err, &damage):
			d.Note(err)
			return d.coverTwice()
		}
		return err
	}
}

// copyRecords writes the records from the one after Written up to that of the held state.
//
// The states, and the blocks that they log, are not reused until Written has passed them. So the
// copy is right if Written has not moved since. If it has moved, another process leads as well, and
// the copy is thrown away (J2). Until that is known, everything that is read may be nonsense.
func (d *Writer) copyRecords(newest format.Addr) error {
	j, w := &d.journal, d.Live.Words()
	written := w.Written.Load()
	if member.StateAt(newest).Version <= written {
		return nil
	}
	before, err := d.walkBack(newest, written)
	if err != nil {
		return d.unlessMoved(written, err)
	}
	j.writer.Begin(format.Version(written), before)
	last := written
	for i := len(j.states) - 1; i >= 0; i-- {
		state := member.StateAt(j.states[i])
		h := format.RecordHead{Version: state.Version, Chain: state.Chain, UnixNano: state.UnixNano}
		if err = d.addRecord(h, state); err == nil {
			if last = h.Version; i > 0 && j.writer.Buffered() < pieceBytes {
				continue
			}
		}
		if moved := d.writePiece(written, last); moved != nil {
			return moved
		}
		if err != nil {
			return err
		}
		written = last
	}
	if cap(j.ops) > 4<<20 {
		j.ops = nil
	}
	return nil
}

// addRecord adds the record of a version to those that are to be written. It copies a single change
// straight to the output. For several changes it makes the list first, since their record may be
// cut into parts.
func (d *Writer) addRecord(h format.RecordHead, state *format.State) (err error) {
	j := &d.journal
	if format.OpKindOf(state.OpWhat) == format.OpList {
		if j.ops, err = d.appendChanges(j.ops[:0], state); err == nil {
			j.writer.Add(h, j.ops)
		}
		return err
	}
	b, err := d.appendChanges(j.writer.Record(h), state)
	if err != nil {
		j.writer.Drop()
		return err
	}
	j.writer.End(h, b)
	return nil
}

// writePiece writes the records that were copied since Written was the given version, if it still
// is.
func (d *Writer) writePiece(written, last uint64) error {
	w := d.Live.Words()
	if w.Written.Load() != written {
		return errMoved
	}
	if err := d.journal.writer.Write(); err != nil {
		return err
	}
	invariant.Point("journal.written")
	d.Live.RaiseWritten(format.Version(last))
	if w.Written.Load() != last {
		return errMoved
	}
	return nil
}

// unlessMoved returns the error, or errMoved if Written has moved, which explains the error.
func (d *Writer) unlessMoved(written uint64, err error) error {
	if d.Live.Words().Written.Load() != written {
		return errMoved
	}
	return err
}

// walkBack lists the states from the newest back to the one after the version, and returns the
// chain of the version itself.
func (d *Writer) walkBack(newest format.Addr, version uint64) (chain uint64, err error) {
	j := &d.journal
	j.states = j.states[:0]
	want := member.StateAt(newest).Version
	for a := newest; ; want-- {
		if uint64(d.Heap.VersionOf(a)) != want {
			return 0, d.damagedLog(a, want, "its state is not where the next state says")
		}
		state := member.StateAt(a)
		if want == version {
			return state.Chain, nil
		}
		j.states = append(j.states, a)
		a = format.Addr(state.Previous)
	}
}

// damagedLog is the error for a version that cannot be journaled.
func (d *Writer) damagedLog(a format.Addr, version uint64, what string) error {
	_, off := d.HeapFile(a)
	return &format.DamageError{File: spacefile.HeapName, Offset: off, What: fmt.Sprintf("the changes of version %d cannot be read: %s", version, what)}
}

// appendChanges appends the changes that a state logs.
func (d *Writer) appendChanges(b []byte, state *format.State) ([]byte, error) {
	op := format.Op{What: state.OpWhat, Block: state.OpBlock, Arg: state.OpArg}
	switch format.OpKindOf(op.What) {
	case 0:
		return b, nil
	case format.OpUnlisted:
		if op.Arg == 0 {
			return b, errUnlisted
		}
		return format.AppendOp(b, format.OpHead{What: format.MakeWhat(format.OpAside, 0), Arg: op.Arg}, nil), nil
	case format.OpList:
		list, err := d.loggedBlock(format.Addr(op.Block), state.Version)
		if err != nil {
			return b, err
		}
		ops := unsafe.Slice((*format.Op)(unsafe.Pointer(unsafe.SliceData(list))), len(list)/format.OpSize)
		b = slices.Grow(b, d.changesBytes(ops))
		for i := 0; i < len(ops) && err == nil; i++ {
			b, err = d.appendChange(b, ops[i], state.Version)
		}
		return b, err
	}
	return d.appendChange(b, op, state.Version)
}

// changesBytes returns how many bytes appendChange will need, but no more than a list may have,
// since what it reads may be nonsense.
func (d *Writer) changesBytes(ops []format.Op) int {
	n := 0
	for _, op := range ops {
		n += format.OpHeadSize
		if a := op.Carried(); a != 0 {
			n += int(d.Reader.PayloadSize(a)+7) &^ 7
		}
	}
	return min(n, heap.MaxLogged)
}

// appendChange appends one change, with the payload of the block that it carries.
func (d *Writer) appendChange(b []byte, op format.Op, version uint64) ([]byte, error) {
	h := format.OpHead{What: op.What, Addr: op.Block, Arg: op.Arg}
	a := op.Carried()
	if a == 0 {
		return format.AppendOp(b, h, nil), nil
	}
	payload, err := d.loggedBlock(a, version)
	if err != nil {
		return b, err
	}
	h.Addr += format.HeaderSize
	return format.AppendOp(b, h, payload), nil
}

// loggedBlock returns the payload of a block that a version logs, or of the block that is at its
// address now.
func (d *Writer) loggedBlock(a format.Addr, version uint64) ([]byte, error) {
	size := d.Reader.PayloadSize(a)
	if size == 0 {
		return nil, d.damagedLog(a, version, "a block that it names lies outside the heap")
	}
	return unsafe.Slice((*byte)(unsafe.Add(unsafe.Pointer(nil), uintptr(a)+format.HeaderSize)), size), nil
}
