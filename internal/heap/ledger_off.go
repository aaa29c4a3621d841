//go:build !invariants || !linux

package heap

import (
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/invariant"
)

// Without the tag invariants there is no ledger, and nothing of this is called.

type ledger struct{}

type txnLedger struct{}

func (*txnLedger) begin(*Heap, format.Addr) {}
func (*Txn) noteFreed()                     {}

func (h *Heap) openLedger()                                     { _ = h.ledger }
func (*Heap) forgets(format.Addr)                               {}
func (*Heap) assertFreeExtents(invariant.Event, uint64, uint64) {}
func (*Heap) listed(format.Addr, format.ByteCount)              {}
func (*Heap) took(format.Addr, format.ByteCount)                {}
func (*Heap) tookRun(uint64, uint64)                            {}
func (*Heap) unused(format.Addr, format.ByteCount)              {}
func (*Heap) aborted(format.Addr, format.ByteCount)             {}
func (*Heap) sealed(format.Addr, format.ByteCount)              {}
func (*Heap) settled(format.Addr, format.ByteCount)             {}
func (*Heap) lent(uint64)                                       {}
func (*Heap) unlent(uint64, uint64)                             {}
func (*Heap) reservedAnew(uint64, uint64)                       {}
func (*Heap) cutOff(uint64, uint64)                             {}
func (*Heap) joined(uint64)                                     {}
func (*Heap) cutUp(uint64, format.Class)                        {}
func (*Heap) packed(int, format.Addr, []format.ParcelItem)      {}
func (*Heap) unpacked(format.Addr)                              {}
func (*Heap) acceptedBlock(format.Addr, format.ByteCount)       {}
func (*Heap) acceptedExtents(uint64, uint64)                    {}
func (*Heap) acceptedWaiting(format.Addr, format.ByteCount)     {}
func (*Heap) sparedBatch(format.Addr, []format.ParcelItem)      {}
func (*Heap) swept(format.Addr, format.ByteCount)               {}
func (*Heap) sweptExtents(run)                                  {}
func (*Heap) misfit(format.Addr, format.ByteCount, string)      {}
func (*Heap) refused(int, format.ParcelItem)                    {}
