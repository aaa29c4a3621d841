package engine

import (
	"context"
	"runtime/debug"

	"github.com/everheap/everheap/internal/collect"
	"github.com/everheap/everheap/internal/failure"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/spacefile"
	"github.com/everheap/everheap/internal/upkeep"
)

// Compact gives space back to the file system while others continue to read and write. It returns
// how many bytes the files took on disk before, and how many they take after.
func (sp *Space) Compact(ctx context.Context) (before, after int64, err error) {
	if err := sp.Enter(); err != nil {
		return 0, 0, err
	}
	defer sp.Exit()
	defer sp.EndGuard(debug.SetPanicOnFault(true), &err)
	if sp.ReadOnly {
		return 0, 0, failure.ErrReadOnly
	}
	if sp.Queue.Mine() {
		return 0, 0, failure.ErrSelf
	}
	before = spacefile.DiskIn(sp.Files.Dir)
	if err = sp.upkeep.Compact(ctx); err == nil {
		err = sp.durable.CompactJournal()
	}
	return before, spacefile.DiskIn(sp.Files.Dir), err
}

// Sweep finds the blocks that no protected version can reach, and returns how many bytes they have.
func (sp *Space) Sweep() (format.ByteCount, error) { return sp.upkeep.Sweep() }

// Claims lists the claims on versions, with what each claim on an older version pins.
func (sp *Space) Claims() ([]upkeep.Claim, error) { return sp.upkeep.Claims() }

// Holds is Claims without what they pin: it walks no version.
func (sp *Space) Holds() ([]upkeep.Claim, error) { return sp.upkeep.Holds() }

// Paint returns a map of the heap: what lies where, and what keeps it. See upkeep.Upkeep.Paint.
func (sp *Space) Paint(most int) (*upkeep.Painting, error) { return sp.upkeep.Paint(most) }

// Collect drops the objects that no name reaches. It returns when all such objects of its start are
// gone, except those that were linked again meanwhile.
func (sp *Space) Collect(ctx context.Context) (collect.Collection, error) {
	return sp.collections.Collect(ctx)
}
