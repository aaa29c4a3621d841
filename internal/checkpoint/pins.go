package checkpoint

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
	"unsafe"

	"github.com/everheap/everheap/internal/failure"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/member"
	"github.com/everheap/everheap/internal/spacefile"
	"github.com/everheap/everheap/internal/turn"
)

// Pins reads the list of checkpoints of a version, whose state is held.
func (k *Keeper) Pins(state *format.State) ([]format.Pin, error) { return k.pins(state, true) }

func (k *Keeper) pins(state *format.State, verify bool) ([]format.Pin, error) {
	a := format.Addr(state.Pins)
	if a == 0 {
		return nil, nil
	}
	r := k.Heap.Reader(verify)
	p, err := r.Payload(a, format.KindPins)
	if err != nil {
		return nil, err
	}
	n, size := (*format.Pins)(p).Count, uint64(r.Size(a))
	if n > format.MaxPins || size < uint64(format.PinsHeadSize)+n*uint64(format.PinSize) {
		_, off := k.HeapFile(a)
		return nil, &format.DamageError{File: spacefile.HeapName, Offset: off, What: "the list of checkpoints is longer than its block"}
	}
	return append([]format.Pin(nil), unsafe.Slice((*format.Pin)(unsafe.Add(p, format.PinsHeadSize)), n)...), nil
}

// setPins gives the transaction's version the list.
func setPins(w turn.Writing, list []format.Pin) error {
	w.Txn.Unlist()
	old := format.Addr(w.State.Pins)
	w.State.Pins = 0
	if len(list) > 0 {
		a, err := w.Txn.Alloc(format.KindPins, format.ByteCount(format.PinsHeadSize+len(list)*format.PinSize))
		if err != nil {
			return err
		}
		p := w.Txn.Payload(a)
		(*format.Pins)(p).Count = uint64(len(list))
		copy(unsafe.Slice((*format.Pin)(unsafe.Add(p, format.PinsHeadSize)), len(list)), list)
		w.State.Pins = uint64(a)
	}
	if old != 0 {
		w.Txn.Free(old)
	}
	return nil
}

// Find returns the index of the checkpoint with the name; -1 if there is none.
func Find(list []format.Pin, name string) int {
	return slices.IndexFunc(list, func(p format.Pin) bool { return p.Restore == 0 && p.NameOf() == name })
}

// None is the error for a missing checkpoint; it names the existing ones.
func None(list []format.Pin, name string) error {
	var names []string
	for _, p := range list {
		if p.Restore == 0 {
			names = append(names, p.NameOf())
		}
	}
	if len(names) == 0 {
		return fmt.Errorf("%w: there is no checkpoint %q, nor any other", failure.ErrNotFound, name)
	}
	slices.Sort(names)
	return fmt.Errorf("%w: there is no checkpoint %q; there are: %s", failure.ErrNotFound, name, strings.Join(names, ", "))
}

// validPinName returns an error for an invalid name of a checkpoint.
func validPinName(name string) error {
	switch {
	case name == "":
		return fmt.Errorf("a checkpoint needs a name")
	case len(name) > format.MaxPinName:
		return fmt.Errorf("%w: the name of a checkpoint has at most %d bytes, this one has %d", failure.ErrTooLarge, format.MaxPinName, len(name))
	case !utf8.ValidString(name) || strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return fmt.Errorf("the name %q of a checkpoint has bytes that are not text", name)
	}
	return nil
}

// changePins changes the list of checkpoints in a transaction, waits until no usable anchor has the
// earlier list, and asks for a sweep (C3).
func (k *Keeper) changePins(ctx context.Context, change func(w turn.Writing, list []format.Pin) ([]format.Pin, error)) error {
	if err := k.Enter(); err != nil {
		return err
	}
	defer k.Exit()
	version, err := k.Change(ctx, func(w turn.Writing) error {
		list, err := k.Pins(w.State)
		if err == nil {
			list, err = change(w, list)
		}
		if err != nil {
			return err
		}
		w.Txn.Remove(true, true) // up to the commit
		return setPins(w, list)
	})
	if err != nil {
		return err
	}
	return k.Guarded(func() error {
		k.Live.Words().SweepWish.Store(1) // a sweep is due even if this process dies now
		k.Live.Words().ShrunkDisk.Store(0)
		k.Live.Words().ShrunkLong.Store(0)
		err := k.durable.Await(version)
		if err == nil && k.Live.JournalFloor() < version { // with subscriptions, an aside made the change durable without anchors
			err = k.durable.AnchorTwice()
		}
		if err == nil {
			err = k.durable.Assured() // F1: even if anchors have made it durable
		}
		if err != nil {
			return err
		}
		k.Live.Words().SweepWish.Store(1)
		return nil
	})
}

// State returns the state of a pinned version. It stays in place as long as the version that lists
// it is held.
func (k *Keeper) State(pin format.Pin) (*format.State, error) {
	a := format.Addr(pin.State)
	r := k.Heap.Reader(true)
	if _, err := r.Payload(a, format.KindState); err != nil {
		return nil, err
	}
	if s := member.StateAt(a); s.Version == pin.Version {
		return s, nil
	}
	_, off := k.HeapFile(a)
	return nil, &format.DamageError{File: spacefile.HeapName, Offset: off, What: fmt.Sprintf("the state of the checkpoint %q is of another version", pin.NameOf())}
}

// UnpinRestored releases the versions that were pinned for a restore, if a sweep has ended that
// held a version at least as new as the restored one (C2).
func (k *Keeper) UnpinRestored(swept format.Version) error {
	var list []format.Pin
	err := k.Look(func(a format.Addr) (err error) {
		list, err = k.Pins(member.StateAt(a))
		return err
	})
	ended := func(p format.Pin) bool { return p.Restore != 0 && p.Restore <= uint64(swept) }
	if err != nil || !slices.ContainsFunc(list, ended) {
		return err
	}
	return k.changePins(context.Background(), func(_ turn.Writing, list []format.Pin) ([]format.Pin, error) {
		return slices.DeleteFunc(list, ended), nil
	})
}

// Restored reports whether a version is still pinned for a restore.
func (k *Keeper) Restored() bool {
	var list []format.Pin
	err := k.Look(func(a format.Addr) (err error) {
		list, err = k.Pins(member.StateAt(a))
		return err
	})
	return err == nil && slices.ContainsFunc(list, func(p format.Pin) bool { return p.Restore != 0 })
}
