package files_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/everheap/everheap"
)

func init() {
	children["fill"] = func(dir string) error {
		s, m, err := open(dir)
		for i := 0; i < 500 && err == nil; i++ {
			err = m.Set(s, i, "another")
		}
		if err != nil {
			return err
		}
		return s.Close()
	}
	children["look"] = func(dir string) error { // opens the space as after a reboot
		if err := os.Remove(filepath.Join(dir, "live")); err != nil {
			return err
		}
		s, m, err := open(dir)
		if err != nil {
			return err
		}
		report, err := s.Check(context.Background())
		if err == nil && len(report.Findings) > 0 {
			err = fmt.Errorf("check: %v", report.Findings)
		}
		if err != nil {
			return err
		}
		for i := range 500 {
			if v, err := m.Get(s, i); err != nil || v != "another" {
				return fmt.Errorf("key %d has %q (%v)", i, v, err)
			}
		}
		return s.Close()
	}
}

// work makes the journal and the heap grow, and calls all operations that write files.
func work(t *testing.T, s *everheap.Space, m everheap.Map[int, string], value string) {
	t.Helper()
	for i := range 100 {
		must(t, m.Set(s, i, value))
	}
	must(t, s.Checkpoint("c"))
	for i := range 40 {
		must(t, m.Set(s, 1000+i, strings.Repeat("x", 100_000)))
	}
	must(t, s.Sync(t.Context()))
	must(t, s.DropCheckpoint("c"))
	_, err := s.Compact(t.Context())
	must(t, err)
	for i := range 40 {
		_, err := m.Delete(s, 1000+i)
		must(t, err)
	}
	_ = s.DropCheckpoint("d")
	must(t, s.Checkpoint("d"))
}

// A space whose directory was moved works on, and does not touch the space that is now at its old
// path.
func TestMovedDirectory_WorksOn(t *testing.T) { // M7
	parent := t.TempDir()
	dir, aside := filepath.Join(parent, "s"), filepath.Join(parent, "aside")
	s, m, err := open(dir)
	must(t, err)
	work(t, s, m, "before")
	must(t, os.Rename(dir, aside))
	run(t, "fill", dir)
	work(t, s, m, "after")
	holds(t, s, m, 100, "after")
	var b bytes.Buffer
	if err := s.Backup(&b); err != nil {
		t.Error(err)
	}
	run(t, "look", dir)
	must(t, s.Close())
	run(t, "look", dir)
	reboot(t, aside)
	s, m = opened(t, aside)
	holds(t, s, m, 100, "after")
}

// takes is a change of a file while a space is open, and the file that the error names.
type takes struct {
	name string
	do   func(t *testing.T, dir string)
	says string // the file that the error names
}

// gone returns the ways in which the files of a space can disappear.
func gone() []takes {
	swap := func(name string) func(t *testing.T, dir string) {
		return func(t *testing.T, dir string) {
			t.Helper()
			b, err := os.ReadFile(filepath.Join(dir, name))
			must(t, err)
			copied := filepath.Join(dir, "copied")
			must(t, os.WriteFile(copied, b, 0o600))
			must(t, os.Rename(copied, filepath.Join(dir, name)))
		}
	}
	remove := func(name string) func(t *testing.T, dir string) {
		return func(t *testing.T, dir string) { must(t, os.Remove(filepath.Join(dir, name))) }
	}
	return []takes{
		{"directory removed", func(t *testing.T, dir string) { must(t, os.RemoveAll(dir)) }, "heap"},
		{"heap removed", remove("heap"), "heap"},
		{"heap moved out", func(t *testing.T, dir string) {
			must(t, os.Rename(filepath.Join(dir, "heap"), filepath.Join(filepath.Dir(dir), "heap")))
		}, "heap"},
		{"heap replaced", swap("heap"), "heap"},
		{"journal removed", remove("journal"), "journal"},
		{"journal replaced", swap("journal"), "journal"},
	}
}

// A space whose files were removed or replaced reports that, acknowledges nothing as durable, and can
// be read and backed up.
func TestErrReplaced_NoPromises(t *testing.T) { // F1, F5
	for _, g := range gone() {
		for _, first := range []string{"set", "sync", "checkpoint", "close"} {
			t.Run(g.name+", "+first, func(t *testing.T) {
				dir := filepath.Join(t.TempDir(), "s")
				s, m, err := open(dir)
				must(t, err)
				other, beside := opened(t, filepath.Join(t.TempDir(), "other"))
				for i := range 100 {
					must(t, m.Set(s, i, "kept"))
				}
				g.do(t, dir)
				replaced := func(what string, err error) {
					t.Helper()
					expect(t, what, err, []string{filepath.Join(dir, g.says), "opened again"}, everheap.ErrReplaced, everheap.ErrIO)
				}
				steps := map[string]func() error{
					"set":        func() error { return m.Set(s, 100, "more") },
					"sync":       func() error { return s.Sync(t.Context()) },
					"checkpoint": func() error { return s.Checkpoint("c") },
				}
				if step := steps[first]; step != nil {
					replaced(first, step())
					for what, step := range steps {
						replaced(what+" again", step())
					}
					for i := range 100 {
						if v, err := m.Get(s, i); err != nil || v != "kept" {
							t.Fatalf("key %d has %q (%v)", i, v, err)
						}
					}
					if err := s.Backup(io.Discard); err != nil {
						t.Errorf("backup: %v", err)
					}
				}
				must(t, beside.Set(other, 1, "others go on"))
				replaced("close", s.Close())
			})
		}
	}
}

// If only the journal was removed, all commits are safe, and the space can be used after it is opened
// again.
func TestErrReplaced_JournalIsMadeGood(t *testing.T) { // F2
	for _, g := range gone() {
		if g.says != "journal" {
			continue
		}
		for _, reboots := range []bool{false, true} {
			t.Run(fmt.Sprint(g.name, ", reboot ", reboots), func(t *testing.T) {
				dir := filepath.Join(t.TempDir(), "s")
				s, m, err := open(dir)
				must(t, err)
				for i := range 100 {
					must(t, m.Set(s, i, "kept"))
				}
				g.do(t, dir)
				expect(t, "sync", s.Sync(t.Context()), nil, everheap.ErrReplaced)
				expect(t, "close", s.Close(), nil, everheap.ErrReplaced)
				if reboots {
					reboot(t, dir)
					if g.name == "journal removed" {
						must(t, os.WriteFile(filepath.Join(dir, "journal"), nil, 0o600)) // as the error of Open advises
					}
				}
				s, m = opened(t, dir)
				holds(t, s, m, 100, "kept")
				work(t, s, m, "new")
				holds(t, s, m, 100, "new")
			})
		}
	}
}
