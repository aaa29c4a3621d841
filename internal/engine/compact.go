package engine

import (
	"context"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/everheap/everheap/internal/spacefile"
)

const (
	compactTries = 200                   // to be the sweeper, and to sweep, while others are at it
	compactPause = 25 * time.Millisecond // between them
	mostAgain    = 3                     // passes for the sake of what lies too far back
	secondTries  = 20                    // to sweep once more, after blocks were moved
)

// Compact gives space back to the file system, while others go on reading and writing, and
// returns what the files took on disk before and take after.
func (sp *Space) Compact(ctx context.Context) (before, after int64, err error) {
	if err := sp.enter(); err != nil {
		return 0, 0, err
	}
	defer sp.views.Add(-1)
	defer sp.endGuard(debug.SetPanicOnFault(true), &err)
	if sp.readOnly {
		return 0, 0, ErrReadOnly
	}
	if sp.queue.mine() {
		return 0, 0, ErrSelf
	}
	before = spacefile.DiskIn(sp.dir.Dir)
	if err = sp.shrinkAll(ctx, compactTries); err == nil {
		err = sp.compactJournal()
	}
	return before, spacefile.DiskIn(sp.dir.Dir), err
}

// tryAgain calls try until it reports true, as long as others may be sweeping.
func tryAgain(ctx context.Context, tries int, try func() (bool, error)) error {
	for range tries {
		if ok, err := try(); ok || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(compactPause):
		}
	}
	return fmt.Errorf("%w: the space cannot be swept, since another process has been writing or sweeping all the time; is it suspended?", ErrBusy)
}
