package layout

import (
	"errors"
	"fmt"
)

var (
	// ErrTooLarge: a value owns more than one block can hold.
	ErrTooLarge = errors.New("everheap: value is too large for one block (the limit is 2 GiB less one byte, and 1,048,576 elements of size zero); split it into several objects")

	// ErrChanged: the value changed while it was being copied into the space.
	ErrChanged = errors.New("everheap: value changed while it was being stored; do not modify a value during Set")

	// ErrNaN: a key holds a floating-point NaN, which equals nothing.
	ErrNaN = errors.New("everheap: NaN cannot be used as a key; use a number")

	// ErrTooDeep: a value nests too deeply to be written as JSON.
	ErrTooDeep = errors.New("everheap: value nests deeper than 9,000 levels and cannot be written as JSON; use a List instead of a linked list")

	// ErrTooShared: a value is written in full for each Dict that shares entries, and that is too much.
	ErrTooShared = errors.New("everheap: value has Dicts that share entries so often that it would be written as more than 64 times its size; use pointers to what is shared")
)

// UnstorableError says that a type cannot be stored, or not in this role, and what to use instead.
type UnstorableError struct {
	Type   string // the type that was asked for
	Path   string // the path of the offending field in it; empty if it is the type itself
	Field  string // the type of that field
	Advice string // what to do, as an imperative
	final  bool   // also if a type that contains it has methods to store it by
}

// Error returns the path of the field, its type and the advice.
func (e *UnstorableError) Error() string {
	if e.Path == "" {
		return fmt.Sprintf("everheap: type %s cannot be stored; %s", e.Type, e.Advice)
	}
	return fmt.Sprintf("everheap: type %s: field %s (%s) cannot be stored; %s", e.Type, e.Path, e.Field, e.Advice)
}

// KeyError says that a type cannot be the key of a map.
type KeyError struct {
	Type  string // the key type
	Path  string // the path of the offending field in it; empty if it is the type itself
	Field string // the type of that field
	Role  string // "a key", or orderedRole
}

// Error returns the path of the field and what keys are made of.
func (e *KeyError) Error() string {
	at := ""
	if e.Path != "" {
		at = fmt.Sprintf(": field %s (%s)", e.Path, e.Field)
	}
	numbers := "numbers"
	if e.Role == orderedRole {
		numbers = "integers, floats, bools"
	}
	return fmt.Sprintf("everheap: type %s%s cannot be %s; use strings, %s, time.Time, and arrays and structs of those", e.Type, at, e.Role, numbers)
}

// DamageError says that stored bytes are not a value of their type.
type DamageError struct {
	Type   string  // the type that was expected; may be empty
	Offset uintptr // where, counted from the start of the block or of the bytes
	What   string
}

// Error returns what is wrong and where.
func (e *DamageError) Error() string {
	if e.Type == "" {
		return fmt.Sprintf("everheap: damaged type descriptor at byte %d: %s; run everheap check", e.Offset, e.What)
	}
	return fmt.Sprintf("everheap: damaged value of type %s at byte %d: %s; run everheap check", e.Type, e.Offset, e.What)
}

// JSONError says why a JSON text is not a value of a type.
type JSONError struct {
	Type string // the type that was expected
	Path string // the path of the field; empty for the value itself
	What string // "want a number, got a string"
}

// Error returns the path and what was wanted.
func (e *JSONError) Error() string {
	if e.Path == "" {
		return fmt.Sprintf("everheap: JSON for %s: %s", e.Type, e.What)
	}
	return fmt.Sprintf("everheap: JSON for %s: field %s: %s", e.Type, e.Path, e.What)
}
