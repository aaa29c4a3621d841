package mapping

import (
	"errors"
	"fmt"
	"unsafe"
)

// Shared is a file mapped once, at any address: the memory through which processes
// coordinate, or the heap of a closed space, outside its window.
type Shared struct {
	addr uint64
	size int64
}

// MapShared maps the first size bytes of f for reading and writing. f must be open for
// writing and must have that many bytes. The caller closes f; the mapping stays.
func MapShared(f File, size int64) (*Shared, error) {
	s, err := mapFile(f, size, mapAnywhere)
	if err != nil {
		return nil, err
	}
	if err := keepFromForks(s.addr, uint64(size)); err != nil { // M8
		return nil, errors.Join(fmt.Errorf("excluding shared memory from forks: %w", err), s.Close())
	}
	return s, nil
}

// MapReadable is MapShared for reading only: f need not be open for writing, and a write to
// the memory faults.
func MapReadable(f File, size int64) (*Shared, error) { return mapFile(f, size, mapReadable) }

// mapFile maps a file with the function view.
func mapFile(f File, size int64, view func(size uint64, fd uintptr) (uint64, error)) (*Shared, error) {
	have, err := f.Size()
	if err != nil {
		return nil, fmt.Errorf("finding the size of a file to map: %w", err)
	}
	if size <= 0 || have < size {
		return nil, fmt.Errorf("mapping %d bytes of a file that has %d: it was truncated, or is another file", size, have)
	}
	addr, err := view(uint64(size), f.Fd())
	if err != nil {
		return nil, limitOr(fmt.Errorf("mapping %d bytes of a file: %w", size, err), uint64(size))
	}
	return &Shared{addr: addr, size: size}, nil
}

// Bytes returns the memory, valid until Close.
func (s *Shared) Bytes() []byte { return unsafe.Slice((*byte)(pointer(s.addr)), s.size) }

// Pointer returns the address of the byte at off, valid until Close. It is sound since the
// mapping does not move. The garbage collector does not scan the memory, so Go pointers must
// not be stored in it.
func (s *Shared) Pointer(off int64) unsafe.Pointer {
	if off < 0 || off >= s.size {
		panic(fmt.Sprintf("mapping: offset %d is outside the %d shared bytes", off, s.size))
	}
	return pointer(s.addr + uint64(off))
}

// Contains reports whether an address lies in the memory.
func (s *Shared) Contains(a uintptr) bool { return uint64(a)-s.addr < uint64(s.size) && s.addr != 0 }

// Detach replaces the shared memory by private memory, all zeros (M9). Other processes
// continue with the file. Other goroutines may use the memory meanwhile: each access finds
// the old or the new memory. After Close it does nothing.
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

// Close unmaps the memory. Writes stay in the file. Closing again does nothing; two
// goroutines must not call Close at once.
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
