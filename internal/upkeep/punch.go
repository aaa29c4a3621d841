package upkeep

import (
	"context"

	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/invariant"
)

// punch gives the space of the free extents below an offset back to the file system, unless other
// processes take these extents.
func (u *Upkeep) punch(ctx context.Context, below uint64) (err error) {
	defer func() {
		listErr := u.withLists(context.Background(), func() {
			u.Heap.ReturnAside()
			u.Heap.GiveBack(false)
		})
		if err == nil {
			err = listErr
		}
	}()
	var marked format.ByteCount
	if err := u.asSweeper(ctx, func() { marked = u.Heap.MarkHoles(below) }); err != nil {
		return err
	}
	if marked == 0 {
		return nil
	}
	if err := u.durable.WriteAnchor(nil, true); err != nil { // this syncs the marks with everything else
		return err
	}
	invariant.Point("punch.synced")
	for first, more := true, true; more; first = false {
		var punchErr error
		if err := u.asSweeper(ctx, func() {
			if first {
				u.Heap.TakeAside(below)
			}
			more, punchErr = u.Heap.PunchAside()
		}); err != nil {
			return err
		}
		if punchErr != nil {
			return punchErr
		}
	}
	return u.durable.Refused()
}
