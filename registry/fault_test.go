package registry

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// failingSystem makes the k-th call of a change fail. restore repairs the system, and returns the
// number of calls.
func failingSystem(k int, errno syscall.Errno) (restore func() (calls int)) {
	before, calls := system, 0
	turn := func(op, path string) error {
		if calls++; calls-1 == k {
			return &os.PathError{Op: op, Path: path, Err: errno}
		}
		return nil
	}
	system.create = func(path string, flag int) (*os.File, error) {
		if err := turn("open", path); err != nil {
			return nil, err
		}
		return before.create(path, flag)
	}
	system.write = func(f *os.File, b []byte) error {
		if err := turn("write", f.Name()); err != nil {
			_ = before.write(f, b[:len(b)/2])
			return err
		}
		return before.write(f, b)
	}
	system.sync = func(f *os.File) error {
		if err := turn("sync", f.Name()); err != nil {
			return err
		}
		return before.sync(f)
	}
	system.rename = func(from, to string) error {
		if err := turn("rename", to); err != nil {
			return err
		}
		return before.rename(from, to)
	}
	system.syncDir = func(dir string) error {
		if err := turn("sync", dir); err != nil {
			return err
		}
		return before.syncDir(dir)
	}
	return func() int {
		system = before
		return calls
	}
}

// Whichever call of a change fails, the change returns an error, the file is the old or the new one,
// no file is left behind, and the change can be made later.
func TestFaults_EveryCall(t *testing.T) {
	for _, errno := range []syscall.Errno{syscall.ENOSPC, syscall.EIO} {
		for _, change := range []struct {
			name string
			do   func(r *Registry) error
		}{
			{"register", func(r *Registry) error { return r.Register(Entry{Name: "b", Dir: "/b"}) }},
			{"remove", func(r *Registry) error { return r.Remove("a") }},
			{"reserve", func(r *Registry) error {
				return r.Reserve("c", "/c", gib, firstFit(gib), func(uint64) error { return nil })
			}},
		} {
			t.Run(fmt.Sprint(change.name, " ", errno), func(t *testing.T) {
				for k := 0; ; k++ {
					r := Open(t.TempDir())
					if err := r.Register(Entry{Name: "a", Dir: "/a"}); err != nil {
						t.Fatal(err)
					}
					old, err := os.ReadFile(r.File())
					if err != nil {
						t.Fatal(err)
					}
					restore := failingSystem(k, errno)
					err = change.do(r)
					if calls := restore(); calls <= k {
						if err != nil || k < 5 {
							t.Errorf("%d calls, none failed: %v", calls, err)
						}
						return
					}
					if !errors.Is(err, errno) {
						t.Errorf("call %d: %v", k, err)
					}
					if k == 0 && !strings.Contains(err.Error(), "cannot change the registry in") { // the lock file cannot be opened
						t.Errorf("call %d does not say what to do: %v", k, err)
					}
					now, readErr := os.ReadFile(r.File())
					if _, err := r.List(); err != nil || readErr != nil {
						t.Errorf("call %d: the registry is damaged: %v (%v)", k, err, readErr)
					}
					if err == nil && !slices.Equal(now, old) {
						t.Errorf("call %d: the file changed, but there was no error", k)
					}
					if left, _ := filepath.Glob(filepath.Join(filepath.Dir(r.File()), "*.tmp")); len(left) > 0 {
						t.Errorf("call %d: left behind: %v", k, left)
					}
					if err := change.do(r); err != nil && !errors.Is(err, ErrNotRegistered) { // the failed Remove may have removed it
						t.Errorf("call %d: when the disk works again: %v", k, err)
					}
				}
			})
		}
	}
}
