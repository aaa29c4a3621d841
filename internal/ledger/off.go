//go:build !invariants || !linux

package ledger

import (
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/invariant"
	"github.com/everheap/everheap/internal/live"
)

// Without the tag invariants there is no ledger, and nothing calls these methods.

// Ledger is empty.
type Ledger struct{}

// Open is not called.
func (*Ledger) Open() {}

// Forgets is not called.
func (*Ledger) Forgets(format.Addr) {}

// AssertFreeExtents is not called.
func (*Ledger) AssertFreeExtents(invariant.Event, uint64, uint64) {}

// Listed is not called.
func (*Ledger) Listed(format.Addr, format.ByteCount) {}

// Took is not called.
func (*Ledger) Took(format.Addr, format.ByteCount) {}

// TookRun is not called.
func (*Ledger) TookRun(uint64, uint64) {}

// Unused is not called.
func (*Ledger) Unused(format.Addr, format.ByteCount) {}

// Aborted is not called.
func (*Ledger) Aborted(format.Addr, format.ByteCount) {}

// Settled is not called.
func (*Ledger) Settled(format.Addr, format.ByteCount) {}

// Lent is not called.
func (*Ledger) Lent(uint64) {}

// Unlent is not called.
func (*Ledger) Unlent(uint64, uint64) {}

// ReservedAnew is not called.
func (*Ledger) ReservedAnew(uint64, uint64) {}

// CutOff is not called.
func (*Ledger) CutOff(uint64, uint64) {}

// Joined is not called.
func (*Ledger) Joined(uint64) {}

// CutUp is not called.
func (*Ledger) CutUp(uint64, format.Class) {}

// Sealed is not called.
func (*Ledger) Sealed(format.Addr, format.ByteCount) {}

// Freed is not called.
func (*Ledger) Freed(format.Addr, format.ByteCount, format.Version, format.Version) {}

// Packed is not called.
func (*Ledger) Packed(int, format.Addr, []format.BatchItem, func(format.Addr) format.ByteCount) {}

// Unpacked is not called.
func (*Ledger) Unpacked(format.Addr) {}

// AcceptedBlock is not called.
func (*Ledger) AcceptedBlock(format.Addr, format.ByteCount) {}

// AcceptedExtents is not called.
func (*Ledger) AcceptedExtents(uint64, uint64) {}

// AcceptedWaiting is not called.
func (*Ledger) AcceptedWaiting(format.Addr, format.ByteCount) {}

// SparedBatch is not called.
func (*Ledger) SparedBatch(format.Addr, []format.BatchItem) {}

// Swept is not called.
func (*Ledger) Swept(format.Addr, format.ByteCount) {}

// SweptExtents is not called.
func (*Ledger) SweptExtents(uint64, uint64) {}

// Misfit is not called.
func (*Ledger) Misfit(format.Addr, format.ByteCount, string) {}

// Refused is not called.
func (*Ledger) Refused(int, format.BatchItem) {}

// Init is not called.
func (*Ledger) Init(*live.Live, uint64, uint64, uint64, *uint64, format.ByteCount) {}
