package windows

import (
	"fmt"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/internal/invariant"
	"github.com/everheap/everheap/internal/proctest"
)

// try stops a victim at a point, at the given number of passes, runs the programme of the others, and
// wakes it.
func try(t *testing.T, w window, times int, seed uint64) {
	o := &others{t: t, dir: filepath.Join(t.TempDir(), "s"), r: rand.New(rand.NewPCG(seed, uint64(times)))}
	s, err := everheap.Open(o.dir, everheap.WithMaxSize(maxSizes[0]))
	must(t, err)
	o.open()
	must(t, s.Close())
	o.update(o.w.found)
	o.rewrite(1)
	var provoker *proctest.Proc
	if w.after != "" { // another process is suspended, or dies, with a lock
		provoker = proctest.Start(t, "holder", o.dir, nil)
		provoker.Hear("holds")
		provoker.Stop()
	}
	v := proctest.Start(t, "victim "+w.work, o.dir, func(c *exec.Cmd) {
		c.Env = append(c.Env, fmt.Sprintf("EVERHEAP_POINT=%s:%d:stop", w.point, times))
	})
	if w.after == "death" { // and only the victim is there to notice it
		v.Hear("begun")
		must(t, o.s.Close())
		provoker.Kill()
	}
	comes := proctest.Wait(func() bool {
		if w.beside { // the victim needs other writers
			o.rewrite(1)
		}
		return v.Still() || v.Gone()
	})
	if !comes || v.Gone() {
		t.Fatalf("the victim does not reach %s; it wrote %q", w.point, v.Said("fail"))
	}
	if w.after == "death" {
		o.open()
	}
	o.programme()
	o.check(acknowledged(v))
	t.Logf("beside one that stands still the slowest took %v: %s", o.slowest, o.which)
	v.Resume()
	if provoker != nil && !provoker.Gone() {
		provoker.Kill()
	}
	did := len(v.Said("did"))
	if !proctest.Wait(func() bool { return len(v.Said("did")) > did+3 || v.Gone() }) {
		t.Fatalf("the victim does not continue")
	}
	o.programme() // both use the blocks that they believe to own
	v.Tell("end")
	v.Ends()
	o.ends(acknowledged(v))
}

// acknowledged returns the newest acknowledged transaction of a victim.
func acknowledged(v *proctest.Proc) map[string]int {
	told := map[string]int{}
	for _, line := range v.Said("ack") {
		var process string
		var n int
		if _, err := fmt.Sscan(line, &process, &n); err == nil {
			told[process] = n
		}
	}
	return told
}

func TestWindows(t *testing.T) {
	if !invariant.Enabled {
		t.Skip("the points are there with -tags invariants only")
	}
	for i, w := range windows {
		if w.elsewhere != "" || testing.Short() && i%3 != 0 {
			continue
		}
		t.Run(w.point, func(t *testing.T) {
			t.Parallel() // it mostly waits
			times := []int{1, 4}
			if w.once || testing.Short() {
				times = times[:1]
			}
			for _, n := range times {
				t.Run(fmt.Sprint(n), func(t *testing.T) { try(t, w, n, 1) })
			}
		})
	}
}

// Windows at random passes, for as long as there is time.
func TestWindows_Soak(t *testing.T) {
	if !invariant.Enabled || *soakFlag == 0 {
		t.Skip("it takes -tags invariants, and -everheap.soak")
	}
	seed := uint64(time.Now().UnixNano())
	r := rand.New(rand.NewPCG(seed, 1))
	for began := time.Now(); time.Since(began) < *soakFlag && !t.Failed(); seed++ {
		w := windows[r.IntN(len(windows))]
		if w.elsewhere != "" {
			continue
		}
		times := 1 + r.IntN(12)
		if w.once {
			times = 1
		}
		t.Run(fmt.Sprintf("%s:%d:%d", w.point, times, seed), func(t *testing.T) { try(t, w, times, seed) })
	}
}

// Every point has a window, and every window has an argument.
func TestWindows_AreAll(t *testing.T) {
	known := map[string]bool{}
	for _, w := range windows {
		known[w.point] = true
		if w.meanwhile == "" || w.right == "" {
			t.Errorf("%s: the row does not say what others may have done, or why the next step is right", w.point)
		}
		if w.elsewhere == "" && works[w.work] == nil {
			t.Errorf("%s: there is no work %q", w.point, w.work)
		}
		if w.elsewhere != "" && !strings.Contains(w.elsewhere, "Test") {
			t.Errorf("%s: no test is named", w.point)
		}
	}
	for _, point := range invariant.Points {
		if !known[point] {
			t.Errorf("the point %s has no window", point)
		}
	}
}
