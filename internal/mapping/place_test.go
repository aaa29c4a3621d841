//go:build linux

package mapping

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// forgetIdle unmaps all reserved places without a region, so that a test starts as a new
// process does.
func (w *reservations) forgetIdle(t *testing.T) {
	t.Helper()
	w.mu.Lock()
	var idle []uint64
	for b, e := range w.mu.at {
		if e.state != mapped {
			idle = append(idle, b)
		}
	}
	w.mu.Unlock()
	for _, b := range idle {
		w.forget(t, b)
	}
}

func TestSupported_Here(t *testing.T) {
	if err := Supported(); err != nil {
		t.Fatal(err)
	}
}

func TestWindowSize_RoundsUp(t *testing.T) {
	for _, c := range [][2]uint64{{0, MinWindow}, {1, MinWindow}, {MinWindow, MinWindow}, {MinWindow + 1, 2 * MinWindow},
		{64 << 30, 64 << 30}, {65 << 30, 128 << 30}, {MaxWindow - 1, MaxWindow}, {MaxWindow, MaxWindow}} {
		if got, err := WindowSize(c[0]); err != nil || got != c[1] {
			t.Errorf("WindowSize(%d) = %d, %v, want %d", c[0], got, err, c[1])
		}
	}
	for _, max := range []uint64{MaxWindow + 1, 1<<64 - 1} {
		if _, err := WindowSize(max); !errors.Is(err, ErrUnsupported) {
			t.Errorf("WindowSize(%d): %v", max, err)
		}
	}
}

func TestPickPlace_AvoidsTaken(t *testing.T) {
	const size = MaxWindow / 4
	var asked []uint64
	only := ZoneLow + 5*size
	taken := func(base, n uint64) bool {
		if n != size || base%size != 0 || base < ZoneLow || base+size > ZoneHigh {
			t.Errorf("PickPlace calls taken with %s", windowName(base, n))
		}
		asked = append(asked, base)
		return base != only
	}
	base, err := PickPlace(size, 99, taken)
	if err != nil || base != only {
		t.Fatalf("%#x, %v, want %#x", base, err, only)
	}
	first := asked[0]
	if _, err := PickPlace(size, 99, func(uint64, uint64) bool { return true }); !errors.Is(err, ErrAddressInUse) || !strings.Contains(err.Error(), "everheap forget") {
		t.Fatalf("all places taken: %v", err)
	}
	asked = nil
	if _, err := PickPlace(size, 99, taken); err != nil || asked[0] != first {
		t.Fatalf("the same seed starts at %#x, %v, then at %#x", first, err, asked[0])
	}
}

func TestPickPlace_AvoidsWhatIsMapped(t *testing.T) {
	windows.forgetIdle(t)
	const seed = 7
	first := place(t)
	for range 20 {
		base, err := PickPlace(testWindow, seed, nil)
		if err != nil {
			t.Fatal(err)
		}
		if base == first {
			t.Fatalf("%#x was given out twice", base)
		}
		first = base
	}
}

func TestPickPlace_ReusesClosedWhenNoneIsFresh(t *testing.T) {
	only := place(t)
	others := func(base, _ uint64) bool { return base != only }
	base, err := PickPlace(testWindow, 1, others)
	if err != nil || base != only {
		t.Fatalf("%#x, %v", base, err)
	}
	f, _ := heapFile(t)
	r, err := Map(f, base, testWindow, false)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := PickPlace(testWindow, 1, others); !errors.Is(err, ErrAddressInUse) {
		t.Fatalf("the place of an open region: %v", err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := PickPlace(testWindow, 1, others); err != nil {
		t.Fatal(err)
	}
}

func TestPickPlace_TakesClosedOnceManyAreReserved(t *testing.T) {
	windows.forgetIdle(t)
	defer windows.forgetIdle(t)
	for range 2 * manyReserved {
		f, _ := heapFile(t)
		r, err := Map(f, place(t), testWindow, false)
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
	}
	w := windows
	w.mu.Lock()
	n := len(w.mu.at)
	w.mu.Unlock()
	if n > manyReserved+10 {
		t.Fatalf("%d windows are reserved", n)
	}
	for range manyReserved {
		place(t) // picked and never used, as by a creation that fails
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.mu.at) > n+10 {
		t.Fatalf("%d windows are reserved after picking, %d before", len(w.mu.at), n)
	}
}

func TestReservations_SplitAndMerge(t *testing.T) {
	w := newReservations()
	big, err := PickPlace(8*testWindow, 12345, nil)
	if err != nil {
		t.Fatal(err)
	}
	windows.forget(t, big)
	open := func(base, size uint64, want error) {
		t.Helper()
		if err := w.open(base, size); !errors.Is(err, want) {
			t.Fatalf("open %s: %v, want %v", windowName(base, size), err, want)
		}
	}
	open(big, 8*testWindow, nil)
	open(big+testWindow, testWindow, ErrAddressInUse)
	w.close(big, 8*testWindow)
	open(big+5*testWindow, testWindow, nil) // splits
	if len(w.mu.at) != 4 {
		t.Fatalf("%d entries after a split in eight", len(w.mu.at))
	}
	open(big, 8*testWindow, ErrAddressInUse)
	open(big, 4*testWindow, nil)
	w.close(big, 4*testWindow)
	w.close(big+5*testWindow, testWindow)

	if err := unmap(big+6*testWindow, 2*testWindow); err != nil {
		t.Fatal(err)
	}
	delete(w.mu.at, big+6*testWindow)
	if _, err := reserveNew(big+7*testWindow, pageSize); err != nil { // a mapping of other code in the gap
		t.Fatal(err)
	}
	open(big, 8*testWindow, ErrAddressInUse)
	if len(w.mu.at) != 3 {
		t.Fatalf("%d entries after a failed merge", len(w.mu.at))
	}
	if err := unmap(big+7*testWindow, pageSize); err != nil {
		t.Fatal(err)
	}
	open(big, 8*testWindow, nil) // merges
	if len(w.mu.at) != 1 {
		t.Fatalf("%d entries after a merge", len(w.mu.at))
	}
	if err := unmap(big, 8*testWindow); err != nil {
		t.Fatal(err)
	}
}

// limitedEnv makes the test binary run TestMap_AddressSpaceLimit as the child, which lowers
// its limit.
const limitedEnv = "EVERHEAP_TEST_ADDRESS_SPACE_LIMIT"

func TestMap_AddressSpaceLimit(t *testing.T) {
	if os.Getenv(limitedEnv) != "" {
		mapUnderLimit(t)
		return
	}
	if sanitized {
		t.Skip("the sanitizer of this build takes more address space than the limit of this test")
	}
	child := exec.Command(os.Args[0], "-test.run=^TestMap_AddressSpaceLimit$", "-test.v")
	child.Env = append(os.Environ(), limitedEnv+"=1")
	if out, err := child.CombinedOutput(); err != nil || !strings.Contains(string(out), "refusals: 3") {
		t.Fatalf("%v\n%s", err, out)
	}
}

// mapUnderLimit runs in the child: first with a limit below twice the window, then with a
// limit that the rest of the program has exhausted.
func mapUnderLimit(t *testing.T) {
	const size = 64 << 30
	base, err := PickPlace(size, 1, nil)
	if err != nil {
		t.Fatal(err)
	}
	windows.forget(t, base)
	f, err := OpenFile(filepath.Join(t.TempDir(), "heap"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	refusals := 0
	refused := func(limit uint64, call func() error) {
		t.Helper()
		if err := unix.Setrlimit(unix.RLIMIT_AS, &unix.Rlimit{Cur: limit, Max: unix.RLIM_INFINITY}); err != nil {
			t.Fatal(err)
		}
		err := call()
		if !errors.Is(err, ErrUnsupported) || !strings.Contains(err.Error(), "RLIMIT_AS") || !strings.Contains(err.Error(), "ulimit -v") {
			t.Fatalf("limit %d: %v", limit, err)
		}
		refusals++
	}
	mapIt := func() error { _, err := Map(f, base, size, false); return err }
	refused(size*3/2, mapIt)
	refused(2*size, mapIt)
	refused(size, func() error { _, err := PickPlace(size, 2, nil); return err })
	if err := unix.Setrlimit(unix.RLIMIT_AS, &unix.Rlimit{Cur: 3 * size, Max: unix.RLIM_INFINITY}); err != nil {
		t.Fatal(err)
	}
	r, err := Map(f, base, size, false)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	fmt.Println("refusals:", refusals)
}
