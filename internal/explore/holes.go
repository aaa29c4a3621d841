//go:build explore

package explore

import (
	"fmt"
	"slices"

	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/mapping"
)

// holes is the heap file that all processes have mapped. It records which extents have no
// disk space, and which were marked as holes at the last sync. So it verifies I8 of package
// heap, whatever the file system does.
type holes struct {
	mapping.File
	table  func() []byte // the classes of all extents
	synced []byte        // the same, at the last sync
	gone   map[uint64]bool
	wrong  string // the first violation; "": none
}

// reset forgets a run: the file is as it was before.
func (f *holes) reset() {
	f.synced, f.gone, f.wrong = slices.Clone(f.table()), map[uint64]bool{}, ""
}

// Allocate implements mapping.File.
func (f *holes) Allocate(off, n int64) error {
	err := f.File.Allocate(off, n)
	for e := off >> format.ExtentShift; err == nil && e < (off+n)>>format.ExtentShift; e++ {
		delete(f.gone, uint64(e))
	}
	return err
}

// PunchHole implements mapping.File.
func (f *holes) PunchHole(off, n int64) error {
	table := f.table()
	for e := uint64(off) >> format.ExtentShift; e < uint64(off+n)>>format.ExtentShift; e++ {
		if f.gone[e] = true; f.wrong != "" {
			continue
		}
		if class := format.Class(table[e]); class != format.ClassHole {
			f.wrong = fmt.Sprintf("the space of extent %d is given back, but it is of class %d", e, class)
		} else if class := format.Class(f.synced[e]); class != format.ClassHole {
			f.wrong = fmt.Sprintf("the space of extent %d is given back, but on disk it is of class %d", e, class)
		}
	}
	return f.File.PunchHole(off, n)
}

// Datasync implements mapping.File.
func (f *holes) Datasync() error {
	f.synced = slices.Clone(f.table())
	return f.File.Datasync()
}

// holes verifies that all extents without disk space are marked as holes.
func (r *Run) holes(when string) {
	f := r.world.holes
	if f.wrong != "" {
		r.fail("%s: %s", when, f.wrong)
	}
	table := f.table()
	for e := range f.gone {
		if class := format.Class(table[e]); class != format.ClassHole {
			r.fail("%s: extent %d has no space in the file, and is of class %d", when, e, class)
			return
		}
	}
}
