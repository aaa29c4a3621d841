package everheap

import (
	"io"
	"time"

	"github.com/everheap/everheap/internal/engine"
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
	return s.ifOpen("backup", func() error {
		e, err := s.engine.View()
		return s.viewIn(e, err, func(*Tx) error { return e.Backup(w) })
	})
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

// SalvageReport says what Salvage read from a damaged space, and what it could not read.
type SalvageReport struct {
	Version   Version   // the version that was read
	Committed time.Time // zero: unknown
	Found     string    // how that version was found
	Objects   uint64    // collections and types, the space's own included
	Entries   uint64    // of all collections in that version, the space's own included
	Changes   uint64    // that the journal had of later versions
	// Named counts collections that have lost their names, and that no handle reaches:
	// they get new names, salvaged-N.
	Named    uint64
	Lost     uint64    // pieces that could not be read; 0: the backup is complete
	Findings []Finding // those, at most a thousand, and other damage
}

// Salvage writes everything readable of the space in a directory, as a backup for
// RestoreBackup, and reports what it could not read. Use it for a space that cannot be
// opened any more, or that Check or Backup found damaged. Salvage only reads the space; no
// process may have it open.
//
// It leaves out blocks that do not verify, with what only they lead to. It chooses the
// newest version that lacks the least, from the anchors, or without them from the whole
// file, and applies what the journal has of later versions. A collection whose type is lost
// is lost; checkpoints are ignored.
//
// Errors: those of w, ErrNotFound, ErrBusy, and ErrCorrupt if no version is left.
func Salvage(dir string, w io.Writer) (SalvageReport, error) {
	r, err := engine.Salvage(dir, w)
	if err != nil {
		return SalvageReport{}, err
	}
	report := SalvageReport{Version: Version(r.Version), Committed: r.Committed, Found: r.Found,
		Objects: r.Objects, Entries: r.Entries, Changes: r.Changes, Named: r.Named, Lost: r.Lost}
	for _, l := range r.Findings {
		report.Findings = append(report.Findings, finding(l.File, l.Offset, r.Tag, l.Object, l.What))
	}
	return report, nil
}
