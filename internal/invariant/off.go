//go:build !invariants || !linux

package invariant

import (
	"errors"
	"io"
	"os"
)

// Enabled reports whether the program was built with the tag invariants.
const Enabled = false

// Point does nothing without the tag.
func Point(string) {}

// Hook does nothing without the tag.
func Hook(func(name string)) (remove func()) { return func() {} }

// Assert does nothing without the tag.
func Assert(bool, string) {}

// Poison does nothing without the tag.
func Poison([]byte) {}

// Record is nothing without the tag.
type Record struct{}

// Subject identifies the space of a record.
type Subject struct {
	Dir    string
	Heap   os.FileInfo
	Space  [16]byte
	Salt   uint64
	Joined func() uint64
}

// OpenRecord does nothing without the tag.
func OpenRecord(Subject) Record { return Record{} }

// Join does nothing without the tag.
func (Record) Join() {}

// Own does nothing without the tag.
func (Record) Own(uint64, func(incarnation uint64) bool) {}

// Note does nothing without the tag.
func (Record) Note(Event, uint64, uint64, uint64) {}

// AssertAt does nothing without the tag.
func (Record) AssertAt(bool, uint64, string) {}

// Clear does nothing without the tag.
func (Record) Clear(uint64) {}

// Close does nothing without the tag.
func (Record) Close() {}

// Distrust does nothing without the tag.
func Distrust(string) {}

// errOff says how to get events.
var errOff = errors.New("this program records no events; build it, and the programs that use the space, with the tag invariants: go build -tags invariants")

// DumpEvents returns an error without the tag.
func DumpEvents(io.Writer) error { return errOff }

// DumpEventsOf returns the same error as DumpEvents.
func DumpEventsOf(string, io.Writer) error { return errOff }
