package everheap

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/everheap/everheap/internal/engine"
	"github.com/everheap/everheap/internal/failure"
	"github.com/everheap/everheap/registry"
)

// Backup writes the newest version of the space to w, as a stream that does not depend on
// where the space lies; RestoreBackup creates a space from it. Others continue to read and
// write: Backup is a View, so the file keeps what it sees until it ends. It needs little
// memory, whatever the size of the space.
//
// A backup has no checkpoints. Backup verifies everything it reads. After an error the
// stream is incomplete, and RestoreBackup refuses it. Errors: those of w, ErrCorrupt (see
// Salvage), ErrFault, ErrClosed.
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

// RestoreBackup creates a space from what Backup or Salvage wrote, under a registered name
// or in a directory, as Open would create it. The space is closed afterwards, and on disk.
//
// Objects keep their IDs, so handles in stored values keep their meaning, and so do handles
// that programs have kept. It is another space all the same, with an id and a window of its
// own; the window is as large as that of the original, unless WithMaxSize says otherwise.
//
// The new space exists when all of r was read and verified, or not at all: a stream that was
// cut or altered, or that is no backup, is ErrCorrupt and leaves nothing behind. If the
// place holds a space or anything else, the error is ErrExists, and RestoreBackup does not
// touch it. Other errors: those of r, ErrNoSpace, ErrUnsupported, ErrIO.
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
