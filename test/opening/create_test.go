package opening

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/invariant"
	"github.com/everheap/everheap/internal/proctest"
)

func init() { proctest.Children["creator"] = openerChild }

// modes returns the permissions of the files of a space.
func modes(t *testing.T, dir string) map[string]fs.FileMode {
	t.Helper()
	list, err := os.ReadDir(dir)
	must(t, err)
	got := map[string]fs.FileMode{}
	for _, e := range list {
		info, err := e.Info()
		must(t, err)
		got[e.Name()] = info.Mode().Perm()
	}
	return got
}

// Files have the permissions of WithMode whatever the mask is, also files made later, under another
// mask, and by other users.
func TestWithMode_WhateverTheMask(t *testing.T) {
	for _, mask := range []int{0, 0o022, 0o077, 0o777} {
		t.Run(fmt.Sprintf("%03o", mask), func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "s")
			expect := func(when string) {
				t.Helper()
				for name, mode := range modes(t, dir) {
					if mode != 0o660 {
						t.Errorf("%s: %s has %v", when, name, mode)
					}
				}
				if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o770 {
					t.Errorf("%s: the directory: %v (%v)", when, info.Mode(), err)
				}
			}
			defer syscall.Umask(syscall.Umask(mask))
			s := open(t, dir, everheap.WithMode(0o770))
			expect("created")
			must(t, s.Close())
			must(t, os.Remove(filepath.Join(dir, "live")))
			must(t, os.Remove(filepath.Join(dir, "journal")))
			s, err := everheap.Open(dir)
			must(t, err)
			expect("live and journal made anew")
			must(t, s.Close())
			must(t, everheap.Rebase(t.Context(), dir, 0))
			s, err = everheap.Open(dir)
			must(t, err)
			expect("written anew")
			must(t, s.Close())
		})
	}
}

// Files that root makes later belong to the owner of the heap.
func TestOpen_ByRootLeavesTheFilesToTheirOwner(t *testing.T) {
	asRoot(t)
	dir := publicDir(t)
	s := open(t, dir)
	must(t, s.Close())
	must(t, os.Remove(filepath.Join(dir, "live")))
	for _, name := range []string{"", "heap", "journal"} {
		must(t, os.Chown(filepath.Join(dir, name), 65534, 65534))
	}
	s, err := everheap.Open(dir)
	must(t, err)
	must(t, s.Close())
	c := proctest.Start(t, "opener", dir, nobody)
	c.Hear("opened")
	c.Ends()
}

// A space that root creates or restores in an existing directory belongs to the owner of the
// directory.
func TestOpen_ByRootInADirectoryOfAnother(t *testing.T) {
	asRoot(t)
	var backup bytes.Buffer
	s := open(t, filepath.Join(t.TempDir(), "s"))
	must(t, s.Backup(&backup))
	must(t, s.Close())
	for name, create := range map[string]func(dir string) error{
		"created": func(dir string) error {
			s, err := everheap.Open(dir)
			if err == nil {
				err = s.Close()
			}
			return err
		},
		"restored": func(dir string) error { return everheap.RestoreBackup(dir, bytes.NewReader(backup.Bytes())) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := publicDir(t)
			must(t, os.Mkdir(dir, 0o700))
			must(t, os.Chown(dir, 65534, 65534))
			must(t, create(dir))
			for _, name := range []string{"", "heap", "journal"} {
				info, err := os.Stat(filepath.Join(dir, name))
				must(t, err)
				if uid := info.Sys().(*syscall.Stat_t).Uid; uid != 65534 {
					t.Errorf("%q belongs to user %d", name, uid)
				}
			}
			c := proctest.Start(t, "opener", dir, nobody)
			c.Hear("opened")
			c.Ends()
		})
	}
}

// An existing directory that is empty, or has only leftovers of a file system or a crash, becomes the
// space, and keeps its inode.
func TestOpen_EmptyDirectoryBecomesTheSpace(t *testing.T) {
	for name, fill := range map[string]func(dir string) error{
		"empty":      func(string) error { return nil },
		"lost+found": func(dir string) error { return os.Mkdir(filepath.Join(dir, "lost+found"), 0o700) },
		"half made":  func(dir string) error { return os.Mkdir(filepath.Join(dir, ".everheap.new-1"), 0o700) },
		"the journal": func(dir string) error {
			return os.WriteFile(filepath.Join(dir, "journal"), make([]byte, format.SegmentSize), 0o600)
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			before, err := os.Stat(dir)
			must(t, err)
			must(t, fill(dir))
			s := open(t, dir)
			must(t, mapOf(t, s).Set(s, "k", 1))
			after, err := os.Stat(dir)
			must(t, err)
			if !os.SameFile(before, after) || before.Mode() != after.Mode() {
				t.Error("it is another directory now, or has another mode")
			}
			if left, _ := filepath.Glob(filepath.Join(dir, ".everheap.new-*")); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

// The root of a volume, which cannot be renamed, becomes the space.
func TestOpen_RootOfAVolume(t *testing.T) {
	asRoot(t)
	dir := t.TempDir()
	if err := syscall.Mount("everheap-test", dir, "tmpfs", 0, "size=64m"); err != nil {
		t.Skipf("nothing can be mounted here: %v", err)
	}
	defer syscall.Unmount(dir, syscall.MNT_DETACH)
	must(t, os.Mkdir(filepath.Join(dir, "lost+found"), 0o700))
	s := openPlain(t, dir)
	must(t, mapOf(t, s).Set(s, "k", 1))
	must(t, s.Close())
}

// A directory with other files does not become a space, and the error says so; nor does the root
// directory.
func TestErrExists_DirectoryWithOtherThings(t *testing.T) {
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "thesis.txt"), nil, 0o600))
	written := t.TempDir()
	journal := make([]byte, format.SegmentSize)
	journal[77] = 1
	must(t, os.WriteFile(filepath.Join(written, "journal"), journal, 0o600))
	for _, dir := range []string{dir, written, "/"} {
		s, err := everheap.Open(dir)
		if err == nil {
			s.Close()
			t.Fatalf("%s was opened", dir)
		}
		expectError(t, err, everheap.ErrExists, "it has other contents", dir)
	}
}

// Several create a space in one directory at once: all open the same one.
func TestOpen_CreatorsAtOnceInADirectory(t *testing.T) { // K12
	for i := range 5 { // one after the other: creators in other processes do not know the windows of this one
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			dir := t.TempDir()
			var wg sync.WaitGroup
			procs := make([]*proctest.Proc, 8)
			for i := range procs {
				wg.Go(func() { procs[i] = proctest.Start(t, "creator", dir, nil) })
			}
			wg.Wait()
			for _, p := range procs {
				p.Hear("opened")
				p.Ends()
			}
			open(t, dir)
			for name := range modes(t, dir) {
				if strings.HasPrefix(name, ".") {
					t.Errorf("left behind: %s", name)
				}
			}
		})
	}
}

// A creator that dies at any step leaves a whole space or none, and the next creator gets one.
func TestOpen_CreatorDies(t *testing.T) { // K11
	if !invariant.Enabled {
		t.Skip("the points are there with -tags invariants only")
	}
	for _, point := range []string{"create.built", "create.journal", "create.heap"} {
		t.Run(point, func(t *testing.T) {
			dir := t.TempDir()
			t.Setenv("EVERHEAP_POINT", point+":1:kill")
			p := proctest.Start(t, "creator", dir, nil)
			if !proctest.Wait(p.Gone) {
				t.Fatal("it does not die")
			}
			must(t, os.Unsetenv("EVERHEAP_POINT"))
			s := open(t, dir)
			must(t, mapOf(t, s).Set(s, "k", 1))
		})
	}
}
