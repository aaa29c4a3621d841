package power

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/everheap/everheap/internal/powercut"
	"github.com/everheap/everheap/internal/spacetest"
)

// rewritten runs a space, and rewrites it between its sessions. It returns the moments of the
// rewritings, each from before a rewriting to after the following session.
func (c *cutRun) rewritten(times, steps int) (moments []int) {
	c.t.Helper()
	names := slices.Sorted(maps.Keys(spacetest.Rewriters))
	c.run(steps)
	for range times {
		before := c.disk.Observe()
		spacetest.Must(c.t, spacetest.Rewriters[names[c.r.IntN(len(names))]](c.dir, c.opts...))
		c.disk.Settle()
		during := c.disk.Observe()
		c.open()
		c.run(steps)
		for m := before; m <= during+2; m++ {
			moments = append(moments, m)
		}
		for range 20 {
			moments = append(moments, during+c.r.IntN(c.disk.Now()-during+1))
		}
	}
	return moments
}

// Power is lost while a space is rewritten, or afterwards: each image is the old file or
// the new one, of the same version.
func TestPowerCut_DuringRewriting(t *testing.T) { // W2, W4
	total := 0
	spacetest.Rounds(t, 2, func(t *testing.T, r *rand.Rand) {
		seed := r.Uint64()
		disk := powercut.New()
		disk.Mapped["heap.new"] = true
		c := newCutRun(t, seed, disk)
		n, err := c.violations(seed, c.rewritten(3, 40), 300)
		total += n
		if err != nil {
			t.Error(err)
		}
	})
	t.Logf("%d images", total)
}

// The test finds a new file that is not synced before the rename.
func TestPowerCut_UnsyncedRewritingIsFound(t *testing.T) {
	for seed := uint64(1); seed <= 6; seed++ {
		disk := powercut.New()
		disk.Mapped["heap.new"] = true
		disk.Swallow = func(name string) bool { return name == "heap.new" }
		c := newCutRun(t, seed, disk)
		if n, err := c.violations(seed, c.rewritten(3, 30), 400); err != nil {
			t.Logf("found after %d images of run %d: %v", n, seed, err)
			return
		}
	}
	t.Error("it was not found")
}

// Power is lost while an open space is compacted again and again.
func TestPowerCut_DuringCompacting(t *testing.T) {
	total := 0
	spacetest.Rounds(t, 2, func(t *testing.T, r *rand.Rand) {
		seed := r.Uint64()
		c := newCutRun(t, seed, powercut.New())
		for i := range 160 {
			if i%10 == 9 {
				key := fmt.Sprint("large/", 1)
				c.begin()
				spacetest.Must(t, c.large.Set(c.space, 1, make([]byte, 300_000))) // something to punch
				c.model.set(key, string(make([]byte, 300_000)))
				c.committed()
				c.begin()
				_, err := c.large.Delete(c.space, 1)
				spacetest.Must(t, err)
				c.model.set(key, "")
				c.committed()
				c.begin() // ending the pin of a restore makes a version
				version := uint64(c.space.Stats().Version)
				_, err = c.space.Compact(context.Background())
				spacetest.Must(t, err)
				c.committed()
				c.acknowledged(version)
			}
			spacetest.Must(t, c.step())
			if i%50 == 49 {
				c.close()
				c.open()
			}
		}
		c.close()
		n, err := c.violations(seed, c.moments(60), 250)
		total += n
		if err != nil {
			t.Error(err)
		}
	})
	t.Logf("%d images", total)
}
