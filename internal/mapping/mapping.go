// Package mapping is the only package that maps files, allocates their disk space and syncs
// them.
//
// Terms: a window is the range of addresses at which every process maps a space; its size is
// a power of two and its base a multiple of that size. The zone is the range of addresses in
// which windows lie. A place is an aligned range in the zone where a window may lie. A
// region is a heap file mapped twice: the read-only view at the window, which users see, and
// the write view elsewhere, through which the library writes.
//
// Invariants:
//
//	M1  The base of a region never moves, and the address of a byte in the write
//	    view is its address in the read-only view plus Delta.
//	M2  A window that was mapped once stays reserved in this process: after Close its pages
//	    are inaccessible. So a leaked pointer faults, and never reads memory that other code
//	    has mapped there.
//	M3  This package never maps over memory of other code: it uses MAP_FIXED only inside
//	    windows that it has reserved with MAP_FIXED_NOREPLACE, and over its own shared memory
//	    that is still mapped (Detach).
//	M4  After Allocate has returned without error, writing its bytes through the write view
//	    raises no SIGBUS, even on a full disk, until PunchHole returns their space.
//	M5  Addresses beyond the end of the file fault until the file grows. Then they are
//	    accessible without any further call.
//	M6  A failed sync returns an error once, and a later sync may succeed without having
//	    written the data: a caller that gets ErrIO must consider the data lost.
//	M8  A fork of this process does not inherit the mappings through which the process writes
//	    files: neither the write view nor shared memory. Touching them faults and changes
//	    nothing. The fork can read the read-only view.
//	M9  Shared memory is accessible from MapShared to Close as long as its file has the
//	    bytes; where the file was truncated it faults. After Detach it never faults: private
//	    memory replaces it at the same addresses.
//
// Start reading at Map, then reserve in reservation.go.
package mapping

import (
	"errors"
	"fmt"
	"sync/atomic"
	"unsafe"
)

// Region is a file mapped over a whole window. Its methods may be called by
// several goroutines at once, except that Close must be the last.
type Region struct {
	file   File
	base   uint64
	size   uint64
	rw     uint64 // address of the write view; 0: the region is read-only
	closed atomic.Bool
}

// Map maps f over the window, read-only at base and, unless readOnly, writable elsewhere. f
// must be open for writing unless readOnly. On success the region owns f and closes it; on
// error the caller still owns f. Errors: ErrAddressInUse if another mapping of this process
// lies in the window; ErrUnsupported if the window cannot exist on this machine, or a limit
// on address space is too low.
func Map(f File, base, size uint64, readOnly bool) (*Region, error) {
	if err := Supported(); err != nil {
		return nil, err
	}
	if err := checkWindow(base, size); err != nil {
		return nil, err
	}
	need := 2 * size
	if readOnly {
		need = size
	}
	if err := checkLimit(need); err != nil {
		return nil, err
	}
	if err := windows.open(base, size); err != nil {
		return nil, limitOr(err, need)
	}
	r := &Region{file: f, base: base, size: size}
	if err := r.mapViews(readOnly); err != nil {
		return nil, limitOr(errors.Join(err, r.unmapViews()), need)
	}
	return r, nil
}

// mapViews maps both views over the reserved window.
func (r *Region) mapViews(readOnly bool) error {
	if err := mapOver(r.base, r.size, r.file.Fd()); err != nil {
		return fmt.Errorf("mapping the window %s: %w", windowName(r.base, r.size), err)
	}
	adviseView(r.base, r.size)
	if readOnly {
		return nil
	}
	rw, err := mapAnywhere(r.size, r.file.Fd())
	if err != nil {
		return fmt.Errorf("mapping %d bytes to write the window %s: %w", r.size, windowName(r.base, r.size), err)
	}
	r.rw = rw
	if err := keepFromForks(r.rw, r.size); err != nil {
		return fmt.Errorf("keeping the write view of the window %s from forks: %w", windowName(r.base, r.size), err)
	}
	adviseView(r.rw, r.size)
	return nil
}

// unmapViews leaves the window inaccessible and reserved (M2), and removes the
// write view.
func (r *Region) unmapViews() error {
	err := reserveOver(r.base, r.size)
	if err == nil {
		windows.close(r.base, r.size)
	}
	if r.rw != 0 {
		err = errors.Join(err, unmap(r.rw, r.size))
	}
	if err != nil {
		return fmt.Errorf("unmapping the window %s: %w", windowName(r.base, r.size), err)
	}
	return nil
}

// Base returns the address of the window.
func (r *Region) Base() uint64 { return r.base }

// Size returns the size of the window in bytes.
func (r *Region) Size() uint64 { return r.size }

// Delta returns the difference, modulo 2^64, from the address of a byte in the window to the
// address of the same byte in the write view (M1); 0 if the region is read-only and has no
// write view.
func (r *Region) Delta() uintptr {
	if r.rw == 0 {
		return 0
	}
	return uintptr(r.rw) - uintptr(r.base)
}

// Allocate reserves space on disk for the n bytes at off and extends the file to hold them
// (M4). Bytes that the file had are unchanged, new bytes are zero. The reservation is
// durable after Sync. Errors: ErrNoSpace if the disk or a quota is full, if a file size
// limit is reached, or if the bytes are not all inside the window; otherwise ErrIO. After an
// error some of the space may be allocated.
func (r *Region) Allocate(off, n int64) error {
	if off < 0 || n <= 0 || uint64(off) > r.size || uint64(n) > r.size-uint64(off) {
		return fmt.Errorf("%w: %d bytes at %d are beyond the window of %d bytes", ErrNoSpace, n, off, r.size)
	}
	if err := r.file.Allocate(off, n); err != nil {
		return fmt.Errorf("allocating %d bytes at %d: %w", n, off, classify(err))
	}
	return nil
}

// PunchHole returns the disk space of the n bytes at off to the file system (M4). From then
// on they read as zeros in all views of all processes. Both numbers must be multiples of the
// page size, and the bytes must be inside the window. An error wraps ErrIO or
// ErrUnsupported; after an error some of the space may be gone.
func (r *Region) PunchHole(off, n int64) error {
	if off < 0 || n <= 0 || (off|n)%pageSize != 0 || uint64(off) > r.size || uint64(n) > r.size-uint64(off) {
		return fmt.Errorf("punching a hole: %d bytes at %d are not whole pages inside the window of %d bytes", n, off, r.size)
	}
	if err := r.file.PunchHole(off, n); err != nil {
		return fmt.Errorf("punching a hole of %d bytes at %d: %w", n, off, classify(err))
	}
	return nil
}

// Populate makes the pages of the n bytes at off present in both views, and dirty in the
// write view, so that the next write to them causes no fault. It is only advice: it skips
// bytes that are not allocated, and an old kernel ignores it.
func (r *Region) Populate(off, n int64) {
	if off < 0 || n <= 0 || uint64(off) >= r.size || r.closed.Load() {
		return
	}
	from := uint64(off) &^ (pageSize - 1)
	to := uint64(off) + min(uint64(n), r.size-uint64(off))
	to = (to + pageSize - 1) &^ (pageSize - 1)
	if r.rw != 0 {
		populateWrite(r.rw+from, to-from)
	}
	populateRead(r.base+from, to-from)
}

// aheadStep is how many bytes ReadAhead reads at once. A goroutine that needs another page
// meanwhile waits for at most one such read.
const aheadStep = 1 << 20

// Prefault makes the pages of n bytes at off present in the read-only view, so that reading
// them causes no fault for each page. It is for a caller that will read most of them, and it
// is only advice.
func (r *Region) Prefault(off, n int64) {
	r.steps(off, n, func(addr, size uint64) bool {
		willNeed(addr, size)
		populateRead(addr, size)
		return true
	})
}

// ReadAhead reads n bytes at off of the file into memory, in order, so that the first touch
// of a page there does not wait for the disk. It stops and reports false at a page that
// cannot be read, or if the kernel cannot say whether a page can be read.
//
// ReadAhead creates small pages in the page cache, as single touches do. The kernel's own
// read-ahead creates large folios, and the kernel writes back a whole folio for one changed
// byte. As measured, 2,000 changes of one byte in 512 MiB wrote 8 and 14 MB in two runs
// after ReadAhead, 8 and 9 MB without reading ahead, and 126 MB after the kernel's own
// read-ahead.
func (r *Region) ReadAhead(off, n int64) bool {
	return r.steps(off, n, func(addr, size uint64) bool {
		willNeed(addr, size)
		readable, known := probePage(addr + size - pageSize) // waits until the last page is read
		return readable && known
	})
}

// steps calls fn with one piece of the read-only view after the other, of whole pages, until
// the pieces have covered all n bytes at off. It stops and reports false if fn returns
// false.
func (r *Region) steps(off, n int64, fn func(addr, size uint64) bool) bool {
	if off < 0 || n <= 0 || uint64(off) >= r.size {
		return false
	}
	from := uint64(off) &^ (pageSize - 1)
	to := (uint64(off) + min(uint64(n), r.size-uint64(off)) + pageSize - 1) &^ (pageSize - 1)
	for ; from < to; from += aheadStep {
		if r.closed.Load() || !fn(r.base+from, min(aheadStep, to-from)) {
			return false
		}
	}
	return true
}

// Sync makes all writes durable that were made through the write view or to the file before
// the call. An error wraps ErrIO, and M6 holds. The region is in use below the offset used.
//
// Sync first drops the page table entries of the write view, all at once. Otherwise the
// kernel makes them read-only one by one, and interrupts all processors for each page, which
// takes longer than writing the pages. The next write to a page causes a fault either way.
func (r *Region) Sync(used uint64) error {
	if r.rw != 0 {
		unmapPages(r.rw, min(used, r.size))
	}
	if err := r.file.Datasync(); err != nil {
		return fmt.Errorf("syncing the heap: %w", asIO(err))
	}
	return nil
}

// Close unmaps the views, leaves the window reserved and inaccessible (M2), and closes the
// file. Writes stay in the file, but they are durable only after Sync. Closing again does
// nothing.
func (r *Region) Close() error {
	if r.closed.Swap(true) {
		return nil
	}
	return errors.Join(r.unmapViews(), r.file.Close())
}

// pointer converts an address to a pointer; no other function does. The addresses are of
// mappings that the Go runtime does not manage, so no object can move or be freed under the
// pointer.
func pointer(addr uint64) unsafe.Pointer {
	return unsafe.Add(unsafe.Pointer(nil), addr)
}
