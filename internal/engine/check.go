package engine

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/everheap/everheap/internal/check"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/heap"
	"github.com/everheap/everheap/internal/live"
)

// mark marks what any protected version can reach. It reports whether there were
// versions besides the current one.
func (sp *Space) mark(marks *heap.Marks) (others bool, err error) {
	var p live.Protected
	sp.live.Protected(&p, sp.heap.VersionOf)
	r := sp.heap.Reader(true)
	for i, state := range p.States {
		if err := check.Mark(&r, state, marks); err != nil {
			return false, fmt.Errorf("sweep of version %d: %w", p.Versions[i], err)
		}
	}
	return len(p.States) > 1, nil
}

// Check verifies everything that the newest version can reach, beside whatever
// else goes on.
func (sp *Space) Check(ctx context.Context) (*check.Report, error) {
	tx, err := sp.View()
	if err != nil {
		return nil, err
	}
	defer tx.EndView()
	r := sp.heap.Reader(true)
	marks := sp.heap.NewMarks(sp.live.Words().Carved.Load())
	report := check.Verify(&r, tx.hold.State, marks, sp.header.Secret)
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return report, nil
}

// HeapFile returns the path of the heap file, and the offset of an address in it.
func (sp *Space) HeapFile(a format.Addr) (string, int64) {
	off := int64(0)
	if uint64(a) >= sp.header.Base {
		off = int64(uint64(a) - sp.header.Base)
	}
	return filepath.Join(sp.dir, HeapName), off
}

// Pinned returns, for each held version but the newest, how many bytes it can
// reach that the newest cannot. It walks both.
func (sp *Space) Pinned(versions []format.Addr) (map[format.Addr]format.ByteCount, error) {
	tx, err := sp.View()
	if err != nil {
		return nil, err
	}
	defer tx.EndView()
	r := sp.heap.Reader(false)
	marks := sp.heap.NewMarks(sp.live.Words().Carved.Load())
	if err := check.Mark(&r, tx.hold.State, marks); err != nil {
		return nil, err
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
