package naming

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"

	"github.com/everheap/everheap/internal/engine"
	"github.com/everheap/everheap/internal/failure"
	"github.com/everheap/everheap/registry"
)

// Restore creates the space with a name from the stream of a backup, and closes it.
func Restore(name Name, r io.Reader, o engine.Options) error {
	entries, err := registry.Open("").List()
	if err == nil { // else the registered windows are unknown
		o.Taken = windowsOf(entries)
	}
	switch {
	case name.Dir != "":
		if err := registry.ValidName(name.Text); err != nil {
			return err
		}
		return engine.Restore(filepath.Join(name.Dir, name.Text), r, o, nil)
	case name.isDirectory():
		return engine.Restore(name.Text, r, o, nil)
	}
	return restoreRegistered(name.Text, r, o)
}

// restoreRegistered restores a space under a registered or a new name. It registers the space only
// after the restore: no process finds the space before, and an error leaves nothing behind.
func restoreRegistered(name string, r io.Reader, o engine.Options) error {
	fail := func(err error) error { return &failure.OpError{Op: "restore", Space: name, Err: err} }
	if err := registry.ValidName(name); err != nil {
		return fail(err)
	}
	reg := registry.Open("")
	entry, found, err := reg.Lookup(name)
	if err != nil {
		return fail(err)
	}
	dir := reg.DefaultDir(name)
	if found {
		dir = entry.Dir // if the directory has no space any more
	}
	if dir == "" {
		return fail(fmt.Errorf("no home for the registry: set EVERHEAP_HOME, or give a directory such as ./%s", name))
	}
	return engine.Restore(dir, r, o, func(base, size uint64, place func() error) error {
		pick := func(func(base, size uint64) bool) (uint64, error) { return base, nil }
		err := reg.Reserve(name, dir, size, pick, func(uint64) error { return place() })
		if window := (*registry.WindowError)(nil); errors.As(err, &window) {
			err = fmt.Errorf("another space took the window meanwhile; restore again: %w", err)
		}
		return err
	})
}
