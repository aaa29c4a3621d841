//go:build !linux

package mapping

import "errors"

// errExists is the error of reserveNew if something is mapped there.
var errExists = errors.New("something is mapped there")

// errSystem is the error of all functions that only Linux supports.
var errSystem = &UnsupportedError{"this system", "spaces need the mappings and locks of Linux", "use Linux"}

func reserveNew(addr, size uint64) (uint64, error)        { return 0, errSystem }
func reserveOver(addr, size uint64) error                 { return errSystem }
func mapOver(addr, size uint64, fd uintptr) error         { return errSystem }
func mapReadable(size uint64, fd uintptr) (uint64, error) { return 0, errSystem }
func mapAnywhere(size uint64, fd uintptr) (uint64, error) { return 0, errSystem }
func mapPrivate(addr, size uint64) error                  { return errSystem }
func mapNothing(size uint64, fd uintptr) (uint64, error)  { return 0, errSystem }
func mapWiped() (uint64, error)                           { return 0, errSystem }
func keepFromForks(addr, size uint64) error               { return errSystem }
func unmap(addr, size uint64) error                       { return errSystem }
func adviseView(addr, size uint64)                        {}
func populateWrite(addr, size uint64)                     {}
func unmapPages(addr, size uint64)                        {}
func populateRead(addr, size uint64)                      {}
func willNeed(addr, size uint64)                          {}
func probePage(addr uint64) (readable, known bool)        { return false, false }
func addressSpaceLimit() (uint64, bool)                   { return 0, false }
func isNoMemory(err error) bool                           { return false }
func allocate(fd uintptr, off, n int64) error             { return errSystem }
func punchHole(fd uintptr, off, n int64) error            { return errSystem }
func datasync(fd uintptr) error                           { return errSystem }
func mappedIn(base, size uint64) string                   { return "another mapping" }

// MajorFaults returns 0: this system does not count them.
func MajorFaults() int64 { return 0 }

// CheckFileSystem always fails on this system, which cannot have spaces.
func CheckFileSystem(dir string) error { return errSystem }
