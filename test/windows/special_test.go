package windows

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/internal/invariant"
	"github.com/everheap/everheap/internal/proctest"
)

func init() {
	proctest.Children["remover"] = func(dir string) error { // removes its own items, one after the other
		s, err := everheap.Open(dir)
		if err != nil {
			return err
		}
		w, err := openWorld(s)
		if err != nil {
			return err
		}
		for i := 0; ; i++ {
			there, err := w.items.Delete(s, fmt.Sprint("filling ", i))
			if err != nil && !harmless(err) {
				return err
			}
			if !there && i > most {
				return s.Close()
			}
			proctest.Say("removed", i)
		}
	}
	proctest.Children["filler"] = func(dir string) error { // stores what fits, and a little more
		s, err := everheap.Open(dir)
		if err != nil {
			return err
		}
		w, err := openWorld(s)
		if err != nil {
			return err
		}
		for i := 0; ; i++ {
			key := fmt.Sprint("filling ", i)
			it := Item{Place: key, Body: make([]byte, 300_000)}
			it.Sum = it.sum()
			if err := w.items.Set(s, key, it); errors.Is(err, everheap.ErrNoSpace) {
				return s.Close()
			} else if err != nil && !harmless(err) {
				return err
			}
		}
	}
	proctest.Children["closer"] = func(dir string) error { // commits, and closes the space as the last one
		v := &victim{dir: dir, name: "closer", r: rand.New(rand.NewPCG(3, 4))}
		err := v.open()
		for range 20 {
			err = errors.Join(err, v.commit())
		}
		if err == nil {
			err = v.s.Close()
		}
		proctest.Say("closed")
		return err
	}
}

// most is more than the number of items that fill a small space.
const most = 1000

// armed makes a child stop, or die, at a point.
func armed(point, how string) func(*exec.Cmd) {
	return func(c *exec.Cmd) { c.Env = append(c.Env, "EVERHEAP_POINT="+point+":1:"+how) }
}

// newWorld makes a space with collections of all kinds.
func newWorld(t *testing.T, opts ...everheap.Option) *others {
	o := &others{t: t, dir: filepath.Join(t.TempDir(), "s"), r: rand.New(rand.NewPCG(1, 2))}
	s, err := everheap.Open(o.dir, opts...)
	must(t, err)
	o.open()
	must(t, s.Close())
	o.update(o.w.found)
	o.rewrite(1)
	return o
}

// fill stores items of all sizes until none fits, and returns their number.
func (o *others) fill() (n int) {
	for size := 1 << 20; size > 50; size /= 4 {
		for {
			key := fmt.Sprint("filling ", n)
			it := Item{Place: key, Body: make([]byte, size)}
			it.Sum = it.sum()
			err := o.w.items.Set(o.s, key, it)
			if errors.Is(err, everheap.ErrNoSpace) {
				break
			}
			must(o.t, err)
			n++
		}
	}
	return n
}

// A process that fills the reserve of a space, or removes entries from a full one, is suspended, or
// dies, while it holds extents of the reserve: others can remove and store, and when it continues all
// is right.
func TestFull_StoppedInTheReserve(t *testing.T) {
	if !invariant.Enabled {
		t.Skip("the points are there with -tags invariants only")
	}
	for _, how := range []string{"stop", "kill"} {
		t.Run("filled "+how, func(t *testing.T) {
			t.Parallel()
			o := newWorld(t, everheap.WithMaxSize(maxSizes[0]))
			must(t, o.s.Close()) // the last one to close empties the reserve
			v := proctest.Start(t, "victim compact", o.dir, armed("reserve.taken", how))
			comesTo(t, v, how)
			o.open()
			o.programme()
			o.check(acknowledged(v))
			if how == "stop" {
				v.Resume()
				o.programme()
				v.Tell("end")
				v.Ends()
			}
			o.ends(acknowledged(v))
		})
		t.Run("used "+how, func(t *testing.T) {
			t.Parallel()
			o := newWorld(t, everheap.WithMaxSize(64<<20))
			n := o.fill()
			v := proctest.Start(t, "remover", o.dir, armed("reserve.cut", how))
			comesTo(t, v, how)
			for i := range n * 2 / 3 {
				o.update(func(tx *everheap.Tx) error {
					_, err := o.w.items.Delete(tx, fmt.Sprint("filling ", i))
					return err
				})
			}
			if how == "stop" { // the victim holds a version that keeps all blocks removed since
				o.check(nil)
				v.Resume()
				v.Ends()
			}
			o.rewrite(3) // at once
			o.ends(nil)
		})
	}
}

// A process without space is suspended, or dies, right before the sweep that would give it some:
// others can remove at once, and store or get ErrNoSpace; when it continues all is right.
func TestFull_StoppedForLowSpace(t *testing.T) { // RV7
	if !invariant.Enabled {
		t.Skip("the points are there with -tags invariants only")
	}
	for _, how := range []string{"stop", "kill"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			o := newWorld(t, everheap.WithMaxSize(64<<20))
			v := proctest.Start(t, "filler", o.dir, armed("lowspace.sweeper", how))
			comesTo(t, v, how)
			if err := o.store("beside"); err != nil && !errors.Is(err, everheap.ErrNoSpace) {
				t.Errorf("storing beside it: %v", err)
			}
			for i := range 100 {
				o.update(func(tx *everheap.Tx) error {
					_, err := o.w.items.Delete(tx, fmt.Sprint("filling ", i))
					return err
				})
			}
			switch err := o.store("afterwards"); {
			case err == nil:
			case how == "kill" || !errors.Is(err, everheap.ErrNoSpace): // a suspended process holds a version with the removed blocks
				t.Errorf("storing after a removal: %v", err)
			}
			o.check(nil)
			if how == "stop" {
				v.Resume()
				v.Ends()
				must(t, o.store("at last"))
			}
			o.ends(nil)
		})
	}
}

// store stores an item of a filler's size.
func (o *others) store(key string) (err error) {
	it := Item{Place: key, Body: make([]byte, 300_000)}
	it.Sum = it.sum()
	o.do("store", func(ctx context.Context) error {
		if err = o.s.Update(ctx, func(tx *everheap.Tx) error { return o.w.items.Set(tx, key, it) }); errors.Is(err, everheap.ErrNoSpace) {
			return nil
		}
		return err
	})
	return err
}

// comesTo waits until a child is suspended at its point, or dead.
func comesTo(t *testing.T, v *proctest.Proc, how string) {
	t.Helper()
	if !proctest.Wait(func() bool { return v.Still() || v.Gone() }) || len(v.Said("fail")) > 0 || how == "stop" && !v.Still() {
		t.Fatalf("the child does not reach its point; it wrote %q", v.Said("fail"))
	}
}

// ends compacts, checks and closes the space, of which no other process is left.
func (o *others) ends(acknowledged map[string]int) {
	o.t.Helper()
	o.do("compact", func(ctx context.Context) error { _, err := o.s.Compact(ctx); return err })
	o.check(acknowledged)
	must(o.t, o.s.Close())
	must(o.t, os.Remove(filepath.Join(o.dir, "live"))) // as after a loss of power
	o.open()
	o.check(acknowledged)
	must(o.t, o.s.Close())
}

// The last process to close the space is suspended, or dies, while it has the space for itself.
// Opening the space names the process that it waits for, and then finds all entries.
func TestClose_StoppedAsTheLastOne(t *testing.T) {
	if !invariant.Enabled {
		t.Skip("the points are there with -tags invariants only")
	}
	for _, how := range []string{"stop", "kill"} {
		for _, power := range []string{"stays", "is lost"} {
			t.Run(how+", power "+power, func(t *testing.T) {
				t.Parallel()
				o := newWorld(t, everheap.WithMaxSize(maxSizes[0]))
				must(t, o.s.Close())
				v := proctest.Start(t, "closer", o.dir, armed("close.last", how))
				if !proctest.Wait(func() bool { return v.Still() || v.Gone() }) || len(v.Said("closed")) > 0 {
					t.Fatalf("the child does not reach close.last; it wrote %q", v.Said("fail"))
				}
				if how == "stop" {
					ctx, cancel := context.WithTimeout(t.Context(), time.Second)
					defer cancel()
					s, err := everheap.OpenContext(ctx, o.dir)
					if err == nil {
						s.Close()
					}
					if !errors.Is(err, everheap.ErrBusy) || !strings.Contains(err.Error(), fmt.Sprint(v.Cmd.Process.Pid)) {
						t.Errorf("the error does not name process %d: %v", v.Cmd.Process.Pid, err)
					}
					if power == "is lost" {
						v.Kill()
					} else {
						v.Resume()
						v.Ends()
					}
				}
				if power == "is lost" {
					must(t, os.Remove(filepath.Join(o.dir, "live")))
				}
				o.open()
				o.check(acknowledged(v))
				o.rewrite(1)
				o.check(acknowledged(v))
				must(t, o.s.Close())
			})
		}
	}
}
