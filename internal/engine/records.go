package engine

import (
	"errors"
	"fmt"
	"slices"
	"unsafe"

	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/heap"
	"github.com/everheap/everheap/internal/invariant"
	"github.com/everheap/everheap/internal/journal"
	"github.com/everheap/everheap/internal/mapping"
)

// write brings the file up to the newest version. Where it cannot, because a
// version does not list its changes, or because the file can take no more, or
// because what a version changed is damaged or cannot be read, two anchors take the
// place of the records.
func (sp *Space) write() error {
	j := &sp.journal
	j.Lock()
	defer j.Unlock()
	for {
		hold := sp.live.HoldCurrent()
		err := sp.guarded(func() error { return sp.copyRecords(hold.State) })
		sp.live.Release(&hold)
		damage := (*format.DamageError)(nil)
		switch {
		case errors.Is(err, errMoved):
			continue
		case errors.Is(err, errUnlisted), errors.Is(err, journal.ErrFull), errors.Is(err, mapping.ErrNoSpace):
			return sp.anchorTwice()
		case errors.Is(err, mapping.ErrIO):
			return sp.fail(err)
		case errors.Is(err, ErrFault), errors.As(err, &damage):
			sp.note(err)
			return sp.anchorTwice()
		}
		return err
	}
}

// copyRecords writes the records from the one after Written up to the state's,
// which is held.
//
// The states and what they log lie in blocks that are not reused until Written
// has passed them. So what was copied is right if Written has not moved since; if
// it has, another process leads as well, and the copy is thrown away (J2). Until
// that is known, everything that is read may be nonsense.
func (sp *Space) copyRecords(newest format.Addr) error {
	j, w := &sp.journal, sp.live.Words()
	written := w.Written.Load()
	if stateAt(newest).Version <= written {
		return nil
	}
	before, err := sp.walkBack(newest, written)
	if err != nil {
		return sp.unlessMoved(written, err)
	}
	j.writer.Begin(format.Version(written), before)
	last := written
	for i := len(j.states) - 1; i >= 0; i-- {
		state := stateAt(j.states[i])
		h := format.RecordHead{Version: state.Version, Chain: state.Chain, UnixNano: state.UnixNano}
		if err = sp.addRecord(h, state); err == nil {
			if last = h.Version; i > 0 && j.writer.Buffered() < pieceBytes {
				continue
			}
		}
		if moved := sp.writePiece(written, last); moved != nil {
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

// addRecord adds the record of a version to those that are to be written. One change is
// copied to where it is written from; of several, whose record may be cut into parts, the
// list is made first.
func (sp *Space) addRecord(h format.RecordHead, state *format.State) (err error) {
	j := &sp.journal
	if format.OpKindOf(state.OpWhat) == format.OpList {
		if j.ops, err = sp.appendChanges(j.ops[:0], state); err == nil {
			j.writer.Add(h, j.ops)
		}
		return err
	}
	b, err := sp.appendChanges(j.writer.Record(h), state)
	if err != nil {
		j.writer.Drop()
		return err
	}
	j.writer.End(h, b)
	return nil
}

// writePiece writes what was copied since Written was the version, if it still is.
func (sp *Space) writePiece(written, last uint64) error {
	w := sp.live.Words()
	if w.Written.Load() != written {
		return errMoved
	}
	if err := sp.journal.writer.Write(); err != nil {
		return err
	}
	invariant.Point("journal.written")
	sp.live.RaiseWritten(format.Version(last))
	if w.Written.Load() != last {
		return errMoved
	}
	return nil
}

// unlessMoved returns the error, or errMoved if that explains it.
func (sp *Space) unlessMoved(written uint64, err error) error {
	if sp.live.Words().Written.Load() != written {
		return errMoved
	}
	return err
}

// walkBack lists the states from the newest back to the one after the version,
// and returns the chain of the version itself.
func (sp *Space) walkBack(newest format.Addr, version uint64) (chain uint64, err error) {
	j := &sp.journal
	j.states = j.states[:0]
	want := stateAt(newest).Version
	for a := newest; ; want-- {
		if uint64(sp.heap.VersionOf(a)) != want {
			return 0, sp.damagedLog(a, want, "its state is not where the next one says")
		}
		state := stateAt(a)
		if want == version {
			return state.Chain, nil
		}
		j.states = append(j.states, a)
		a = format.Addr(state.Previous)
	}
}

// damagedLog describes a version that cannot be journaled.
func (sp *Space) damagedLog(a format.Addr, version uint64, what string) error {
	_, off := sp.HeapFile(a)
	return &format.DamageError{File: HeapName, Offset: off, What: fmt.Sprintf("the changes of version %d cannot be read: %s", version, what)}
}

// appendChanges appends the changes that a state logs.
func (sp *Space) appendChanges(b []byte, state *format.State) ([]byte, error) {
	op := format.Op{What: state.OpWhat, Block: state.OpBlock, Arg: state.OpArg}
	switch format.OpKindOf(op.What) {
	case 0:
		return b, nil
	case format.OpUnlisted:
		return b, errUnlisted
	case format.OpList:
		list, err := sp.loggedBlock(format.Addr(op.Block), state.Version)
		if err != nil {
			return b, err
		}
		ops := unsafe.Slice((*format.Op)(unsafe.Pointer(unsafe.SliceData(list))), len(list)/format.OpSize)
		b = slices.Grow(b, sp.changesBytes(ops))
		for i := 0; i < len(ops) && err == nil; i++ {
			b, err = sp.appendChange(b, ops[i], state.Version)
		}
		return b, err
	}
	return sp.appendChange(b, op, state.Version)
}

// changesBytes returns how many bytes appendChange will need, or no more than a list may
// have, since what is read may be nonsense.
func (sp *Space) changesBytes(ops []format.Op) int {
	n := 0
	for _, op := range ops {
		n += format.OpHeadSize
		if a := op.Carried(); a != 0 {
			n += int(sp.reader.PayloadSize(a)+7) &^ 7
		}
	}
	return min(n, heap.MaxLogged)
}

// appendChange appends one change, with the payload of the block that it carries.
func (sp *Space) appendChange(b []byte, op format.Op, version uint64) ([]byte, error) {
	h := format.OpHead{What: op.What, Addr: op.Block, Arg: op.Arg}
	a := op.Carried()
	if a == 0 {
		return format.AppendOp(b, h, nil), nil
	}
	payload, err := sp.loggedBlock(a, version)
	if err != nil {
		return b, err
	}
	h.Addr += format.HeaderSize
	return format.AppendOp(b, h, payload), nil
}

// loggedBlock returns the payload of a block that a version logs, or of whatever
// lies there now.
func (sp *Space) loggedBlock(a format.Addr, version uint64) ([]byte, error) {
	size := sp.reader.PayloadSize(a)
	if size == 0 {
		return nil, sp.damagedLog(a, version, "a block that it names lies outside the heap")
	}
	return unsafe.Slice((*byte)(unsafe.Add(unsafe.Pointer(nil), uintptr(a)+format.HeaderSize)), size), nil
}
