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

// mark marks what any version up to the limit, which is held, and protected can
// reach. Later versions need no look: what they reach and the limit does not was
// written above the floor of the sweep. It returns how many of the bytes neither
// the limit nor one of its checkpoints reaches: they become free some time.
//
// A slot can name a version that is not held any more, or not yet: its reader is
// gone since the scan, or still validates. Such a version may be half reclaimed,
// and walking it fails. Then all begins again with nothing marked: a walk that
// stopped has marked nodes whose other children it did not come to.
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

// markVersions marks what the versions up to the limit can reach.
func (u *Upkeep) markVersions(ctx context.Context, p *live.Protected, floor uint64, limit format.Addr) (marks *heap.Marks, passing format.ByteCount, err error) {
	if p.Unknown {
		return nil, 0, errors.New("who reads which version cannot be found out")
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

// whileNeeded is a set of blocks that leads to nothing more once the context has ended.
type whileNeeded struct {
	*heap.Marks
	ctx context.Context
}

// Add implements check.Set.
func (s whileNeeded) Add(a format.Addr) bool { return s.ctx.Err() == nil && s.Marks.Add(a) }

// Pinned returns, for each held version but the newest, how many bytes it can
// reach that neither the newest nor a checkpoint can. It walks all of them.
func (u *Upkeep) Pinned(versions []format.Addr) (pinned map[format.Addr]format.ByteCount, err error) {
	err = u.Look(func(newest format.Addr) error {
		pinned, err = u.pinnedBeside(newest, versions)
		return err
	})
	return pinned, err
}

// pinnedBeside is Pinned, if the newest version is held.
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
			continue // the version was let go meanwhile
		}
		pinned[state] = own.Bytes - before
	}
	return pinned, nil
}
