package mapping

import (
	"errors"
	"fmt"
	"unsafe"
)

// Shared is a file mapped once, at any address: the memory through which processes
// coordinate; or a heap that is not in its window, because no process uses it.
type Shared struct {
	addr uint64
	size int64
}

// MapShared maps the first size bytes of f, which must be open for writing and
// have them. The mapping stays when f is closed, which the caller does.
func MapShared(f File, size int64) (*Shared, error) {
	s, err := mapFile(f, size, mapAnywhere)
	if err != nil {
		return nil, err
	}
	if err := keepFromForks(s.addr, uint64(size)); err != nil { // M8
		return nil, errors.Join(fmt.Errorf("keeping shared memory from forks: %w", err), s.Close())
	}
	return s, nil
}

// MapReadable is MapShared for a file that need not be open for writing: a write to
// the memory faults.
func MapReadable(f File, size int64) (*Shared, error) { return mapFile(f, size, mapReadable) }

// mapFile maps a file by the given call.
func mapFile(f File, size int64, view func(size uint64, fd uintptr) (uint64, error)) (*Shared, error) {
	have, err := f.Size()
	if err != nil {
		return nil, fmt.Errorf("finding the size of a file to map: %w", err)
	}
	if size <= 0 || have < size {
		return nil, fmt.Errorf("mapping %d bytes of a file of %d: it was truncated, or is another file", size, have)
	}
	addr, err := view(uint64(size), f.Fd())
	if err != nil {
		return nil, limitOr(fmt.Errorf("mapping %d bytes of a file: %w", size, err), uint64(size))
	}
	return &Shared{addr: addr, size: size}, nil
}

// Bytes returns the memory; it must not be touched after Close.
func (s *Shared) Bytes() []byte { return unsafe.Slice((*byte)(pointer(s.addr)), s.size) }

// Pointer returns the address of the byte at off, valid until Close. Sound, as
// the mapping does not move and the garbage collector does not look at it, so
// Go pointers must not be stored through it.
func (s *Shared) Pointer(off int64) unsafe.Pointer {
	if off < 0 || off >= s.size {
		panic(fmt.Sprintf("mapping: offset %d is outside the %d shared bytes", off, s.size))
	}
	return pointer(s.addr + uint64(off))
}

// Contains reports whether an address is one of the memory.
func (s *Shared) Contains(a uintptr) bool { return uint64(a)-s.addr < uint64(s.size) && s.addr != 0 }

// Detach replaces the file's memory by private memory, all zeros (M9); other processes
// continue with the file. Other goroutines may use the memory meanwhile: each access finds
// the one or the other. After Close it does nothing.
func (s *Shared) Detach() error {
	if s.addr == 0 {
		return nil
	}
	err := mapPrivate(s.addr, uint64(s.size))
	if err == nil {
		err = keepFromForks(s.addr, uint64(s.size)) // M8
	}
	if err != nil {
		return fmt.Errorf("detaching %d shared bytes from their file: %w", s.size, err)
	}
	return nil
}

// Close unmaps the memory. What was written is in the file. Closing again does
// nothing; it must not be called by two goroutines at once.
func (s *Shared) Close() error {
	if s.addr == 0 {
		return nil
	}
	addr := s.addr
	s.addr = 0
	if err := unmap(addr, uint64(s.size)); err != nil {
		return fmt.Errorf("unmapping %d shared bytes: %w", s.size, err)
	}
	return nil
}
