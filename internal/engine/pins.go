package engine

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
	"unsafe"

	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/member"
)

// pins reads the checkpoints that the transaction's version lists.
func (tx *Tx) pins() ([]format.Pin, error) {
	a := format.Addr(tx.State.Pins)
	if a == 0 {
		return nil, nil
	}
	r := tx.sp.Heap.Reader(true)
	p, err := r.Payload(a, format.KindPins)
	if err != nil {
		return nil, err
	}
	n, size := (*format.Pins)(p).Count, uint64(r.Size(a))
	if n > format.MaxPins || size < uint64(format.PinsHeadSize)+n*uint64(format.PinSize) {
		_, off := tx.sp.HeapFile(a)
		return nil, &format.DamageError{File: HeapName, Offset: off, What: "the list of checkpoints is longer than its block"}
	}
	return append([]format.Pin(nil), unsafe.Slice((*format.Pin)(unsafe.Add(p, format.PinsHeadSize)), n)...), nil
}

// setPins makes the list that of the transaction's version.
func (tx *Tx) setPins(list []format.Pin) error {
	tx.Write.Unlist()
	old := format.Addr(tx.State.Pins)
	tx.State.Pins = 0
	if len(list) > 0 {
		a, err := tx.Write.Alloc(format.KindPins, format.ByteCount(format.PinsHeadSize+len(list)*format.PinSize))
		if err != nil {
			return tx.Fail(err)
		}
		p := tx.Write.Payload(a)
		(*format.Pins)(p).Count = uint64(len(list))
		copy(unsafe.Slice((*format.Pin)(unsafe.Add(p, format.PinsHeadSize)), len(list)), list)
		tx.State.Pins = uint64(a)
	}
	if old != 0 {
		tx.Write.Free(old)
	}
	return nil
}

// findPin returns the index of the checkpoint with the name; -1 if there is none.
func findPin(list []format.Pin, name string) int {
	return slices.IndexFunc(list, func(p format.Pin) bool { return p.Restore == 0 && p.NameOf() == name })
}

// noPin says that there is no checkpoint of the name, and which there are.
func noPin(list []format.Pin, name string) error {
	var names []string
	for _, p := range list {
		if p.Restore == 0 {
			names = append(names, p.NameOf())
		}
	}
	if len(names) == 0 {
		return fmt.Errorf("%w: there is no checkpoint %q, nor any other", ErrNotFound, name)
	}
	slices.Sort(names)
	return fmt.Errorf("%w: there is no checkpoint %q; there are: %s", ErrNotFound, name, strings.Join(names, ", "))
}

// validPinName refuses what cannot be the name of a checkpoint.
func validPinName(name string) error {
	switch {
	case name == "":
		return fmt.Errorf("a checkpoint needs a name")
	case len(name) > format.MaxPinName:
		return fmt.Errorf("%w: the name of a checkpoint has at most %d bytes, this one has %d", ErrTooLarge, format.MaxPinName, len(name))
	case !utf8.ValidString(name) || strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return fmt.Errorf("the name %q of a checkpoint has bytes that are no text", name)
	}
	return nil
}

// changePins changes the list of checkpoints in a transaction, waits until no
// usable anchor has the former list, and asks for a sweep (C3).
func (sp *Space) changePins(ctx context.Context, change func(tx *Tx, list []format.Pin) ([]format.Pin, error)) error {
	if err := sp.Enter(); err != nil {
		return err
	}
	defer sp.Exit()
	version, err := sp.change(ctx, func(tx *Tx) error {
		list, err := tx.pins()
		if err == nil {
			list, err = change(tx, list)
		}
		if err != nil {
			return err
		}
		tx.Write.Remove(true, true) // up to the commit
		return tx.setPins(list)
	})
	if err != nil {
		return err
	}
	return sp.Guarded(func() error {
		sp.Live.Words().SweepWish.Store(1) // also if this process dies now
		sp.Live.Words().ShrunkDisk.Store(0)
		sp.Live.Words().ShrunkLong.Store(0)
		err := sp.durable.Await(version)
		if err == nil {
			err = sp.durable.Assured() // F1: also if it was anchors that made it durable
		}
		if err != nil {
			return err
		}
		sp.Live.Words().SweepWish.Store(1)
		return nil
	})
}

// pinned returns the state of a pinned version. It stays as long as the version
// of the transaction is held.
func (tx *Tx) pinned(pin format.Pin) (*format.State, error) {
	a := format.Addr(pin.State)
	r := tx.sp.Heap.Reader(true)
	if _, err := r.Payload(a, format.KindState); err != nil {
		return nil, err
	}
	if s := member.StateAt(a); s.Version == pin.Version {
		return s, nil
	}
	_, off := tx.sp.HeapFile(a)
	return nil, &format.DamageError{File: HeapName, Offset: off, What: fmt.Sprintf("the state of the checkpoint %q is of another version", pin.NameOf())}
}

// unpinRestored lets go of the versions that were pinned for a restore, if the
// version that a sweep held, which has ended, was not older (C2).
func (sp *Space) unpinRestored(swept format.Version) error {
	var list []format.Pin
	err := sp.look(func(tx *Tx) (err error) {
		list, err = tx.pins()
		return err
	})
	ended := func(p format.Pin) bool { return p.Restore != 0 && p.Restore <= uint64(swept) }
	if err != nil || !slices.ContainsFunc(list, ended) {
		return err
	}
	return sp.changePins(context.Background(), func(_ *Tx, list []format.Pin) ([]format.Pin, error) {
		return slices.DeleteFunc(list, ended), nil
	})
}

// restored reports whether a version is pinned for a restore still.
func (sp *Space) restored() bool {
	var list []format.Pin
	err := sp.look(func(tx *Tx) (err error) {
		list, err = tx.pins()
		return err
	})
	return err == nil && slices.ContainsFunc(list, func(p format.Pin) bool { return p.Restore != 0 })
}
