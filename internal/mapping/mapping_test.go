//go:build linux

package mapping

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"testing"
	"unsafe"
)

// testWindow is the window size of the tests.
const testWindow = MinWindow

// seed is the seed of places. Each use changes it, so that tests rarely pick the same place.
var seed = uint64(os.Getpid())

// place returns a base that is free in this process.
func place(t *testing.T) uint64 {
	t.Helper()
	seed++
	base, err := PickPlace(testWindow, seed, nil)
	if err != nil {
		t.Fatal(err)
	}
	return base
}

// heapFile creates an empty file to map.
func heapFile(t *testing.T) (File, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "heap")
	return openHeap(t, path, os.O_RDWR|os.O_CREATE), path
}

func openHeap(t *testing.T, path string, flag int) File {
	t.Helper()
	f, err := OpenFile(path, flag, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// mapNew maps a new file of n allocated bytes and closes it with the test.
func mapNew(t *testing.T, n int64) *Region {
	t.Helper()
	f, _ := heapFile(t)
	r, err := Map(f, place(t), testWindow, false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	if n > 0 {
		if err := r.Allocate(0, n); err != nil {
			t.Fatal(err)
		}
	}
	return r
}

// ro returns n bytes at off of the read-only view; writable returns those of the write view.
func (r *Region) ro(off uint64, n int) []byte {
	return unsafe.Slice((*byte)(pointer(r.base+off)), n)
}

func (r *Region) writable(off uint64, n int) []byte {
	return unsafe.Slice((*byte)(pointer(r.base+off+uint64(r.Delta()))), n)
}

// faults runs fn and returns the address at which it faulted.
func faults(fn func()) (addr uint64, faulted bool) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if e, ok := recover().(interface{ Addr() uintptr }); ok {
			addr, faulted = uint64(e.Addr()), true
		}
	}()
	fn()
	return 0, false
}

var sink byte

func TestRegion_ViewsAreCoherent(t *testing.T) { // M1
	r := mapNew(t, 1<<16)
	if r.Base()%testWindow != 0 || r.Base() < ZoneLow || r.Base() >= ZoneHigh || r.Size() != testWindow {
		t.Fatalf("window %s", windowName(r.Base(), r.Size()))
	}
	copy(r.writable(5000, 5), "hello")
	if got := string(r.ro(5000, 5)); got != "hello" {
		t.Fatalf("the read-only view shows %q", got)
	}
	if err := r.Sync(1 << 20); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 5)
	if _, err := r.file.ReadAt(buf, 5000); err != nil || string(buf) != "hello" {
		t.Fatalf("the file has %q, %v", buf, err)
	}
	if _, err := r.file.WriteAt([]byte("jelly"), 5000); err != nil {
		t.Fatal(err)
	}
	if got := string(r.ro(5000, 5)); got != "jelly" {
		t.Fatalf("after a write to the file the view shows %q", got)
	}
}

func TestRegion_StrayWriteFaults(t *testing.T) {
	r := mapNew(t, 1<<16)
	copy(r.writable(100, 5), "hello")
	b := r.ro(100, 5)
	addr, faulted := faults(func() { b[2] = 'x' })
	if !faulted || addr != r.Base()+102 {
		t.Fatalf("faulted %v at %#x, want at %#x", faulted, addr, r.Base()+102)
	}
	if _, faulted := faults(func() { copy(b, "other") }); !faulted {
		t.Fatal("copy into the read-only view did not fault")
	}
	if string(b) != "hello" {
		t.Fatalf("the view changed to %q", b)
	}
}

func TestRegion_GrowthNeedsNoRemap(t *testing.T) { // M5
	r := mapNew(t, pageSize)
	far := uint64(10 << 20)
	if _, faulted := faults(func() { sink = r.ro(far, 1)[0] }); !faulted {
		t.Fatal("reading beyond the end of the file did not fault")
	}
	if _, faulted := faults(func() { r.writable(far, 1)[0] = 1 }); !faulted {
		t.Fatal("writing beyond the end of the file did not fault")
	}
	if err := r.Allocate(int64(far), pageSize); err != nil {
		t.Fatal(err)
	}
	r.Populate(int64(far), pageSize)
	r.writable(far, 1)[0] = 7
	if got := r.ro(far, 1)[0]; got != 7 {
		t.Fatalf("after growth the view shows %d", got)
	}
}

func TestRegion_PopulateIsOnlyAdvice(t *testing.T) {
	r := mapNew(t, 4*pageSize)
	copy(r.writable(pageSize-2, 4), "keep")
	for _, c := range [][2]int64{{0, 4 * pageSize}, {pageSize - 2, 4}, {-1, 4}, {0, 0}, {0, -1}, {8 * pageSize, pageSize},
		{testWindow - 1, 1 << 62}, {testWindow, 1}, {1 << 62, 1 << 62}} {
		r.Populate(c[0], c[1])
	}
	if got := string(r.ro(pageSize-2, 4)); got != "keep" {
		t.Fatalf("populating changed the bytes to %q", got)
	}
}

// Both views have the flags rr, without which one changed byte may dirty a huge page, and
// dd, which keeps them out of core dumps.
func TestRegion_ViewsAreAdvised(t *testing.T) {
	r := mapNew(t, pageSize)
	smaps, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		t.Fatal(err)
	}
	for name, base := range map[string]uint64{"read-only": r.base, "write": r.rw} {
		_, after, found := strings.Cut("\n"+string(smaps), fmt.Sprintf("\n%x-", base))
		_, after, foundFlags := strings.Cut(after, "VmFlags:")
		flags, _, _ := strings.Cut(after, "\n")
		if !found || !foundFlags || !strings.Contains(flags, " rr") || !strings.Contains(flags, " dd") {
			t.Errorf("the %s view at %#x has the flags %q", name, base, flags)
		}
	}
}

func TestRegion_CloseLeavesInaccessiblePages(t *testing.T) { // M2
	f, _ := heapFile(t)
	base := place(t)
	r, err := Map(f, base, testWindow, false)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Allocate(0, pageSize); err != nil {
		t.Fatal(err)
	}
	ro := r.ro(0, 1)
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if addr, faulted := faults(func() { sink = ro[0] }); !faulted || addr != base {
		t.Fatalf("reading after Close: faulted %v at %#x", faulted, addr)
	}
	if _, err := reserveNew(base, testWindow); err != errExists {
		t.Fatalf("the window is not reserved after Close: %v", err)
	}
	if err := r.Close(); err != nil {
		t.Fatalf("second Close: %v", err)
	}
	r.Populate(0, pageSize)
	if err := r.Sync(1 << 20); !errors.Is(err, os.ErrClosed) {
		t.Fatalf("Sync after Close: %v", err)
	}
	if err := r.Allocate(0, pageSize); !errors.Is(err, os.ErrClosed) {
		t.Fatalf("Allocate after Close: %v", err)
	}
}

func TestRegion_ReopensAtItsWindow(t *testing.T) { // M2
	f, path := heapFile(t)
	base := place(t)
	for i := range 5 {
		r, err := Map(f, base, testWindow, false)
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Allocate(0, pageSize); err != nil {
			t.Fatal(err)
		}
		if got := int(r.ro(0, 1)[0]); got != i {
			t.Fatalf("opening %d times shows %d", i, got)
		}
		r.writable(0, 1)[0]++
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		f = openHeap(t, path, os.O_RDWR)
	}
	f.Close()
}

func TestRegion_ReadOnly(t *testing.T) {
	f, path := heapFile(t)
	if _, err := f.WriteAt([]byte("frozen"), 0); err != nil {
		t.Fatal(err)
	}
	f.Close()
	r, err := Map(openHeap(t, path, os.O_RDONLY), place(t), testWindow, true)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if got := string(r.ro(0, 6)); got != "frozen" || r.Delta() != 0 {
		t.Fatalf("view %q, delta %#x", got, r.Delta())
	}
	if err := r.Allocate(0, 2*pageSize); !errors.Is(err, ErrIO) {
		t.Fatalf("allocating in a file that is open for reading: %v", err)
	}
}

func TestMap_ErrAddressInUse(t *testing.T) { // M3
	r := mapNew(t, pageSize)
	f, _ := heapFile(t)
	defer f.Close()
	_, err := Map(f, r.Base(), testWindow, false)
	if !errors.Is(err, ErrAddressInUse) || !strings.Contains(err.Error(), "/heap") {
		t.Fatalf("mapping over an open region: %v", err)
	}

	foreign := place(t)
	windows.forget(t, foreign)
	if _, err := reserveNew(foreign+1<<20, pageSize); err != nil {
		t.Fatal(err)
	}
	defer unmap(foreign+1<<20, pageSize)
	if _, err := Map(f, foreign, testWindow, false); !errors.Is(err, ErrAddressInUse) || !strings.Contains(err.Error(), "---p") {
		t.Fatalf("mapping over a foreign mapping: %v", err)
	}
	if _, err := f.Size(); err != nil {
		t.Fatalf("a failed Map closed the file: %v", err)
	}
}

// forget unmaps a reserved place, as if the process had never reserved it.
func (w *reservations) forget(t *testing.T, base uint64) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := unmap(base, w.mu.at[base].size); err != nil {
		t.Fatal(err)
	}
	delete(w.mu.at, base)
}

func TestMap_RefusesImpossibleWindows(t *testing.T) {
	f, _ := heapFile(t)
	defer f.Close()
	for name, w := range map[string][2]uint64{
		"nil":         {0, testWindow},
		"below":       {ZoneLow - testWindow, testWindow},
		"above":       {ZoneHigh, testWindow},
		"end":         {1<<64 - testWindow, testWindow},
		"unaligned":   {ZoneLow + pageSize, testWindow},
		"size 0":      {ZoneLow, 0},
		"size odd":    {ZoneLow, 3 * testWindow},
		"size small":  {ZoneLow, pageSize},
		"size large":  {ZoneLow, 2 * MaxWindow},
		"size wrong":  {ZoneLow, 1<<64 - 1},
		"size 2^63":   {1 << 63, 1 << 63},
		"go heap":     {0xc000000000 &^ (testWindow - 1), testWindow},
		"all of them": {0, 1 << 63},
	} {
		if _, err := Map(f, w[0], w[1], false); !errors.Is(err, ErrUnsupported) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestMap_FailureLeavesWindowUsable(t *testing.T) {
	f, path := heapFile(t)
	base := place(t)
	f.Close()
	readable := openHeap(t, path, os.O_RDONLY)
	if _, err := Map(readable, base, testWindow, false); err == nil {
		t.Fatal("a file that is open for reading was mapped for writing")
	}
	r, err := Map(readable, base, testWindow, true)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
}

// node is the value that the garbage collector test stores in a window: it has every kind of pointer.
type node struct {
	next *node
	text string
	list []uint32
}

// writeNode writes the node at off of the write view as bytes and addresses, as the library
// does, and returns the offset after it.
func writeNode(r *Region, off, next uint64, text string) uint64 {
	words := unsafe.Slice((*uintptr)(pointer(r.base+uint64(r.Delta())+off)), unsafe.Sizeof(node{})/8)
	end := off + uint64(unsafe.Sizeof(node{}))
	if next != 0 {
		words[0] = uintptr(r.base + next)
	}
	words[1], words[2] = uintptr(r.base+end), uintptr(len(text))
	copy(r.writable(end, len(text)), text)
	end = (end + uint64(len(text)) + 7) &^ 7
	words[3], words[4], words[5] = uintptr(r.base+end), 2, 2
	numbers := unsafe.Slice((*uint32)(pointer(r.base+uint64(r.Delta())+end)), 2)
	numbers[0], numbers[1] = uint32(off), uint32(next)
	return end + 8
}

func TestRegion_GoPointersUnderGC(t *testing.T) {
	r := mapNew(t, 1<<20)
	off, last := uint64(64), uint64(0)
	const count = 2000
	for range count {
		next := writeNode(r, off, last, "text of a node")
		off, last = next, off
	}
	stop := make(chan struct{})
	var collecting sync.WaitGroup
	collecting.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				runtime.GC()
			}
		}
	})
	defer collecting.Wait()
	defer close(stop)
	head := (*node)(pointer(r.base + last))
	for range 20 {
		kept := make([]*node, 0, count) // window pointers on the Go heap and the stack
		texts := map[string][]uint32{}
		for n := head; n != nil; n = n.next {
			kept = append(kept, n)
			texts[n.text] = n.list
		}
		if len(kept) != count || len(texts) != 1 {
			t.Fatalf("%d nodes, %d texts", len(kept), len(texts))
		}
		for i, n := range kept {
			if n.text != "text of a node" || r.base+uint64(n.list[0]) != uint64(uintptr(unsafe.Pointer(n))) {
				t.Fatalf("node %d: %q %v", i, n.text, n.list)
			}
		}
	}
}

func TestMapShared_IsSharedAndOutlivesFile(t *testing.T) { // M9
	f, path := heapFile(t)
	if _, err := MapShared(f, pageSize); err == nil || !strings.Contains(err.Error(), "truncated") {
		t.Fatalf("mapping an empty file: %v", err)
	}
	if err := f.Allocate(0, 2*pageSize); err != nil {
		t.Fatal(err)
	}
	a, err := MapShared(f, 2*pageSize)
	if err != nil {
		t.Fatal(err)
	}
	b, err := MapShared(f, 2*pageSize)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	*(*uint64)(a.Pointer(pageSize)) = 42
	if got := *(*uint64)(b.Pointer(pageSize)); got != 42 || b.Bytes()[pageSize] != 42 {
		t.Fatalf("the other mapping shows %d", got)
	}
	for _, s := range []*Shared{a, b, a} {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	raw, err := os.ReadFile(path)
	if err != nil || len(raw) != 2*pageSize || raw[pageSize] != 42 {
		t.Fatalf("the file has %d bytes, %v", len(raw), err)
	}
}

// ReadAhead reads bytes inside the file, and reports false beyond its end.
func TestRegion_ReadAhead(t *testing.T) { // A5
	r := mapNew(t, 5<<20)
	for _, c := range []struct {
		off, n int64
		want   bool
	}{
		{0, 5 << 20, true}, {0, 1, true}, {5<<20 - 1, 1, true}, {1 << 20, 3<<20 + 17, true},
		{5 << 20, pageSize, false}, {0, 6 << 20, false}, {0, 0, false}, {-1, 1, false}, {testWindow, 1, false}, {testWindow - 1, 1 << 62, false},
	} {
		if got := r.ReadAhead(c.off, c.n); got != c.want {
			t.Errorf("%d bytes at %d: %v", c.n, c.off, got)
		}
		r.Prefault(c.off, c.n)
	}
	if err := r.Close(); err != nil || r.ReadAhead(0, 1) {
		t.Errorf("ReadAhead reads in a closed region (%v)", err)
	}
}
