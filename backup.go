package everheap

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/everheap/everheap/internal/engine"
	"github.com/everheap/everheap/registry"
)

// Backup writes the newest version of the space to w, as a stream that does not
// depend on where the space lies, and from which RestoreBackup makes it again. Others
// go on reading and writing meanwhile: Backup is a View, so what it sees stays in the
// file until it ends. It needs little memory, whatever the size of the space.
//
// Checkpoints are not part of a backup. All that it reads it verifies. After an error the stream is not whole, and no
// restore takes it. Errors: those of w, ErrCorrupt (see Salvage), ErrFault, ErrClosed.
func (s *Space) Backup(w io.Writer) error {
	if s.closed.Load() {
		return s.wrap("backup", ErrClosed)
	}
	e, err := s.engine.View()
	if err != nil {
		return s.wrap("backup", err)
	}
	end := func() error { e.DropView(); return nil }
	return s.wrap("backup", run(&Tx{engine: e, space: s}, func(*Tx) error { return e.Backup(w) }, end, e.DropView))
}

// RestoreBackup makes a new space from what Backup or Salvage wrote: one with a
// registered name, or in a directory, as Open would create it. It is closed
// afterwards, and on disk.
//
// Objects have the IDs that they had, so handles stored in values keep their meaning,
// and so do handles that programs have kept. The space is another one all the same,
// with an id and a window of its own; the size of the window is that of the original,
// unless WithMaxSize says otherwise.
//
// There is a new space when all of r was read and verified, or none: a stream that
// was cut or altered, or that is no backup, is ErrCorrupt and leaves nothing behind.
// Where a space is already, or anything else, the error is ErrExists, and that is
// not touched. Other errors: those of r, ErrNoSpace, ErrUnsupported, ErrIO.
func RestoreBackup(name string, r io.Reader, opts ...Option) error {
	var s settings
	for _, o := range opts {
		o.applyOpen(&s)
	}
	entries, err := registry.Open("").List()
	if err == nil { // else its windows are not known
		s.engine.Taken = windowsOf(entries)
	}
	switch {
	case s.dir != "":
		if err := registry.ValidName(name); err != nil {
			return err
		}
		return engine.Restore(filepath.Join(s.dir, name), r, s.engine, nil)
	case strings.ContainsRune(name, filepath.Separator):
		return engine.Restore(name, r, s.engine, nil)
	}
	return restoreNamed(name, r, s.engine)
}

// restoreNamed restores a space that is registered, or is to be. It is registered
// when it is there: nobody finds it before, and nothing is left of it after an error.
func restoreNamed(name string, r io.Reader, o engine.Options) error {
	fail := func(err error) error { return &engine.OpError{Op: "restore", Space: name, Err: err} }
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
		dir = entry.Dir // if there is nothing any more
	}
	if dir == "" {
		return fail(fmt.Errorf("no home for the registry: set EVERHEAP_HOME, or give a directory such as ./%s", name))
	}
	return engine.Restore(dir, r, o, func(base, size uint64, place func() error) error {
		pick := func(func(base, size uint64) bool) (uint64, error) { return base, nil }
		err := reg.Reserve(name, dir, size, pick, func(uint64) error { return place() })
		if window := (*registry.WindowError)(nil); errors.As(err, &window) {
			err = fmt.Errorf("another space got the window meanwhile; restore again: %w", err)
		}
		return err
	})
}

// windowsOf returns a function that says whether a window is that of a registered
// space.
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
