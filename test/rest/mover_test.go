package rest

import (
	"context"
	"strings"
	"testing"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/internal/engine"
	"github.com/everheap/everheap/internal/inside"
	"github.com/everheap/everheap/internal/invariant"
)

func init() {
	// It makes a space smaller.
	children["compactor"] = func(dir string, _ []string) error {
		s, err := everheap.Open(dir)
		if err == nil {
			_, err = s.Compact(context.Background())
		}
		return err
	}
}

// A process dies that has found blocks to move, and holds their version: a writer without space gets
// the blocks removed since.
func TestHeap_MoverDiesWithWhatAWriterNeeds(t *testing.T) { // RV7
	if !invariant.Enabled {
		t.Skip("the points are there with -tags invariants only")
	}
	const keys, step, big, more = 24_000, 1000, -1, 24
	ctx, value := context.Background(), strings.Repeat("v", 1000)
	s := opened(t, newDir(t), everheap.WithMaxSize(64<<20),
		inside.Option(func(o *engine.Options) { o.Manual = true }).(everheap.Option))
	m, err := everheap.OpenMap[int, string](s, "m")
	must(t, err)
	each := func(do func(tx *everheap.Tx, key int) error) {
		t.Helper()
		for from := 0; from < keys; from += step {
			must(t, s.Update(ctx, func(tx *everheap.Tx) (err error) {
				for key := from; key < from+step && err == nil; key++ {
					err = do(tx, key)
				}
				return err
			}))
		}
	}
	each(func(tx *everheap.Tx, key int) error { return m.Set(tx, key, value) })
	must(t, m.Set(s, big, strings.Repeat("b", 16<<20)))
	each(func(tx *everheap.Tx, key int) (err error) { // a few entries are left in each extent
		if key%40 > 0 {
			_, err = m.Delete(tx, key)
		}
		return err
	})
	mover := start(t, "compactor", s.Stats().Dir, "move.found:1:kill")
	if !wait(mover.gone) || mover.cmd.ProcessState.Success() {
		t.Fatalf("it moves nothing: %v", mover.said(""))
	}
	_, err = m.Delete(s, big)
	must(t, err)
	must(t, s.Update(ctx, func(tx *everheap.Tx) (err error) { // some 16 fit into what was free before
		for i := 1; i <= more && err == nil; i++ {
			err = m.Set(tx, keys+i, strings.Repeat("w", 1<<20))
		}
		return err
	}))
	n, err := m.Len(s)
	if must(t, err); n != keys/40+more {
		t.Errorf("there are %d entries", n)
	}
	whole(t, s)
}
