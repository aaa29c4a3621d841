package layout

import (
	"runtime"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// region is memory with a write view and a read-only view, as a space has.
type region struct {
	rw, ro []byte
}

func newRegion(tb testing.TB, size int) *region {
	tb.Helper()
	fd, err := unix.MemfdCreate("layout", 0)
	if err != nil {
		tb.Fatal(err)
	}
	defer unix.Close(fd)
	if err := unix.Ftruncate(fd, int64(size)); err != nil {
		tb.Fatal(err)
	}
	var r region
	if r.rw, err = unix.Mmap(fd, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED); err != nil {
		tb.Fatal(err)
	}
	if r.ro, err = unix.Mmap(fd, 0, size, unix.PROT_READ, unix.MAP_SHARED); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		unix.Munmap(r.rw)
		unix.Munmap(r.ro)
	})
	return &r
}

func (r *region) addr(b []byte) uintptr { return uintptr(unsafe.Pointer(&b[0])) }

// target returns the first size bytes as a block.
func (r *region) target(size uintptr) Target {
	return Target{RW: r.addr(r.rw), RO: r.addr(r.ro), Size: size}
}

// poison fills the region with garbage, as a recycled block may hold.
func (r *region) poison() {
	heap := new([64]byte)
	for i := 0; i+8 <= len(r.rw) && i < 1<<16; i += 8 {
		*(*uintptr)(unsafe.Pointer(&r.rw[i])) = uintptr(unsafe.Pointer(heap)) + uintptr(i)*4096
	}
}

// store flattens the value at src to the start of the region.
func (r *region) store(tb testing.TB, t *Type, src unsafe.Pointer) (unsafe.Pointer, Bounds) {
	tb.Helper()
	src, err := t.Stored(src)
	if err != nil {
		tb.Fatalf("Stored(%s): %v", t, err)
	}
	return r.storeStored(tb, t, src)
}

// storeStored is store for a value in its stored form.
func (r *region) storeStored(tb testing.TB, t *Type, src unsafe.Pointer) (unsafe.Pointer, Bounds) {
	tb.Helper()
	owned, err := t.Measure(src)
	if err != nil {
		tb.Fatalf("Measure(%s): %v", t, err)
	}
	fixed := alignUp(t.Size(), 8)
	if int(fixed+owned) > len(r.rw) {
		tb.Skipf("value of %d bytes does not fit the test region", fixed+owned)
	}
	r.poison()
	d := r.target(fixed + owned)
	if err := t.Flatten(d, 0, fixed, owned, src); err != nil {
		tb.Fatalf("Flatten(%s): %v", t, err)
	}
	b := Bounds{d.RO, d.RO + d.Size}
	if err := t.Check(pointerAt(d.RO), b); err != nil {
		tb.Fatalf("Check(%s): %v", t, err)
	}
	return pointerAt(d.RO), b
}

func typeFor[T any](tb testing.TB) *Type {
	tb.Helper()
	t, err := For[T]()
	if err != nil {
		tb.Fatal(err)
	}
	return t
}

// trip stores v and copies it out again.
func trip[T any](tb testing.TB, r *region, v *T) T {
	tb.Helper()
	t := typeFor[T](tb)
	p, b := r.store(tb, t, unsafe.Pointer(v))
	var out T
	if err := t.CopyOut(unsafe.Pointer(&out), p, b); err != nil {
		tb.Fatalf("CopyOut(%s): %v", t, err)
	}
	runtime.KeepAlive(v)
	return out
}
