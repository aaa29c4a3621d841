package upkeep

import (
	"context"
	"errors"
	"fmt"

	"github.com/everheap/everheap/internal/check"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/heap"
	"github.com/everheap/everheap/internal/live"
)

// mark marks everything that a protected version can reach, up to the limit, which is held. It need
// not look at later versions: a block that they reach and the limit does not was written above the
// floor of the sweep. mark returns how many of the bytes are reached neither by the limit nor by
// one of its checkpoints: these become free some time.
//
// A slot can name a version that is not held any more, or not yet: its reader has left since the
// scan, or has not validated yet. Such a version may be partly reclaimed, and then walking it
// fails. In this case mark starts again with nothing marked: the failed walk has marked nodes whose
// other children it did not reach.
func (u *Upkeep) mark(ctx context.Context, floor uint64, limit format.Addr) (marks *heap.Marks, passing format.ByteCount, err error) {
	for range markTries {
		var p live.Protected
		u.Live.Protected(&p, u.Heap)
		if marks, passing, err = u.markVersions(ctx, &p, floor, limit); err == nil {
			return marks, passing, nil
		}
		if ctx.Err() != nil {
			break
		}
	}
	return nil, 0, err
}

const markTries = 3

// markVersions marks everything that the versions up to the limit can reach.
func (u *Upkeep) markVersions(ctx context.Context, p *live.Protected, floor uint64, limit format.Addr) (marks *heap.Marks, passing format.ByteCount, err error) {
	if p.Unknown {
		return nil, 0, errors.New("the versions that guests read cannot be determined")
	}
	marks = u.Heap.NewMarks(floor)
	set := whileNeeded{marks, ctx}
	last := u.Heap.VersionOf(limit)
	r := u.Heap.Reader(true)
	lasting := []format.Addr{limit}
	u.Heap.Pins(limit, func(state format.Addr, _ format.Version) { lasting = append(lasting, state) })
	for _, state := range lasting {
		if err := check.Mark(&r, state, set); err != nil {
			return nil, 0, fmt.Errorf("sweep of version %d: %w", u.Heap.VersionOf(state), err)
		}
	}
	before := marks.Bytes
	for i, state := range p.States {
		if p.Versions[i] > last {
			break
		}
		if err := check.Mark(&r, state, set); err != nil {
			return nil, 0, fmt.Errorf("sweep of version %d: %w", p.Versions[i], err)
		}
	}
	if err := ctx.Err(); err != nil {
		return nil, 0, err
	}
	return marks, marks.Bytes - before, nil
}

// whileNeeded is a set of blocks that ends a walk once the context has ended.
type whileNeeded struct {
	*heap.Marks
	ctx context.Context
}

// Add implements check.Set.
func (s whileNeeded) Add(a format.Addr) bool { return s.ctx.Err() == nil && s.Marks.Add(a) }

// Pinned returns, for each held version but the newest, how many bytes it can reach that neither
// the newest version nor a checkpoint can reach. It walks all of them.
func (u *Upkeep) Pinned(versions []format.Addr) (pinned map[format.Addr]format.ByteCount, err error) {
	err = u.Look(func(newest format.Addr) error {
		pinned, err = u.pinnedBeside(newest, versions)
		return err
	})
	return pinned, err
}

// pinnedBeside is Pinned while the newest version is held.
func (u *Upkeep) pinnedBeside(newest format.Addr, versions []format.Addr) (map[format.Addr]format.ByteCount, error) {
	r := u.Heap.Reader(false)
	marks := u.Heap.NewMarks(u.Live.Carved())
	lasting := []format.Addr{newest}
	u.Heap.Pins(newest, func(state format.Addr, _ format.Version) { lasting = append(lasting, state) })
	for _, state := range lasting {
		if err := check.Mark(&r, state, marks); err != nil {
			return nil, err
		}
	}
	pinned := map[format.Addr]format.ByteCount{}
	for _, state := range versions {
		before := marks.Bytes
		own := marks.Clone()
		if err := check.Mark(&r, state, own); err != nil {
			continue // the reader released the version meanwhile
		}
		pinned[state] = own.Bytes - before
	}
	return pinned, nil
}
