package mapping

import (
	"fmt"
	"math/bits"
	"os"
	"runtime"
	"sync"
)

// Limits of windows, in bytes.
const (
	MinWindow = 64 << 20
	MaxWindow = 4 << 40

	pageSize = 4096
)

// Supported returns nil if this program can map spaces on this machine, and otherwise an
// *UnsupportedError that says why not. It tests once and remembers the result.
func Supported() error { return supported() }

var supported = sync.OnceValue(func() error {
	system := runtime.GOOS + "/" + runtime.GOARCH
	if runtime.GOOS != "linux" || ZoneHigh == 0 {
		return &UnsupportedError{system, "there is no range of addresses known to stay free", "use linux/amd64 or linux/arm64"}
	}
	if builtWithMSan {
		return &UnsupportedError{"a program built with -msan", "MemorySanitizer claims the addresses of spaces", "build without -msan (-race and -asan work)"}
	}
	if n := os.Getpagesize(); n != pageSize {
		return &UnsupportedError{fmt.Sprintf("a kernel with pages of %d bytes", n), "spaces consist of pages of 4096 bytes", "use a kernel with pages of 4096 bytes"}
	}
	if forks.err != nil {
		return forks.err
	}
	return probeZone(system)
})

// probeZone maps the last page of the zone as a test: the address space may have too few
// bits (arm64 with 39), or the kernel may not know MAP_FIXED_NOREPLACE.
func probeZone(system string) error {
	top := ZoneHigh
	top -= pageSize
	got, err := reserveNew(top, pageSize)
	if err == errExists {
		return nil // a mapping there proves that the address exists
	}
	if err != nil {
		return &UnsupportedError{system + " as configured here", fmt.Sprintf("mapping a page at %#x fails (%v)", top, err),
			"use a kernel with at least 48 bits of virtual address (47 on amd64)"}
	}
	if err := unmap(got, pageSize); err != nil {
		return fmt.Errorf("unmapping the page at %#x: %w", got, err)
	}
	if got != top {
		return oldKernel()
	}
	return nil
}

// oldKernel returns the error for a kernel that takes MAP_FIXED_NOREPLACE as a hint.
func oldKernel() error {
	return &UnsupportedError{"this kernel", "it does not know MAP_FIXED_NOREPLACE", "use Linux 4.17 or newer"}
}

// WindowSize returns the size of the window for a space of at most max bytes:
// the next power of two, at least MinWindow. More than MaxWindow is an
// *UnsupportedError.
func WindowSize(max uint64) (uint64, error) {
	if max > MaxWindow {
		return 0, &UnsupportedError{fmt.Sprintf("a space of %d bytes", max), "windows have at most 4 TiB", "ask for a smaller maximum size"}
	}
	if max <= MinWindow {
		return MinWindow, nil
	}
	return 1 << bits.Len64(max-1), nil
}

// checkWindow refuses a base and a size that cannot be a window. They may come from a
// damaged file or from another architecture.
func checkWindow(base, size uint64) error {
	if size < MinWindow || size > MaxWindow || size&(size-1) != 0 {
		return &UnsupportedError{fmt.Sprintf("a window of %d bytes", size), "the size must be a power of two from 64 MiB to 4 TiB",
			"check that the heap file is not damaged"}
	}
	if base%size != 0 || base < ZoneLow || base > ZoneHigh-size {
		return &UnsupportedError{"the window " + windowName(base, size),
			fmt.Sprintf("on %s/%s windows are aligned places in %s", runtime.GOOS, runtime.GOARCH, windowName(ZoneLow, ZoneHigh-ZoneLow)),
			"give the space another window with: everheap rebase"}
	}
	return nil
}

// CheckWindow refuses a base and a size that cannot be a window on this machine; the error
// is an *UnsupportedError.
func CheckWindow(base, size uint64) error {
	if err := Supported(); err != nil {
		return err
	}
	return checkWindow(base, size)
}

// PickPlace returns the base of a place for the window of a new space; size is a result of
// WindowSize. It starts at a place that seed determines, goes around, and takes the first
// one that is free in this process and that taken does not refuse. The place stays reserved
// in this process, for Map. If no place is fresh, PickPlace takes one whose region was
// closed. taken may be nil.
func PickPlace(size, seed uint64, taken func(base, size uint64) bool) (uint64, error) {
	if err := Supported(); err != nil {
		return 0, err
	}
	if err := checkWindow(firstPlace(size), size); err != nil {
		return 0, err
	}
	if err := checkLimit(size); err != nil {
		return 0, err
	}
	for _, from := range windows.passes() {
		for base := range windows.places(size, seed, from) {
			if taken != nil && taken(base, size) {
				continue
			}
			err := windows.reserve(base, size, from, picked)
			if err == nil {
				return base, nil
			}
			if err != errExists {
				return 0, limitOr(fmt.Errorf("reserving the window %s: %w", windowName(base, size), err), size)
			}
		}
	}
	return 0, fmt.Errorf("%w: none of the %d places for a window of %d bytes is free; remove spaces that no longer exist from the registry (everheap ls, everheap forget NAME), or ask for a smaller maximum size (WithMaxSize)",
		ErrAddressInUse, (ZoneHigh-firstPlace(size))/size, size)
}

// firstPlace returns the base of the lowest place for windows of that size.
func firstPlace(size uint64) uint64 { return (ZoneLow + size - 1) &^ (size - 1) }

// mix spreads the bits of a seed (the finalizer of splitmix64).
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// windowName formats a range of addresses, for messages.
func windowName(base, size uint64) string { return fmt.Sprintf("[%#x, %#x)", base, base+size) }

// Fits reports whether this machine has places for many windows of that size, and the
// process has no limit on its address space.
func Fits(size uint64) bool {
	const many = 64
	_, limited := addressSpaceLimit()
	return !limited && size <= (ZoneHigh-ZoneLow)/many
}

// checkLimit returns an error if the limit on address space is below need bytes.
func checkLimit(need uint64) error {
	limit, limited := addressSpaceLimit()
	if !limited || limit >= need {
		return nil
	}
	return limitError(limit, need)
}

// limitOr returns err, unless the kernel refused memory and there is a limit on address
// space: then it returns an error that names the limit as the likely cause.
func limitOr(err error, need uint64) error {
	if limit, limited := addressSpaceLimit(); limited && isNoMemory(err) {
		return limitError(limit, need)
	}
	return err
}

func limitError(limit, need uint64) error {
	return &UnsupportedError{fmt.Sprintf("a limit on address space (RLIMIT_AS) of %d bytes", limit),
		fmt.Sprintf("the space needs %d bytes of it, twice its window if it is open for writing, in addition to the rest of the program", need),
		"raise the limit (ulimit -v), or create the space with a smaller maximum size"}
}
