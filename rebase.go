package everheap

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

// Rebase moves a space that no process has open to another window: the one that begins at
// the address base, a multiple of its size, or, if base is 0, a free one: no registered
// space has it, nor a space that this process has open. Afterwards one process can open a
// copy of a space's directory beside the original. Values, the version, checkpoints and IDs
// stay, so a handle of the one space works in the other. name is that of Open. The registry
// learns the new window if it knows the space.
//
// Rebase writes the new heap beside the old one, and then puts it in its place: a crash at
// any moment leaves the one or the other. It verifies every block on the way. Open waits for
// some seconds meanwhile, and then returns ErrBusy. ctx ends Rebase with ErrBusy, and
// nothing has changed.
//
// Errors: ErrNotFound, ErrBusy (a process has the space open; the error names it),
// ErrCorrupt (nothing has changed), ErrAddressInUse (the registry knows a space there),
// ErrUnsupported (no window can be there), ErrNoSpace, ErrIO.
func Rebase(ctx context.Context, name string, base uint64, opts ...Option) error {
	s := settingsOf(opts)
	dir, err := locate("rebase", name, &s)
	if err != nil {
		return err
	}
	old, size, err := engine.StoredWindow(dir)
	if err != nil {
		return err
	}
	if base == old {
		return nil
	}
	return inOtherWindow("rebase", dir, window{old, size}, window{base, size}, func(base uint64) error {
		return engine.Rebase(ctx, dir, base, s.engine)
	})
}

// inOtherWindow has the space in a directory written anew for another window, the one
// that is wanted, or any of that size if its base is 0. The registry learns of it.
func inOtherWindow(op, dir string, from, to window, write func(base uint64) error) error {
	w := windows{dir: dir, old: from.base}
	err := w.choose(&to)
	if err == nil {
		if err = w.move(from, to); err == nil {
			if err = write(to.base); err == nil {
				return nil
			}
			err = errors.Join(err, w.move(to, from))
		}
	}
	if e := (*failure.OpError)(nil); errors.As(err, &e) {
		return err
	}
	return &failure.OpError{Op: op, Space: filepath.Base(dir), Err: err}
}

// settingsOf adds up options.
func settingsOf(opts []Option) (s settings) {
	for _, o := range opts {
		o.applyOpen(&s)
	}
	return s
}

// locate finds the directory of a space that must be there, as Open does.
func locate(op, name string, s *settings) (string, error) {
	fail := func(err error) (string, error) { return "", &failure.OpError{Op: op, Space: name, Err: err} }
	dir := name
	switch {
	case s.dir != "":
		if err := registry.ValidName(name); err != nil {
			return fail(err)
		}
		dir = filepath.Join(s.dir, name)
	case !strings.ContainsRune(name, filepath.Separator):
		r := registry.Open("")
		entry, found, err := r.Lookup(name)
		if err != nil {
			return fail(err)
		}
		if dir = entry.Dir; !found {
			dir = r.DefaultDir(name)
		}
	}
	if dir == "" {
		return fail(fmt.Errorf("%w: no space of that name is registered", ErrNotFound))
	}
	if _, err := os.Stat(filepath.Join(dir, engine.HeapName)); err != nil {
		if errors.Is(err, os.ErrNotExist) {
			err = fmt.Errorf("%w: there is no space in %s", ErrNotFound, dir)
		}
		return fail(err)
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return fail(err)
	}
	return abs, nil
}

// window is a range of addresses.
type window struct{ base, size uint64 }

// windows is what must be known to give the space in a directory another window.
type windows struct {
	dir     string
	old     uint64           // base of the window that the space has
	entries []registry.Entry // of the registry, as far as it could be read
}

// same reports whether an entry of the registry is of the space.
func (w *windows) same(e registry.Entry) bool {
	if e.Dir == w.dir {
		return true
	}
	a, err := os.Stat(e.Dir)
	if err != nil {
		return false
	}
	b, err := os.Stat(w.dir)
	return err == nil && os.SameFile(a, b)
}

// holder returns the name of another registered space whose window overlaps the one at
// base.
func (w *windows) holder(base, size uint64) string {
	for _, e := range w.entries {
		if e.Size > 0 && base < e.Base+e.Size && e.Base < base+size && !w.same(e) {
			return e.Name
		}
	}
	return ""
}

// choose finds a free place, unless a base is given: then that must be free.
func (w *windows) choose(to *window) (err error) {
	w.entries, _ = registry.Open("").List()
	if to.base == 0 {
		to.base, err = spacefile.PickPlace(to.size, func(base, size uint64) bool {
			return base == w.old || w.holder(base, size) != ""
		})
		return err
	}
	if name := w.holder(to.base, to.size); name != "" {
		return fmt.Errorf("%w: the window at %#x is, or overlaps, that of the registered space %q", ErrAddressInUse, to.base, name)
	}
	return nil
}

// move tells the registry, if it knows the space, of another window. It does so before
// the space has that: so nobody is given it meanwhile. If this process dies in between,
// the next Open by name puts it right.
func (w *windows) move(from, to window) error {
	r := registry.Open("")
	for i, e := range w.entries {
		if !w.same(e) {
			continue
		}
		e.Base, e.Size = to.base, to.size
		if err := r.Register(e); err != nil {
			for _, e := range w.entries[:i] {
				if w.same(e) {
					e.Base, e.Size = from.base, from.size
					err = errors.Join(err, r.Register(e))
				}
			}
			return err
		}
	}
	return nil
}
