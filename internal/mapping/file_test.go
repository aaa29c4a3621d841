//go:build linux

package mapping

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// failing is a File whose k-th operation, and every later one, fails.
type failing struct {
	File
	k    int
	with error
}

func (f *failing) fail() error {
	if f.k--; f.k <= 0 {
		return f.with
	}
	return nil
}

func (f *failing) Allocate(off, n int64) error {
	if err := f.fail(); err != nil {
		return err
	}
	return f.File.Allocate(off, n)
}

func (f *failing) PunchHole(off, n int64) error {
	if err := f.fail(); err != nil {
		return err
	}
	return f.File.PunchHole(off, n)
}

func (f *failing) Datasync() error {
	if err := f.fail(); err != nil {
		return err
	}
	return f.File.Datasync()
}

func TestRegion_FailureAtKthCall(t *testing.T) {
	failures := []struct {
		with             error
		allocate, synced error // the errors of Allocate and Sync
	}{
		{syscall.ENOSPC, ErrNoSpace, ErrIO},
		{syscall.EDQUOT, ErrNoSpace, ErrIO},
		{&os.PathError{Op: "allocate", Path: "heap", Err: syscall.EFBIG}, ErrNoSpace, ErrIO},
		{syscall.EIO, ErrIO, ErrIO},
	}
	for _, c := range failures {
		for k := 1; k <= 6; k++ {
			f, path := heapFile(t)
			r, err := Map(&failing{f, k, c.with}, place(t), testWindow, false)
			if err != nil {
				t.Fatal(err)
			}
			whole := 0 // how many steps succeeded
			for i := 1; i <= 3; i++ {
				err := r.Allocate(int64(i-1)*pageSize, pageSize)
				if want := 2*i-1 >= k; (err != nil) != want || want && (!errors.Is(err, c.allocate) || !errors.Is(err, c.with)) {
					t.Fatalf("%v at call %d: Allocate %d: %v", c.with, k, i, err)
				}
				if err == nil {
					r.writable(uint64(i-1)*pageSize, 1)[0] = byte(i)
					whole = i
				}
				err = r.Sync(1 << 20)
				if want := 2*i >= k; (err != nil) != want || want && !errors.Is(err, c.synced) {
					t.Fatalf("%v at call %d: Sync %d: %v", c.with, k, i, err)
				}
			}
			if err := r.Close(); err != nil {
				t.Fatal(err)
			}
			data, err := os.ReadFile(path)
			if err != nil || len(data) != whole*pageSize {
				t.Fatalf("%v at call %d: the file has %d bytes, %v", c.with, k, len(data), err)
			}
			for i := range whole {
				if data[i*pageSize] != byte(i+1) {
					t.Fatalf("%v at call %d: page %d was lost", c.with, k, i)
				}
			}
		}
	}
}

func TestRegion_ErrNoSpaceBeyondWindow(t *testing.T) {
	r := mapNew(t, 0)
	for _, c := range [][2]int64{{testWindow, 1}, {testWindow - 1, 2}, {0, testWindow + 1}, {1 << 62, 1 << 62}, {-1, 1}, {0, 0}, {0, -1}} {
		if err := r.Allocate(c[0], c[1]); !errors.Is(err, ErrNoSpace) {
			t.Errorf("Allocate(%d, %d): %v", c[0], c[1], err)
		}
	}
	if n, err := r.file.Size(); n != 0 || err != nil {
		t.Errorf("the file has %d bytes, %v", n, err)
	}
}

func TestRegion_FullDisk(t *testing.T) { // M4
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"); err != nil {
		t.Skipf("a small tmpfs cannot be mounted here: %v", err)
	}
	defer unix.Unmount(dir, unix.MNT_DETACH)
	if err := CheckFileSystem(dir); err != nil {
		t.Fatal(err)
	}
	r, err := Map(openHeap(t, filepath.Join(dir, "heap"), os.O_RDWR|os.O_CREATE), place(t), testWindow, false)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	const step = 64 << 10
	end := int64(0)
	for err == nil && end < 2<<20 {
		if err = r.Allocate(end, step); err == nil {
			end += step
		}
	}
	if !errors.Is(err, ErrNoSpace) || end < 512<<10 || end > 1<<20 {
		t.Fatalf("full after %d bytes: %v", end, err)
	}
	if err := os.WriteFile(filepath.Join(dir, "filler"), make([]byte, step), 0o600); err == nil {
		t.Fatal("the disk is not full")
	}
	r.Populate(0, end)
	if _, faulted := faults(func() { clear(r.writable(0, int(end))) }); faulted { // M4
		t.Fatal("writing allocated space of a full disk faulted")
	}
}

func TestOSFile_AllocateExtendsAndKeeps(t *testing.T) {
	f, path := heapFile(t)
	defer f.Close()
	if _, err := f.WriteAt([]byte("kept"), 10); err != nil {
		t.Fatal(err)
	}
	if err := f.Allocate(0, 100_000); err != nil {
		t.Fatal(err)
	}
	var s unix.Stat_t
	if err := unix.Stat(path, &s); err != nil || s.Size != 100_000 || s.Blocks*512 < 100_000 {
		t.Fatalf("size %d, %d blocks, %v", s.Size, s.Blocks, err)
	}
	b := make([]byte, 20)
	if _, err := f.ReadAt(b, 0); err != nil || string(b[10:14]) != "kept" {
		t.Fatalf("%q, %v", b, err)
	}
	if n, err := f.ReadAt(b, 99_990); n != 10 || err != io.EOF {
		t.Fatalf("reading across the end: %d, %v", n, err)
	}
	if err := f.Truncate(5); err != nil {
		t.Fatal(err)
	}
	if n, err := f.Size(); n != 5 || err != nil {
		t.Fatalf("size %d, %v", n, err)
	}
}

// Allocate returns an error at the limit on file sizes; the kernel alone would end the
// process with SIGXFSZ.
func TestOSFile_FileSizeLimit(t *testing.T) {
	f, _ := heapFile(t)
	defer f.Close()
	var old unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_FSIZE, &old); err != nil {
		t.Fatal(err)
	}
	if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: 1 << 30, Max: old.Max}); err != nil {
		t.Fatal(err)
	}
	defer unix.Setrlimit(unix.RLIMIT_FSIZE, &old)
	if err := f.Allocate(1<<30-pageSize, 2*pageSize); !errors.Is(err, ErrNoSpace) || !strings.Contains(err.Error(), "ulimit -f") {
		t.Fatalf("allocating beyond the limit: %v", err)
	}
	if err := f.Allocate(0, pageSize); err != nil {
		t.Fatal(err)
	}
}

// Allocate succeeds in tmpfs while signals arrive all the time, though each signal undoes
// the work of a call there.
func TestOSFile_AllocateUnderSignals(t *testing.T) {
	const memory = "/dev/shm"
	if err := CheckFileSystem(memory); err != nil {
		t.Skipf("no tmpfs at %s: %v", memory, err)
	}
	temporary, err := os.CreateTemp(memory, "everheap-test-")
	if err != nil {
		t.Skipf("cannot write to %s: %v", memory, err)
	}
	temporary.Close()
	defer os.Remove(temporary.Name())
	f := openHeap(t, temporary.Name(), os.O_RDWR)
	defer f.Close()
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			case <-time.After(time.Millisecond):
				unix.Kill(os.Getpid(), unix.SIGURG) // the runtime ignores this signal
			}
		}
	}()
	err = f.Allocate(0, 32<<20)
	close(stop)
	<-stopped
	if errors.Is(err, ErrNoSpace) {
		t.Skipf("%s is too small: %v", memory, err)
	}
	if n, sizeErr := f.Size(); err != nil || sizeErr != nil || n != 32<<20 {
		t.Fatalf("%v; size %d, %v", err, n, sizeErr)
	}
}

func TestOSFile_ErrIO(t *testing.T) {
	f, path := heapFile(t)
	f.Close()
	for name, err := range map[string]error{
		"Datasync": f.Datasync(), "Truncate": f.Truncate(1), "Allocate": f.Allocate(0, 1),
	} {
		if !errors.Is(err, os.ErrClosed) || errors.Is(err, ErrIO) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s of a closed file: %v", name, err)
		}
	}
	readable := openHeap(t, path, os.O_RDONLY)
	defer readable.Close()
	if _, err := readable.WriteAt([]byte("x"), 0); !errors.Is(err, ErrIO) || !strings.Contains(err.Error(), path) {
		t.Errorf("writing a file that is open for reading: %v", err)
	}
	if _, err := OpenFile(path+".gone", os.O_RDWR, 0); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("opening a missing file: %v", err)
	}
}

func TestSyncDir(t *testing.T) {
	if err := SyncDir(t.TempDir()); err != nil {
		t.Error(err)
	}
	if err := SyncDir(filepath.Join(t.TempDir(), "gone")); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

func TestCheckFileSystem_RefusesWithAdvice(t *testing.T) {
	if err := CheckFileSystem(t.TempDir()); err != nil {
		t.Errorf("the directory for temporary files: %v", err)
	}
	for _, dir := range []string{"/proc", "/sys"} {
		var unsupported *UnsupportedError
		err := CheckFileSystem(dir)
		if !errors.As(err, &unsupported) || !errors.Is(err, ErrUnsupported) ||
			!strings.Contains(err.Error(), dir[1:]) || !strings.Contains(err.Error(), "ext4") {
			t.Errorf("%s: %v", dir, err)
		}
	}
	if err := CheckFileSystem("/proc/gone"); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

func TestUpperDirectory_FromMountInfo(t *testing.T) {
	const text = `22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/root rw
30 22 0:45 / /merged\040here rw,relatime - overlay overlay rw,lowerdir=/l1:/l2,upperdir=/up\040per/diff,workdir=/w
31 22 0:46 / /other rw,relatime shared:3 master:1 - overlay overlay ro,lowerdir=/l1
32 22 0:47 / /run rw - tmpfs tmpfs rw,upperdir=/no
broken line
`
	for device, want := range map[string]string{"0:45": "/up per/diff", "0:46": "", "0:47": "", "254:0": "", "9:9": "", "": ""} {
		if got := upperDirectory(text, device); got != want {
			t.Errorf("device %q: %q, want %q", device, got, want)
		}
	}
}

func TestCheckFileSystem_Overlay(t *testing.T) {
	root := t.TempDir()
	for _, dir := range []string{"lower", "upper", "work", "merged"} {
		if err := os.Mkdir(filepath.Join(root, dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	merged := filepath.Join(root, "merged")
	options := "lowerdir=" + root + "/lower,upperdir=" + root + "/upper,workdir=" + root + "/work"
	if err := unix.Mount("overlay", merged, "overlay", 0, options); err != nil {
		t.Skipf("an overlay cannot be mounted here: %v", err)
	}
	defer unix.Unmount(merged, unix.MNT_DETACH)
	if err := CheckFileSystem(merged); err != nil {
		t.Fatal(err)
	}
	r, err := Map(openHeap(t, filepath.Join(merged, "heap"), os.O_RDWR|os.O_CREATE), place(t), testWindow, false)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if err := r.Allocate(0, pageSize); err != nil {
		t.Fatal(err)
	}
	copy(r.writable(0, 4), "over")
	if got := string(r.ro(0, 4)); got != "over" {
		t.Fatalf("the view shows %q", got)
	}
}

func TestRegion_PunchHole(t *testing.T) {
	f, path := heapFile(t)
	r, err := Map(f, place(t), testWindow, false)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	blocks := func() int64 {
		var s unix.Stat_t
		if err := unix.Stat(path, &s); err != nil {
			t.Fatal(err)
		}
		return s.Blocks * 512
	}
	const size = 64 << 10
	if err := r.Allocate(0, 4*size); err != nil {
		t.Fatal(err)
	}
	for i := range uint64(4) {
		copy(r.writable(i*size, 4), "here")
	}
	if err := r.Sync(4 * size); err != nil {
		t.Fatal(err)
	}
	before := blocks()
	if err := r.PunchHole(size, 2*size); err != nil {
		t.Fatal(err)
	}
	if now := blocks(); now > before-2*size {
		t.Errorf("the file takes %d bytes, and took %d before holes of 2*%d bytes were punched", now, before, size)
	}
	for i, want := range []string{"here", "\x00\x00\x00\x00", "\x00\x00\x00\x00", "here"} {
		for view, b := range map[string][]byte{"read": r.ro(uint64(i)*size, 4), "write": r.writable(uint64(i)*size, 4)} {
			if string(b) != want {
				t.Errorf("piece %d of the %s view is %q", i, view, b)
			}
		}
	}
	if n, err := r.file.Size(); n != 4*size || err != nil {
		t.Errorf("the file has %d bytes, %v", n, err)
	}
	if err := r.Allocate(size, size); err != nil {
		t.Fatal(err)
	}
	copy(r.writable(size, 5), "again")
	if string(r.ro(size, 5)) != "again" {
		t.Error("bytes that were allocated again cannot be written")
	}
	for _, c := range [][2]int64{{-pageSize, pageSize}, {0, 0}, {1, pageSize}, {0, 1}, {testWindow, pageSize}, {0, testWindow + pageSize}} {
		if err := r.PunchHole(c[0], c[1]); err == nil {
			t.Errorf("%d bytes at %d were punched", c[1], c[0])
		}
	}
	bad, err := Map(&failing{func() File { f, _ := heapFile(t); return f }(), 2, syscall.EIO}, place(t), testWindow, false)
	if err != nil {
		t.Fatal(err)
	}
	defer bad.Close()
	if err := bad.PunchHole(0, pageSize); err != nil {
		t.Fatal(err)
	}
	if err := bad.PunchHole(0, pageSize); !errors.Is(err, ErrIO) {
		t.Errorf("a failing call: %v", err)
	}
}

func TestMapReadable_IsReadOnly(t *testing.T) {
	f, _ := heapFile(t)
	defer f.Close()
	if _, err := f.WriteAt([]byte("content"), 0); err != nil {
		t.Fatal(err)
	}
	s, err := MapReadable(f, 7)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if string(s.Bytes()) != "content" {
		t.Errorf("%q", s.Bytes())
	}
	if _, faulted := faults(func() { s.Bytes()[0] = 'C' }); !faulted {
		t.Error("the mapping can be written")
	}
}
