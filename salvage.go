package everheap

import (
	"io"
	"time"

	"github.com/everheap/everheap/internal/engine"
	"github.com/everheap/everheap/internal/format"
)

// SalvageReport says what Salvage has got out of a damaged space, and what not.
type SalvageReport struct {
	Version   Version   // that was got out
	Committed time.Time // zero: nothing tells
	Found     string    // how that version was found
	Objects   uint64    // collections and types, the space's own included
	Entries   uint64    // of all collections in that version, the space's own included
	Changes   uint64    // that the journal had of later versions
	// Named counts collections that nothing leads to any more, by a name or by a
	// handle: they have new names, salvaged-N.
	Named    uint64
	Lost     uint64    // things that could not be got out; 0: everything is there
	Findings []Finding // those, at most a thousand, and other damage
}

// Salvage writes everything that can still be read of the space in a directory, as a
// backup that RestoreBackup takes, and reports what could not be read. It is for
// spaces that cannot be opened any more, or of which Check or Backup says that they
// are damaged. The space is only read; no process may have it open.
//
// Blocks that do not verify are left out, with what only they lead to. The version is
// the newest one of which the least is missing: that is looked for in the anchors, and
// without them in the whole file. What the journal knows of later versions is applied.
// A collection whose type is lost is lost; checkpoints are not looked at.
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
		f := Finding{File: l.File, Offset: l.Offset, What: l.What}
		if l.Object != 0 {
			f.Object = ID(format.MakeID(r.Tag, l.Object))
		}
		report.Findings = append(report.Findings, f)
	}
	return report, nil
}
