package naming

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/everheap/everheap/internal/engine"
	"github.com/everheap/everheap/internal/failure"
	"github.com/everheap/everheap/internal/spacefile"
	"github.com/everheap/everheap/registry"
)

// Compact rewrites the space with a name as small as possible. No process may have the space open. It
// returns the sizes of its files before and after.
func Compact(ctx context.Context, name Name, o engine.Options) (before, after int64, err error) {
	dir, err := locate("compact", name)
	if err != nil {
		return 0, 0, err
	}
	return engine.Compact(ctx, dir, o)
}

// Rebase moves the space with a name to the window of the same size that begins at base, or to a free
// window if base is 0. No process may have the space open.
func Rebase(ctx context.Context, name Name, base uint64, o engine.Options) error {
	dir, err := locate("rebase", name)
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
		return engine.Rebase(ctx, dir, base, o)
	})
}

// Resize changes the maximum size of the space with a name to a number of bytes. If the window
// has too few addresses, it gives the space a larger one: then no process may have it open.
func Resize(ctx context.Context, name Name, bytes uint64, o engine.Options) error {
	o.MaxSize = 0
	dir, err := locate("resize", name)
	if err != nil {
		return err
	}
	base, size, err := engine.StoredWindow(dir)
	if err != nil {
		return err
	}
	if bytes > size {
		return enlarge(ctx, dir, window{base, size}, bytes, o)
	}
	o.MustExist = true
	e, err := engine.OpenContext(ctx, dir, o)
	if err != nil {
		return err
	}
	return errors.Join(e.Resize(ctx, bytes), e.Close())
}

// enlarge moves the closed space in a directory to a larger window.
func enlarge(ctx context.Context, dir string, from window, bytes uint64, o engine.Options) error {
	size, err := engine.WindowSize(bytes)
	if err != nil {
		return &failure.OpError{Op: "resize", Space: filepath.Base(dir), Err: err}
	}
	return inOtherWindow("resize", dir, from, window{size: size}, func(base uint64) error {
		return engine.Resize(ctx, dir, bytes, base, size, o)
	})
}

// inOtherWindow calls write to rewrite the space in a directory for the window to, or for any free
// window of that size if its base is 0. It keeps the registry up to date.
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

// window is a range of addresses.
type window struct{ base, size uint64 }

// windows has all that is needed to choose another window for the space in a directory.
type windows struct {
	dir     string
	old     uint64           // base of the window that the space has
	entries []registry.Entry // the registry's entries, if it could be read
}

// same reports whether an entry of the registry is the entry of the space.
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

// holder returns the name of another registered space whose window overlaps the window at base.
func (w *windows) holder(base, size uint64) string {
	for _, e := range w.entries {
		if e.Size > 0 && base < e.Base+e.Size && e.Base < base+size && !w.same(e) {
			return e.Name
		}
	}
	return ""
}

// choose sets to.base to a free window if it is 0; else it verifies that the window is free.
func (w *windows) choose(to *window) (err error) {
	w.entries, _ = registry.Open("").List()
	if to.base == 0 {
		to.base, err = spacefile.PickPlace(to.size, func(base, size uint64) bool {
			return base == w.old || w.holder(base, size) != ""
		})
		return err
	}
	if name := w.holder(to.base, to.size); name != "" {
		return fmt.Errorf("%w: the window at %#x is, or overlaps, that of the registered space %q", failure.ErrAddressInUse, to.base, name)
	}
	return nil
}

// move changes the window of the space in the registry, if the space is registered. It does so before
// the space moves, so that no other space is given that window meanwhile. If this process dies in
// between, the next Open by name corrects the registry.
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
