package mapping

import (
	"bufio"
	"errors"
	"fmt"
	"math"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// errExists is the error of reserveNew if something is mapped there.
const errExists = unix.EEXIST

// mmap is mmap(2) with addresses as numbers.
func mmap(addr, size uint64, prot, flags int, fd int) (uint64, error) {
	got, err := unix.MmapPtr(fd, 0, pointer(addr), uintptr(size), prot, flags)
	if err != nil {
		return 0, err
	}
	return uint64(uintptr(got)), nil
}

// reserveNew maps inaccessible pages at addr. If anything is mapped there, the error is
// errExists. An old kernel may return another address.
func reserveNew(addr, size uint64) (uint64, error) {
	return mmap(addr, size, unix.PROT_NONE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_NORESERVE|unix.MAP_FIXED_NOREPLACE, -1)
}

// reserveOver replaces the mappings at addr by inaccessible pages.
func reserveOver(addr, size uint64) error {
	_, err := mmap(addr, size, unix.PROT_NONE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_NORESERVE|unix.MAP_FIXED, -1)
	return err
}

// mapOver replaces the reserved pages at addr by a read-only view of the file.
func mapOver(addr, size uint64, fd uintptr) error {
	_, err := mmap(addr, size, unix.PROT_READ, unix.MAP_SHARED|unix.MAP_FIXED, int(fd))
	return err
}

// mapReadable maps a read-only view of the file at an address that the kernel chooses.
func mapReadable(size uint64, fd uintptr) (uint64, error) {
	return mmap(0, size, unix.PROT_READ, unix.MAP_SHARED, int(fd))
}

// mapAnywhere maps a writable view of the file at an address that the kernel chooses.
func mapAnywhere(size uint64, fd uintptr) (uint64, error) {
	return mmap(0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED, int(fd))
}

// mapPrivate replaces the mappings at addr by private memory, all zeros.
func mapPrivate(addr, size uint64) error {
	_, err := mmap(addr, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_NORESERVE|unix.MAP_FIXED, -1)
	return err
}

// mapNothing maps an inaccessible view of the file at an address that the kernel chooses.
func mapNothing(size uint64, fd uintptr) (uint64, error) {
	return mmap(0, size, unix.PROT_NONE, unix.MAP_SHARED, int(fd))
}

// unmap removes the mappings at addr.
func unmap(addr, size uint64) error { return unix.MunmapPtr(pointer(addr), uintptr(size)) }

// madvise is madvise(2) with addresses as numbers; unix.Madvise wants a slice,
// and a slice of a window may cover pages that do not exist.
func madvise(addr, size uint64, advice int) error {
	_, _, errno := unix.Syscall(unix.SYS_MADVISE, uintptr(addr), uintptr(size), uintptr(advice))
	if errno != 0 {
		return errno
	}
	return nil
}

// adviseView prepares a view before its first touch. MADV_RANDOM keeps the kernel from
// mapping large folios: a change of one byte would dirty a whole folio. MADV_DONTDUMP keeps
// the view out of core dumps. Both are only advice: a kernel without them works as well.
func adviseView(addr, size uint64) {
	_ = madvise(addr, size, unix.MADV_RANDOM)
	_ = madvise(addr, size, unix.MADV_DONTDUMP)
}

// mapWiped maps a page that the kernel fills with zeros in a fork.
func mapWiped() (uint64, error) {
	addr, err := mmap(0, pageSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS, -1)
	if err != nil {
		return 0, err
	}
	if err := madvise(addr, pageSize, unix.MADV_WIPEONFORK); err != nil {
		_ = unmap(addr, pageSize)
		return 0, err
	}
	return addr, nil
}

// keepFromForks excludes the mappings at these addresses from forks of this process.
func keepFromForks(addr, size uint64) error { return madvise(addr, size, unix.MADV_DONTFORK) }

// populateWrite makes pages present and dirty. Before Linux 5.14 it does nothing.
func populateWrite(addr, size uint64) { _ = madvise(addr, size, unix.MADV_POPULATE_WRITE) }

// unmapPages drops the page table entries of a view of a file. Pages that were written
// through them stay in the page cache, and stay dirty there.
func unmapPages(addr, size uint64) { _ = madvise(addr, size, unix.MADV_DONTNEED) }

// populateRead makes pages present. Before Linux 5.14 it does nothing.
func populateRead(addr, size uint64) { _ = madvise(addr, size, unix.MADV_POPULATE_READ) }

// willNeed starts to read pages of a file into memory, as one long read, in folios of one
// page each. So a change of one byte still dirties only one page.
func willNeed(addr, size uint64) { _ = madvise(addr, size, unix.MADV_WILLNEED) }

// MajorFaults returns for how many pages this process has waited for a disk.
func MajorFaults() int64 {
	var usage unix.Rusage
	_ = unix.Getrusage(unix.RUSAGE_SELF, &usage)
	return usage.Majflt
}

// probePage reports whether a page of a view can be read; known is false if the kernel
// cannot say.
func probePage(addr uint64) (readable, known bool) {
	switch err := madvise(addr, pageSize, unix.MADV_POPULATE_READ); err {
	case nil:
		return true, true
	case unix.EFAULT, unix.EHWPOISON:
		return false, true
	}
	return false, false
}

// addressSpaceLimit returns RLIMIT_AS, and whether there is one.
func addressSpaceLimit() (uint64, bool) {
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_AS, &l); err != nil || l.Cur == math.MaxUint64 {
		return 0, false
	}
	return l.Cur, true
}

// isNoMemory reports whether the kernel refused a mapping for lack of address space.
func isNoMemory(err error) bool { return errors.Is(err, unix.ENOMEM) }

// minAllocate is the smallest piece into which allocate cuts an interrupted allocation.
const minAllocate = 1 << 20

// allocate is fallocate(2), mode 0. On tmpfs a signal undoes the whole call. So after an
// interruption allocate continues in smaller pieces: otherwise it might never finish in a
// program that signals itself periodically, as a profiler does.
func allocate(fd uintptr, off, n int64) error {
	var l unix.Rlimit
	// Beyond this limit the kernel would send SIGXFSZ, which ends the program.
	if err := unix.Getrlimit(unix.RLIMIT_FSIZE, &l); err == nil && off >= 0 && n > 0 && uint64(off)+uint64(n) > l.Cur {
		return fmt.Errorf("%w: the limit on file sizes (ulimit -f) is %d bytes", ErrNoSpace, l.Cur)
	}
	piece := n
	for n > 0 {
		piece = min(piece, n)
		err := unix.Fallocate(int(fd), 0, off, piece)
		switch err {
		case nil:
			off, n = off+piece, n-piece
		case unix.EINTR:
			piece = max(piece/2, minAllocate)
		case unix.EOPNOTSUPP:
			return &UnsupportedError{"the file system", "it cannot allocate space before it is used (fallocate)", "put the space on ext4, xfs or tmpfs"}
		default:
			return err
		}
	}
	return nil
}

// punchHole is fallocate(2) with the mode that punches a hole.
func punchHole(fd uintptr, off, n int64) error {
	for {
		err := unix.Fallocate(int(fd), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, off, n)
		switch err {
		case unix.EINTR:
			continue
		case unix.EOPNOTSUPP:
			return &UnsupportedError{"the file system", "it cannot take back the space of a part of a file (fallocate)", "put the space on ext4, xfs or tmpfs"}
		}
		return err
	}
}

// datasync is fdatasync(2). An interrupted call has not failed: it did not wait to the end,
// and it did not consume an error of the file.
func datasync(fd uintptr) error {
	for {
		if err := unix.Fdatasync(int(fd)); err != unix.EINTR {
			return err
		}
	}
}

// mappedIn names a mapping in the range, from /proc/self/maps.
func mappedIn(base, size uint64) string {
	f, err := os.Open("/proc/self/maps")
	if err != nil {
		return "another mapping of this process"
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var from, to uint64
		if n, _ := fmt.Sscanf(lines.Text(), "%x-%x", &from, &to); n == 2 && from < base+size && base < to {
			return fmt.Sprintf("the mapping %q of this process", strings.Join(strings.Fields(lines.Text()), " "))
		}
	}
	return "a mapping of this process that is gone meanwhile"
}
