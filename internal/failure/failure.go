// Package failure has the errors of the public interface, which the root documents and re-exports.
// Kind attaches one of them to an error of a lower layer.
//
// Start reading at Kind.
package failure

import (
	"context"
	"errors"
	"fmt"
	"syscall"

	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/heap"
	"github.com/everheap/everheap/internal/layout"
	"github.com/everheap/everheap/internal/live"
	"github.com/everheap/everheap/internal/mapping"
	"github.com/everheap/everheap/internal/queue"
	"github.com/everheap/everheap/internal/spacefile"
)

// The errors of the public interface.
var (
	ErrNotFound      = spacefile.ErrNotFound
	ErrExists        = spacefile.ErrExists
	ErrClosed        = errors.New("closed")
	ErrForked        = errors.New("this process is a fork, and the handle belongs to its parent: open the space again")
	ErrReadOnly      = errors.New("opened read-only")
	ErrBusy          = spacefile.ErrBusy
	ErrSuspended     = errors.New("another process took over the transaction while this one stood still; nothing was changed: try again")
	ErrSuperseded    = errors.New("somebody else has changed the state since this run read it; what the run did since its last checkpoint is undone: call Resume again to continue")
	ErrTypeChanged   = errors.New("stored with another type")
	ErrUnstorable    = errors.New("cannot be stored")
	ErrOutOfOrder    = errors.New("not the next version")
	ErrDiverged      = errors.New("of another history")
	ErrNotReplicated = errors.New("not on as many copies as were asked for")
	ErrNotKept       = errors.New("changes that are not kept any more")
	ErrUnregistered  = errors.New("the concrete type is not registered")
	ErrDangling      = errors.New("dangling handle")
	ErrDuplicate     = errors.New("another entry has the value")
	ErrNilHandle     = errors.New("the handle is nil: open or create the object first")
	ErrNoSpace       = errors.New("no space left")
	ErrTooLarge      = errors.New("too large")
	ErrCorrupt       = errors.New("damaged")
	ErrFault         = errors.New("memory fault")
	ErrIO            = spacefile.ErrIO
	ErrReplaced      = spacefile.ErrReplaced
	ErrLiveLost      = fmt.Errorf("%w: the live file was truncated or overwritten while the space is open", ErrReplaced)
	ErrUnsupported   = errors.New("not supported")
	ErrAddressInUse  = errors.New("the window's addresses are in use")
	ErrOwnerDied     = errors.New("the previous holder died; this handle holds the lock now, and what it protects may be inconsistent")
	ErrNotHeld       = errors.New("not held")
	ErrUnitsDiffer   = errors.New("wrong number of permits")
	ErrMaxSize       = spacefile.ErrMaxSize
	ErrTooManyLocks  = live.ErrTooManyLocks
	ErrSelf          = queue.ErrSelf
)

// CorruptError says which bytes of a space are damaged; errors.Is(err, ErrCorrupt) is true.
type CorruptError struct {
	File   string // path of the file
	Offset int64  // of the record
	What   string
}

// Error implements error.
func (e *CorruptError) Error() string {
	return fmt.Sprintf("damaged: %s at offset %d: %s", e.File, e.Offset, e.What)
}

// Is makes the error ErrCorrupt.
func (e *CorruptError) Is(target error) bool { return target == ErrCorrupt }

// TypeError says how a stored type differs from the program's type (ErrTypeChanged), why a type
// cannot be stored (ErrUnstorable), or why a value cannot be in an interface (ErrUnregistered).
type TypeError struct {
	Kind  error    // ErrTypeChanged, ErrUnstorable or ErrUnregistered
	Name  string   // of the collection; "" if the error is about the type alone
	Lines []string // the difference, or the reason, field by field
}

// Error implements error.
func (e *TypeError) Error() string {
	s := e.Kind.Error()
	if e.Name != "" {
		s = fmt.Sprintf("%s is %s", e.Name, s)
	}
	if e.Kind == ErrUnstorable || e.Kind == ErrUnregistered {
		s = ""
	}
	for i, l := range e.Lines {
		switch {
		case s == "":
			s = l
		case i == 0:
			s += ":\n" + l
		default:
			s += "\n" + l
		}
	}
	return s
}

// Unwrap returns the kind.
func (e *TypeError) Unwrap() error { return e.Kind }

// JSONError says why a JSON text is not a key or a value of a collection.
type JSONError struct {
	Part string // "key" or "value"
	Type string // that it should be, in Go syntax
	Path string // of the field; "" for the whole
	What string // is wrong
}

// Error implements error.
func (e *JSONError) Error() string {
	if e.Path == "" {
		return fmt.Sprintf("the %s is not of type %s: %s", e.Part, e.Type, e.What)
	}
	return fmt.Sprintf("the %s is not of type %s: field %s: %s", e.Part, e.Type, e.Path, e.What)
}

// BinaryError says why bytes are not the binary form of a key or a value of a collection.
type BinaryError struct {
	Part   string // "key" or "value"
	Type   string // that it should be, in Go syntax
	Offset int    // of the byte
	What   string // is wrong
}

// Error implements error.
func (e *BinaryError) Error() string {
	return fmt.Sprintf("the %s is not of type %s: at byte %d: %s", e.Part, e.Type, e.Offset, e.What)
}

// Unfit returns the error of the interface for bytes that are no key or no value of a type, for that
// of package layout.
func Unfit(part string, t *layout.Type, err error) error {
	if c := (*layout.CompactError)(nil); errors.As(err, &c) {
		return &BinaryError{Part: part, Type: t.String(), Offset: c.Offset, What: c.What}
	}
	if j := (*layout.JSONError)(nil); errors.As(err, &j) {
		return &JSONError{Part: part, Type: t.String(), Path: j.Path, What: j.What}
	}
	return err
}

// DuplicateError says which entries would have the same value in a unique index; errors.Is(err,
// ErrDuplicate) is true.
type DuplicateError struct {
	Index string // name of the index
	Path  string // the fields of the index
	Value string // value of the fields, as JSON
	Key   string // key of the entry that cannot have the value, as JSON
	Other string // key of the entry that has the value
}

// Error implements error.
func (e *DuplicateError) Error() string {
	return fmt.Sprintf("the key %s cannot have %s in %s, which is unique (index %s): the key %s has it", e.Key, e.Value, e.Path, e.Index, e.Other)
}

// Is makes the error ErrDuplicate.
func (e *DuplicateError) Is(target error) bool { return target == ErrDuplicate }

// FaultError says at which address a memory access failed; errors.Is(err, ErrFault) is true.
type FaultError struct {
	Addr  uintptr
	Write bool // the address is in a window, and its page is in the file: so the access was a write
	Cause error
}

// Error implements error.
func (e *FaultError) Error() string {
	if e.Write {
		return fmt.Sprintf("memory fault at %#x: stored values are read-only; change them with Set, Modify or Upsert", e.Addr)
	}
	return fmt.Sprintf("memory fault at %#x: the page could not be read, or a damaged value points there", e.Addr)
}

// Unwrap returns the runtime's error.
func (e *FaultError) Unwrap() error { return e.Cause }

// Is makes the error ErrFault.
func (e *FaultError) Is(target error) bool { return target == ErrFault }

// OfOpen is the error of opening the space with a name.
func OfOpen(name string, err error) error {
	if e := (*OpError)(nil); errors.As(err, &e) {
		return err
	}
	return &OpError{Op: "open", Space: name, Err: Kind("", err)}
}

// OpError says which operation failed.
type OpError struct {
	Op    string
	Space string
	Err   error
}

// Error implements error.
func (e *OpError) Error() string { return "everheap: " + e.Op + " (" + e.Space + "): " + e.Err.Error() }

// Unwrap returns the cause.
func (e *OpError) Unwrap() error { return e.Err }

// Damaged reports whether the error is about damaged bytes in a file; then it names the file.
func Damaged(err error) bool {
	var block *format.DamageError
	var value *layout.DamageError
	return errors.As(err, &block) || errors.As(err, &value)
}

// Kind attaches the matching error of the public interface to an error of a lower layer. dir is the
// directory of the space, for errors that name a file in it.
func Kind(dir string, err error) error {
	var block *format.DamageError
	var value *layout.DamageError
	var busy *live.BusyError
	var unstorable *layout.UnstorableError
	var key *layout.KeyError
	var borrow *layout.BorrowError
	var concrete *layout.ConcreteError
	var units *live.UnitsError
	switch {
	case errors.As(err, &units):
		return fmt.Errorf("%w: %w", ErrUnitsDiffer, units)
	case errors.Is(err, live.ErrNameTooLong):
		return fmt.Errorf("%w: %w", ErrTooLarge, err)
	case errors.Is(err, ErrIO), errors.Is(err, ErrReplaced):
		return err
	case errors.As(err, &block):
		return &CorruptError{File: dir + "/" + block.File, Offset: block.Offset, What: block.What}
	case errors.As(err, &value):
		return &CorruptError{File: dir + "/heap", What: value.Error()}
	case errors.Is(err, ErrBusy):
		return err // it contains the context's error, which is the cause
	case errors.As(err, &busy):
		return fmt.Errorf("%w: %w", ErrBusy, busy)
	case errors.Is(err, live.ErrTooManyProcesses):
		return fmt.Errorf("%w: %w", ErrBusy, err)
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("%w: %w", ErrBusy, err)
	case errors.As(err, &unstorable):
		return &TypeError{Kind: ErrUnstorable, Lines: []string{unstorable.Error()}}
	case errors.As(err, &borrow):
		return &TypeError{Kind: ErrUnstorable, Lines: []string{borrow.Error()}}
	case errors.As(err, &concrete):
		kind := ErrUnregistered
		if concrete.Lines != nil {
			kind = ErrTypeChanged
		}
		return &TypeError{Kind: kind, Lines: append([]string{concrete.Error()}, concrete.Lines...)}
	case errors.As(err, &key):
		return &TypeError{Kind: ErrUnstorable, Lines: []string{key.Error()}}
	case errors.Is(err, heap.ErrFull), errors.Is(err, mapping.ErrNoSpace), errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return fmt.Errorf("%w: %w", ErrNoSpace, err)
	case errors.Is(err, heap.ErrTooLarge), errors.Is(err, layout.ErrTooLarge):
		return fmt.Errorf("%w: %w", ErrTooLarge, err)
	case errors.Is(err, mapping.ErrAddressInUse):
		return fmt.Errorf("%w: %w", ErrAddressInUse, err)
	case errors.Is(err, mapping.ErrUnsupported):
		return fmt.Errorf("%w: %w", ErrUnsupported, err)
	case errors.Is(err, mapping.ErrReplaced):
		return fmt.Errorf("%w: %w", ErrReplaced, err)
	case errors.Is(err, mapping.ErrIO), errors.Is(err, syscall.EIO):
		return fmt.Errorf("%w: %w", ErrIO, err)
	}
	return err
}
