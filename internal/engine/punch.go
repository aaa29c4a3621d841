package engine

import (
	"context"

	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/invariant"
)

// punch gives the space of the free extents below an offset back to the file system, as
// far as they stay this process's.
func (sp *Space) punch(ctx context.Context, below uint64) (err error) {
	defer func() {
		listErr := sp.withLists(context.Background(), func() {
			sp.Heap.ReturnAside()
			sp.Heap.GiveBack(false)
		})
		if err == nil {
			err = listErr
		}
	}()
	var marked format.ByteCount
	if err := sp.asSweeper(ctx, func() { marked = sp.Heap.MarkHoles(below) }); err != nil {
		return err
	}
	if marked == 0 {
		return nil
	}
	if err := sp.durable.WriteAnchor(nil, true); err != nil { // the marks are on disk with all else
		return err
	}
	invariant.Point("punch.synced")
	for first, more := true, true; more; first = false {
		var punchErr error
		if err := sp.asSweeper(ctx, func() {
			if first {
				sp.Heap.TakeAside(below)
			}
			more, punchErr = sp.Heap.PunchAside()
		}); err != nil {
			return err
		}
		if punchErr != nil {
			return punchErr
		}
	}
	return sp.durable.Refused()
}
