package everheap

import (
	"io"

	"github.com/everheap/everheap/internal/naming"
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
	s := settingsOf(opts)
	return naming.Restore(s.named(name), r, s.engine)
}
