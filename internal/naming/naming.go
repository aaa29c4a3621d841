// Package naming finds the directory of a space by its name, in the registry. It also keeps the
// registry's windows correct when it opens, creates, restores or moves a space.
//
// Start reading at Open, then inOtherWindow.
package naming

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/everheap/everheap/internal/engine"
	"github.com/everheap/everheap/internal/failure"
	"github.com/everheap/everheap/internal/spacefile"
	"github.com/everheap/everheap/registry"
)

// Name is the name by which a program opens a space.
type Name struct {
	Text string // a registered name, or a directory if it contains a path separator
	Dir  string // if not "", the space is in Dir/Text, and the registry is not asked
}

// Open opens the space with a name, and creates it if it does not exist. An unregistered name
// gets a directory beside the registry, and is registered.
func Open(ctx context.Context, name Name, o engine.Options) (*engine.Space, error) {
	switch {
	case name.Dir != "":
		if err := registry.ValidName(name.Text); err != nil {
			return nil, err
		}
		return engine.OpenContext(ctx, filepath.Join(name.Dir, name.Text), o)
	case name.isDirectory():
		return openDirectory(ctx, name.Text, o)
	}
	return openRegistered(ctx, name.Text, o)
}

// isDirectory reports whether the name is the path of a directory.
func (n Name) isDirectory() bool { return strings.ContainsRune(n.Text, filepath.Separator) }

// openDirectory opens a space that need not be registered. If it creates the space, the window avoids
// those of registered spaces, as far as the registry can be read.
func openDirectory(ctx context.Context, dir string, o engine.Options) (*engine.Space, error) {
	if entries, err := registry.Open("").List(); err == nil {
		o.Taken = windowsOf(entries)
	}
	return engine.OpenContext(ctx, dir, o)
}

// openRegistered opens a space by its name, and registers a new one.
func openRegistered(ctx context.Context, name string, o engine.Options) (*engine.Space, error) {
	fail := func(err error) (*engine.Space, error) { return nil, failure.OfOpen(name, err) }
	if err := engine.Supported(); err != nil { // before the registry is touched
		return fail(err)
	}
	if err := registry.ValidName(name); err != nil {
		return fail(err)
	}
	r := registry.Open("").WithContext(ctx)
	entry, found, err := r.Lookup(name)
	if err != nil {
		return fail(err)
	}
	if found {
		o.MustExist = true
		e, err := engine.OpenContext(ctx, entry.Dir, o)
		if err == nil {
			correct(r, entry, e)
		}
		if errors.Is(err, failure.ErrNotFound) {
			return fail(fmt.Errorf("%w: %q is registered in %s, but no space is there; if it was moved: everheap adopt NEWDIR %s; if it is gone: everheap forget %s",
				failure.ErrNotFound, name, entry.Dir, name, name))
		}
		return e, err
	}
	dir := r.DefaultDir(name)
	if dir == "" {
		return fail(fmt.Errorf("no home for the registry: set EVERHEAP_HOME, or give a directory such as ./%s", name))
	}
	if base, size, err := engine.StoredWindow(dir); err == nil { // the space exists: a crash came before it was registered
		if err := r.Register(registry.Entry{Name: name, Dir: dir, Base: base, Size: size}); err != nil {
			return fail(err)
		}
		return engine.OpenContext(ctx, dir, o)
	}
	if o.ReadOnly {
		return fail(fmt.Errorf("%w: no space of that name is registered", failure.ErrNotFound))
	}
	return createRegistered(ctx, r, name, dir, o)
}

// correct updates the window of a space in the registry if it is wrong there: a crash may have come
// between the change of the window and the change of the registry. correct ignores errors; the next
// Open tries again. The registry only helps to keep windows apart.
func correct(r *registry.Registry, entry registry.Entry, e *engine.Space) {
	if base, size := e.Window(); entry.Base != 0 && (base != entry.Base || size != entry.Size) {
		entry.Base, entry.Size = base, size
		_ = r.Register(entry)
	}
}

// createRegistered creates a space and registers it.
func createRegistered(ctx context.Context, r *registry.Registry, name, dir string, o engine.Options) (e *engine.Space, err error) {
	size, err := engine.WindowSize(o.MaxSize)
	if err != nil {
		return nil, failure.OfOpen(name, err)
	}
	place := func(taken func(base, size uint64) bool) (uint64, error) {
		return spacefile.PickPlace(size, taken)
	}
	create := func(base uint64) error {
		o.Base = base
		e, err = engine.OpenContext(ctx, dir, o)
		return err
	}
	if err := r.Reserve(name, dir, size, place, create); err != nil {
		if e != nil {
			e.Close()
		}
		if found, ok, lookErr := r.Lookup(name); lookErr == nil && ok { // another process was faster
			o.MustExist = true
			return engine.OpenContext(ctx, found.Dir, o)
		}
		return nil, failure.OfOpen(name, err)
	}
	return e, nil
}

// windowsOf returns a function that reports whether a window overlaps that of a registered space.
func windowsOf(entries []registry.Entry) func(base, size uint64) bool {
	return func(base, size uint64) bool {
		for _, e := range entries {
			if e.Size > 0 && base < e.Base+e.Size && e.Base < base+size {
				return true
			}
		}
		return false
	}
}

// locate returns the absolute directory of an existing space, by its name.
func locate(op string, name Name) (string, error) {
	fail := func(err error) (string, error) { return "", &failure.OpError{Op: op, Space: name.Text, Err: err} }
	dir := name.Text
	switch {
	case name.Dir != "":
		if err := registry.ValidName(name.Text); err != nil {
			return fail(err)
		}
		dir = filepath.Join(name.Dir, name.Text)
	case !name.isDirectory():
		r := registry.Open("")
		entry, found, err := r.Lookup(name.Text)
		if err != nil {
			return fail(err)
		}
		if dir = entry.Dir; !found {
			dir = r.DefaultDir(name.Text)
		}
	}
	if dir == "" {
		return fail(fmt.Errorf("%w: no space of that name is registered", failure.ErrNotFound))
	}
	if _, err := os.Stat(filepath.Join(dir, engine.HeapName)); err != nil {
		if errors.Is(err, os.ErrNotExist) {
			err = fmt.Errorf("%w: there is no space in %s", failure.ErrNotFound, dir)
		}
		return fail(err)
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return fail(err)
	}
	return abs, nil
}
