package crash

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/internal/invariant"
	"github.com/everheap/everheap/internal/spacetest"
)

// A rewriting child rewrites a closed space, in the way that its work names.
func init() { spacetest.Children["rewrite"] = rewriteChild }

func rewriteChild() int {
	c := spacetest.NewInChild()
	switch err := spacetest.Rewriters[c.Work](c.Dir); {
	case errors.Is(err, everheap.ErrBusy):
		spacetest.Say("busy")
	case err != nil:
		return spacetest.Failed(c.Work, err)
	default:
		spacetest.Say("rewritten")
	}
	return 0
}

// A killedSpace is a space whose users are all killed, with its expected contents.
type killedSpace struct {
	t    *testing.T
	dir  string
	want string // number of entries
}

// use lets a process commit to the space without writing to the disk, and kills it.
func (k *killedSpace) use() {
	k.t.Helper()
	c := spacetest.StartChild(k.t, "unflushed", spacetest.Env(k.dir, 1, "", 1)...)
	k.want = c.AwaitLine("committed")
	c.Kill()
}

// rewrite starts a process that rewrites the space.
func (k *killedSpace) rewrite(how string, more ...string) *spacetest.Child {
	return spacetest.StartChild(k.t, "rewrite", append(spacetest.Env(k.dir, 1, how, 1), more...)...)
}

// verify opens the space and verifies its contents.
func (k *killedSpace) verify() {
	k.t.Helper()
	s, err := everheap.Open(k.dir, everheap.WithVerify())
	spacetest.Must(k.t, err)
	m := spacetest.MapOf[int, string](k.t, s)
	if n, err := m.Len(s); fmt.Sprint(n) != k.want || err != nil {
		k.t.Errorf("%d entries, %v; %s were committed", n, err, k.want)
	}
	for i := range 1000 {
		if got, err := m.Get(s, i); err != nil || got != strings.Repeat(fmt.Sprint(i), i%50) {
			k.t.Fatalf("entry %d is %q, %v", i, got, err)
		}
	}
	spacetest.VerifyContents(k.t, s)
	spacetest.VerifyPinned(k.t, s)
	spacetest.CheckSpace(k.t, s)
	spacetest.Must(k.t, s.Close())
	if _, err := os.Stat(filepath.Join(k.dir, "heap.new")); err == nil {
		k.t.Error("a new file was left behind")
	}
}

func newKilledSpace(t *testing.T) *killedSpace {
	t.Helper()
	k := &killedSpace{t: t, dir: filepath.Join(t.TempDir(), "s")}
	s, err := everheap.Open(k.dir, everheap.WithMaxSize(spacetest.TestWindow))
	spacetest.Must(t, err)
	spacetest.WriteContents(t, s)
	spacetest.PinContents(t, s)
	spacetest.Must(t, s.Close())
	return k
}

// A process that rewrites a space dies at each point of that, once or several times: the space is the
// old one or the new one, and has the commits that were never written to the disk. The next process
// removes the files left behind.
func TestKill_WhileRewriting(t *testing.T) { // W1, W2
	if !invariant.Enabled {
		t.Skip("the points are there with -tags invariants only")
	}
	for _, how := range slices.Sorted(maps.Keys(spacetest.Rewriters)) {
		t.Run(how, func(t *testing.T) {
			k := newKilledSpace(t)
			for _, point := range invariant.Points {
				if !rewrites(point) {
					continue
				}
				for times := 1; times <= 3; times++ {
					k.use()
					for range times {
						c := k.rewrite(how, "EVERHEAP_POINT="+point+":1:kill")
						c.Await("its death at "+point, c.Gone)
						if !c.WasKilled() {
							t.Errorf("the child did not pass the point %s", point)
						}
					}
					if times == 3 {
						c := k.rewrite(how)
						c.AwaitLine("rewritten")
						c.Await("its end", c.Gone)
					}
					k.verify()
					if t.Failed() {
						t.Fatalf("after %d kills at the point %s", times, point)
					}
				}
			}
		})
	}
}

func TestKill_WhileRewritingAtRandomMoments(t *testing.T) {
	spacetest.Rounds(t, 1, func(t *testing.T, r *rand.Rand) {
		k := newKilledSpace(t)
		names := slices.Sorted(maps.Keys(spacetest.Rewriters))
		for range spacetest.Scaled(12) {
			if r.IntN(2) == 0 {
				k.use()
			}
			if k.want == "" {
				k.use()
			}
			for range 1 + r.IntN(3) {
				c := k.rewrite(names[r.IntN(len(names))])
				time.Sleep(time.Duration(r.IntN(120)) * time.Millisecond)
				c.Kill()
			}
			k.verify()
		}
	})
}

// A process that rewrites a space is suspended at each point of that: others wait for it, even when
// the new file is in place already, and then all continue.
func TestSuspend_WhileRewriting(t *testing.T) {
	if !invariant.Enabled {
		t.Skip("the points are there with -tags invariants only")
	}
	for _, how := range slices.Sorted(maps.Keys(spacetest.Rewriters)) {
		k := newKilledSpace(t)
		for _, point := range invariant.Points {
			if !rewrites(point) {
				continue
			}
			k.use()
			c := k.rewrite(how, "EVERHEAP_POINT="+point+":1:stop")
			c.Await("standing still at "+point, c.Stopped)
			var resumed atomic.Bool
			opened := make(chan struct{})
			go func() {
				defer close(opened)
				s, err := everheap.Open(k.dir)
				if !resumed.Load() {
					t.Errorf("%s stands still at %s, and the space can be opened (%v)", how, point, err)
				}
				if err == nil {
					err = s.Close()
				}
				if err != nil {
					t.Error(err)
				}
			}()
			time.Sleep(200 * time.Millisecond) // the others must still wait
			resumed.Store(true)
			c.Resume()
			spacetest.Receive(t, "the opener", opened)
			c.AwaitLine("rewritten")
			c.Await("its end", c.Gone)
			k.verify()
			if t.Failed() {
				return
			}
		}
	}
}

// While a process rewrites a space, others wait for it, and then open the new file.
func TestOpen_WaitsForRewriting(t *testing.T) {
	spacetest.Rounds(t, 1, func(t *testing.T, r *rand.Rand) {
		k := newKilledSpace(t)
		k.use()
		names := slices.Sorted(maps.Keys(spacetest.Rewriters))
		for range spacetest.Scaled(16) {
			c := k.rewrite(names[r.IntN(len(names))])
			time.Sleep(time.Duration(r.IntN(100)) * time.Millisecond)
			s, err := everheap.Open(k.dir)
			spacetest.Must(t, err)
			m := spacetest.MapOf[int, string](t, s)
			spacetest.Must(t, m.Set(s, 0, "")) // the value that it has already: a version that must not be lost
			version := s.Stats().Version
			spacetest.Must(t, s.Close())
			c.Kill()
			s, err = everheap.Open(k.dir)
			spacetest.Must(t, err)
			if s.Stats().Version < version {
				t.Errorf("the space has version %d, but %d was committed", s.Stats().Version, version)
			}
			spacetest.Must(t, s.Close())
			k.verify()
		}
	})
}
