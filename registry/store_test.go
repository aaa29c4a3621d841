package registry

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestMain plays the role of a child process, if a test has started it as one.
func TestMain(m *testing.M) {
	if role := os.Getenv("REGISTRY_TEST_ROLE"); role != "" {
		if err := play(role, Open(os.Getenv("REGISTRY_TEST_HOME")), os.Getenv("REGISTRY_TEST_NAME")); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// play runs the role of a child process.
func play(role string, r *Registry, name string) error {
	switch role {
	case "reserve": // and register, look up, remove: many times
		for i := range perProcess {
			name := fmt.Sprintf("%s-%d", name, i)
			if err := r.Reserve(name, r.DefaultDir(name), gib, firstFit(gib), func(uint64) error { return nil }); err != nil {
				return err
			}
			if err := r.Register(Entry{Name: name + ".gone", Dir: "/gone"}); err != nil {
				return err
			}
			if err := r.Remove(name + ".gone"); err != nil {
				return err
			}
		}
		return nil
	case "die": // between writing the new file and putting it in place
		return r.Reserve(name, r.DefaultDir(name), gib, firstFit(gib), func(uint64) error {
			return syscall.Kill(os.Getpid(), syscall.SIGKILL)
		})
	}
	return fmt.Errorf("no role %q", role)
}

const perProcess = 8

func process(t *testing.T, r *Registry, role, name string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	must(t, err)
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), "REGISTRY_TEST_ROLE="+role, "REGISTRY_TEST_HOME="+r.home, "REGISTRY_TEST_NAME="+name)
	return cmd
}

func TestReserve_SeveralProcesses(t *testing.T) { // RG2
	r := newHome(t)
	const processes = 4
	done := make(chan struct{})
	var wg sync.WaitGroup
	for i := range processes {
		cmd := process(t, r, "reserve", fmt.Sprintf("p%d", i))
		wg.Go(func() {
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
	go func() { wg.Wait(); close(done) }()
	for seen, running := 0, true; running; { // RG1: a reader sees whole files, and no entry is lost
		select {
		case <-done:
			running = false
		default:
		}
		list, err := r.List()
		must(t, err)
		kept := 0
		for _, e := range list {
			if !strings.HasSuffix(e.Name, ".gone") {
				kept++
			}
		}
		if kept < seen {
			t.Fatalf("%d entries after %d", kept, seen)
		}
		seen = kept
	}
	list, err := r.List()
	must(t, err)
	if len(list) != processes*perProcess {
		t.Fatalf("%d entries, want %d", len(list), processes*perProcess)
	}
	for i, a := range list {
		for _, b := range list[i+1:] {
			if a.overlaps(b.Base, b.Size) {
				t.Fatalf("%+v and %+v overlap", a, b)
			}
		}
	}
	wantNoTemp(t, r)
}

func TestReserve_ProcessDiesBeforeRename(t *testing.T) {
	r := newHome(t)
	must(t, r.Register(Entry{"a", "/a", zone, gib}))
	before := read(t, r)
	if err := process(t, r, "die", "b").Run(); err == nil {
		t.Fatal("the process did not die")
	}
	if _, err := os.Stat(filepath.Join(r.home, tempName)); err != nil {
		t.Fatalf("the process left nothing behind: %v", err)
	}
	wantFile(t, r, before)
	if list, err := r.List(); err != nil || len(list) != 1 {
		t.Fatalf("List = %v, %v", list, err)
	}
	must(t, r.Register(Entry{"c", "/c", zone + gib, gib}))
	wantNoTemp(t, r)
	if list, err := r.List(); err != nil || len(list) != 2 {
		t.Fatalf("List = %v, %v", list, err)
	}
}

// impatient replaces patience for a test.
func impatient(t *testing.T, bound func(context.Context) (context.Context, context.CancelFunc)) {
	before := patience
	patience = bound
	t.Cleanup(func() { patience = before })
}

// A context ends the wait, and the error says so and names the holder.
func TestWithContext_EndsTheWait(t *testing.T) { // RG2
	r := newHome(t)
	ctx, cancel := context.WithCancel(context.Background())
	err := r.Reserve("a", "/a", gib, firstFit(gib), func(uint64) error {
		impatient(t, func(bound context.Context) (context.Context, context.CancelFunc) {
			time.AfterFunc(time.Millisecond, cancel)
			if bound != ctx {
				t.Error("the wait is bound to another context")
				bound = ctx
			}
			return context.WithCancel(bound)
		})
		return r.WithContext(ctx).Register(Entry{Name: "b", Dir: "/b"})
	})
	if !errors.Is(err, ErrLocked) || !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), fmt.Sprintf("process %d ", os.Getpid())) {
		t.Fatalf("Register inside of Reserve = %v", err)
	}
	// The lock is free, but for the moment in which the kernel gives it to the wait that has ended.
	for end := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		if err = r.WithContext(ctx).Register(Entry{Name: "b", Dir: "/b"}); !errors.Is(err, ErrLocked) || time.Now().After(end) {
			break
		}
	}
	must(t, err)
	if r.ctx.Err() != nil {
		t.Error("the registry itself waits under that context")
	}
}

// The lock file may be a pipe that no process writes to.
func TestErrLocked_LockFileIsAPipe(t *testing.T) {
	r := newHome(t)
	must(t, os.MkdirAll(r.home, 0o700))
	must(t, unix.Mkfifo(filepath.Join(r.home, lockName), 0o600))
	done := make(chan error, 1)
	go func() {
		done <- r.Reserve("a", "/a", gib, firstFit(gib), func(uint64) error {
			ctx, cancel := context.WithCancel(context.Background())
			cancel()
			return r.WithContext(ctx).Register(Entry{Name: "b", Dir: "/b"})
		})
	}()
	select {
	case err := <-done:
		if !errors.Is(err, ErrLocked) {
			t.Errorf("Register inside of Reserve = %v", err)
		}
	case <-time.After(time.Minute):
		t.Error("Register waits for the other end of the pipe")
	}
}

// A waiter gives up after lockPatience.
func TestErrLocked_PatienceEnds(t *testing.T) {
	ctx, cancel := patience(context.Background())
	defer cancel()
	if end, ok := ctx.Deadline(); !ok || time.Until(end) > lockPatience {
		t.Errorf("a waiter gives up at %v (%v)", end, ok)
	}
}

// However long the queue is, a waiter does not give up as long as the lock changes hands.
func TestErrLocked_NotWhileTheLockPassesOn(t *testing.T) { // RG2
	r := newHome(t)
	waits := make(chan context.CancelFunc)
	impatient(t, func(ctx context.Context) (context.Context, context.CancelFunc) {
		ctx, cancel := context.WithCancel(ctx)
		waits <- cancel
		return ctx, cancel
	})
	release, held, done := make(chan bool), make(chan bool), make(chan error, 1)
	go func() {
		done <- r.Reserve("a", "/a", gib, firstFit(gib), func(uint64) error { held <- true; <-release; return nil })
	}()
	<-waits
	<-held
	late := make(chan error, 1)
	go func() { late <- r.Register(Entry{Name: "late", Dir: "/late"}) }()
	lose := <-waits
	// The lock passes to another goroutine of this process, which writes its name a moment later.
	lockFile := filepath.Join(r.home, lockName)
	must(t, os.Chtimes(lockFile, time.Time{}, time.Now().Add(time.Second)))
	lose()
	lose = <-waits
	must(t, os.WriteFile(lockFile, []byte("1\n"), 0o600)) // as the next holder does
	lose()
	(<-waits)() // it continues to wait, and gives up on that holder
	if err := <-late; !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), "process 1 ") {
		t.Errorf("Register = %v", err)
	}
	close(release)
	must(t, <-done)
}

func TestErrLocked_NamesTheHolder(t *testing.T) {
	r := newHome(t)
	impatient(t, func(ctx context.Context) (context.Context, context.CancelFunc) {
		return context.WithTimeout(ctx, 30*time.Millisecond)
	})
	must(t, os.MkdirAll(r.home, 0o700))
	lockFile := filepath.Join(r.home, lockName)
	must(t, os.WriteFile(lockFile, []byte("99999999 died\n"), 0o600)) // the name of a holder that died
	err := r.Reserve("a", "/a", gib, firstFit(gib), func(uint64) error {
		return r.Register(Entry{Name: "b", Dir: "/b"})
	})
	if b, err := os.ReadFile(lockFile); err != nil || len(b) > 0 {
		t.Errorf("when nobody holds the lock its file says %q (%v)", b, err)
	}
	if !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), fmt.Sprintf("process %d ", os.Getpid())) {
		t.Fatalf("Register inside of Reserve = %v", err)
	}
	must(t, r.Register(Entry{Name: "b", Dir: "/b"}))
}

// asNobody runs fn on a thread whose file accesses have no privileges, also if root runs the
// tests. The thread ends with fn.
func asNobody(t *testing.T, fn func()) {
	t.Helper()
	if os.Geteuid() != 0 {
		fn()
		return
	}
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		err := unix.Setfsuid(65534)
		if err == nil {
			fn()
		}
		done <- err
	}()
	must(t, <-done)
}

func TestRegister_ReadOnlyHome(t *testing.T) {
	r := newHome(t)
	must(t, r.Register(Entry{"a", "/a", zone, gib}))
	must(t, os.Remove(filepath.Join(r.home, lockName)))
	must(t, os.Chmod(filepath.Dir(filepath.Dir(r.home)), 0o755))
	must(t, os.Chmod(filepath.Dir(r.home), 0o755))
	must(t, os.Chmod(r.home, 0o555))
	must(t, os.Chmod(r.File(), 0o444))
	defer os.Chmod(r.home, 0o700)
	asNobody(t, func() {
		if e, ok, err := r.Lookup("a"); !ok || err != nil || e.Dir != "/a" {
			t.Errorf("Lookup = %+v, %v, %v", e, ok, err)
		}
		for what, err := range map[string]error{
			"Register": r.Register(Entry{Name: "b", Dir: "/b"}),
			"Remove":   r.Remove("a"),
			"Reserve": r.Reserve("b", "/b", gib, firstFit(gib), func(uint64) error {
				t.Error("create was called")
				return nil
			}),
		} {
			if !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), "EVERHEAP_HOME") {
				t.Errorf("%s = %v", what, err)
			}
		}
	})
}

func TestLoad_UnreadableFile(t *testing.T) {
	r := newHome(t)
	must(t, r.Register(Entry{Name: "a", Dir: "/a"}))
	asNobody(t, func() {
		if os.Geteuid() != 0 {
			must(t, os.Chmod(r.File(), 0))
		}
		if _, err := r.List(); !errors.Is(err, fs.ErrPermission) {
			t.Errorf("List = %v", err)
		}
	})
}

func TestRegister_HomeIsAFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	must(t, os.WriteFile(path, nil, 0o600))
	if err := Open(path).Register(Entry{Name: "a", Dir: "/a"}); !errors.Is(err, unix.ENOTDIR) {
		t.Fatalf("Register = %v", err)
	}
}

func TestLoad_NotAFile(t *testing.T) {
	r := newHome(t)
	must(t, os.MkdirAll(r.home, 0o700))
	must(t, unix.Mkfifo(r.File(), 0o600))
	if _, err := r.List(); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Fatalf("List = %v", err)
	}
}

func TestRegister_KeepsLinkAndMode(t *testing.T) {
	r := newHome(t)
	dir := t.TempDir()
	must(t, os.MkdirAll(r.home, 0o700))
	must(t, os.Symlink(filepath.Join(dir, "dotfile"), r.File()))
	if err := r.Register(Entry{Name: "a", Dir: "/a"}); err == nil || !strings.Contains(err.Error(), "symbolic link") {
		t.Fatalf("a link to nothing: %v", err)
	}
	must(t, os.WriteFile(filepath.Join(dir, "dotfile"), []byte("[spaces.b]\ndir = 'b'\n"), 0o640))
	must(t, os.Chmod(filepath.Join(dir, "dotfile"), 0o640))
	must(t, r.Register(Entry{Name: "a", Dir: "/a"}))
	info, err := os.Lstat(r.File())
	must(t, err)
	if info.Mode()&os.ModeSymlink == 0 {
		t.Error("the link was replaced")
	}
	info, err = os.Stat(r.File())
	must(t, err)
	if info.Mode().Perm() != 0o640 {
		t.Errorf("mode is now %o", info.Mode().Perm())
	}
	if e, _, err := r.Lookup("b"); err != nil || e.Dir != filepath.Join(r.home, "b") {
		t.Errorf("Lookup = %+v, %v", e, err)
	}
}

func TestRegister_ByRootKeepsTheOwner(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can change a file of another user")
	}
	r := newHome(t)
	must(t, os.MkdirAll(r.home, 0o700))
	must(t, os.Chown(r.home, 65534, 65534))
	for _, name := range []string{"a", "b"} { // a new file, then a replaced one
		must(t, r.Register(Entry{Name: name, Dir: "/" + name}))
		for _, path := range []string{r.File(), filepath.Join(r.home, lockName)} {
			info, err := os.Stat(path)
			must(t, err)
			if uid := info.Sys().(*syscall.Stat_t).Uid; uid != 65534 {
				t.Errorf("%s belongs to %d", path, uid)
			}
		}
	}
}
