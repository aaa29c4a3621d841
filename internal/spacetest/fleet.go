//go:build unix

package spacetest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/internal/invariant"
)

// A Fleet is a space with a bank, the children that work on it, and the acknowledgements
// that the test knows of.
type Fleet struct {
	T        testing.TB
	Dir      string
	seed     uint64
	Rng      *rand.Rand
	Space    *everheap.Space // this process's own handle; nil: closed
	bank     Bank
	Children map[int]*Child
	work     map[int]string
	known    map[int]uint64 // for children that are gone: how many transactions they must have, at least
	Durable  map[int]uint64 // how many of those survive a power loss, at least
	starts   uint64
	dropped  uint64        // how many objects this process has collected
	Slowest  time.Duration // the longest time for which a child had to wait for its next commit
	Point    string        // the last point at which a child was armed
}

// NewFleet creates the space and starts n children, with ids from 1.
func NewFleet(t *testing.T, r *rand.Rand, n int, work string) *Fleet {
	t.Helper()
	f := &Fleet{T: t, Dir: filepath.Join(t.TempDir(), "bank"), seed: r.Uint64(), Rng: r,
		Children: map[int]*Child{}, work: map[int]string{}, known: map[int]uint64{}, Durable: map[int]uint64{}}
	f.Open()
	Must(t, f.bank.Found(f.Space))
	t.Cleanup(func() {
		if t.Failed() {
			f.keep()
		}
		if f.Space != nil {
			f.Space.Close()
		}
	})
	for id := 1; id <= n; id++ {
		f.Start(id, work)
	}
	for id := 1; id <= n; id++ {
		f.Arrive(id)
	}
	return f
}

// keep logs what it can find out after the test has failed and the children are dead, and
// copies the files of the space, with the events that the processes have noted.
func (f *Fleet) keep() {
	if f.Point != "" {
		f.T.Logf("the last point at which a child was to die or stop: %s", f.Point)
	}
	dir, err := os.MkdirTemp("", "everheap-failed-")
	if err != nil {
		f.T.Logf("the space could not be kept: %v", err)
		return
	}
	if out, err := exec.Command("cp", "-a", "--sparse=always", f.Dir, dir).CombinedOutput(); err != nil {
		f.T.Logf("the space could not be kept: %v %s", err, out)
	}
	if invariant.Enabled {
		events, err := os.Create(filepath.Join(dir, "events"))
		if err == nil {
			err = errors.Join(invariant.DumpEventsOf(f.Dir, events), events.Close())
		}
		if err != nil {
			f.T.Logf("the events could not be kept: %v", err)
		}
	}
	f.T.Logf("the space is kept in %s", dir)
}

// Open opens the space in this process.
func (f *Fleet) Open() {
	f.T.Helper()
	var err error
	f.Space, err = everheap.Open(f.Dir, everheap.WithMaxSize(TestWindow))
	Must(f.T, err)
	f.bank, err = OpenBank(f.Space)
	Must(f.T, err)
}

// Close closes the space in this process.
func (f *Fleet) Close() {
	f.T.Helper()
	Must(f.T, f.Space.Close())
	f.Space = nil
}

// Start starts a child.
func (f *Fleet) Start(id int, work string, more ...string) *Child {
	f.T.Helper()
	f.starts++
	c := StartChild(f.T, "bank", append(Env(f.Dir, id, work, f.seed+f.starts), more...)...)
	f.Children[id], f.work[id] = c, work
	return c
}

// Arrive waits until a child works, and compares the transactions that it found with those
// that its predecessor was told of: it must have found all of these, and at most one more.
func (f *Fleet) Arrive(id int) {
	f.T.Helper()
	c := f.Children[id]
	c.AwaitStart()
	f.Found(id)
}

// Found makes the comparison of Arrive, if the child has come that far.
func (f *Fleet) Found(id int) {
	if c := f.Children[id]; c.Started.Load() {
		f.survived(id, c.First.Load())
		f.known[id] = max(f.known[id], c.Acked.Load())
	}
}

// survived fails the test unless a dead child may have left n transactions.
func (f *Fleet) survived(id int, n uint64) {
	f.T.Helper()
	if known := f.known[id]; n < known || n > known+1 {
		f.T.Errorf("child %d: %d transactions had returned when it died, %d are in the space", id, known, n)
	}
}

// Kill kills a child, and remembers the last transaction that it was told of.
func (f *Fleet) Kill(id int) {
	c := f.Children[id]
	c.Kill()
	f.Bury(id)
}

// Bury notes the transactions of a child that is gone.
func (f *Fleet) Bury(id int) {
	f.known[id] = max(f.known[id], f.Children[id].Acked.Load())
	f.Durable[id] = max(f.Durable[id], f.Children[id].Durable.Load())
	delete(f.Children, id)
}

// Progress fails the test if a child, other than those in except, does not commit in time
// after since.
func (f *Fleet) Progress(since time.Time, except ...int) {
	f.T.Helper()
	skip := map[int]bool{}
	for _, id := range except {
		skip[id] = true
	}
	for id, c := range f.Children {
		if skip[id] {
			continue
		}
		c.Await(fmt.Sprintf("a commit of child %d", id), func() bool { return c.AckedAt.Load() > since.UnixNano() })
		f.Slowest = max(f.Slowest, time.Duration(c.AckedAt.Load()-since.UnixNano()))
	}
}

// Verify audits the newest version and checks the space.
func (f *Fleet) Verify() {
	f.T.Helper()
	told := map[int]uint64{}
	for id, c := range f.Children {
		if c.Started.Load() {
			told[id] = c.Acked.Load()
		}
	}
	err := f.Space.View(func(tx *everheap.Tx) error {
		owns, err := f.bank.Audit(tx)
		if err != nil {
			return err
		}
		for id, n := range told {
			if owns[Own(id)] < n {
				f.T.Errorf("child %d: %d transactions have returned, %d are in the space", id, n, owns[Own(id)])
			}
		}
		for id := range f.known {
			if f.Children[id] == nil {
				f.survived(id, owns[Own(id)])
			}
		}
		return nil
	})
	if err != nil {
		f.T.Error(err)
	}
	if f.Rng.IntN(3) == 0 { // even if a child collects, or collected when it died
		stats, err := f.Space.Collect(context.Background())
		Must(f.T, err)
		f.dropped += stats.Dropped
		Must(f.T, f.Space.View(func(tx *everheap.Tx) error { return Second(f.bank.Audit(tx)) }))
	}
	pins, err := f.Space.Checkpoints()
	Must(f.T, err)
	for _, pin := range pins {
		err := f.Space.ViewAt(pin.Name, func(tx *everheap.Tx) error { _, err := f.bank.Audit(tx); return err })
		if err != nil && !errors.Is(err, everheap.ErrNotFound) { // ErrNotFound: a child has dropped it
			f.T.Errorf("checkpoint %s: %v", pin.Name, err)
		}
	}
	CheckSpace(f.T, f.Space)
}

// Forget replaces the test's knowledge by the contents of the space, after a power loss.
// These must include everything that was durable.
func (f *Fleet) Forget() {
	f.T.Helper()
	err := f.Space.View(func(tx *everheap.Tx) error {
		owns, err := f.bank.Audit(tx)
		if err != nil {
			return err
		}
		for id, known := range f.known {
			n := owns[Own(id)]
			if n > known+1 || n < f.Durable[id] {
				f.T.Errorf("child %d: %d transactions had returned when it died, %d of them durable; %d are in the space", id, known, f.Durable[id], n)
			}
			f.known[id] = n
		}
		return nil
	})
	Must(f.T, err)
	CheckSpace(f.T, f.Space)
}

// Everybody kills all children. If last is set it first closes this process's handle, so
// that the last process to use the space is killed.
func (f *Fleet) Everybody(last bool) {
	f.T.Helper()
	if last {
		f.Close()
	}
	for id := range f.Children {
		f.Kill(id)
	}
}

// Restart starts children that are gone.
func (f *Fleet) Restart(ids ...int) {
	f.T.Helper()
	for _, id := range ids {
		f.Start(id, f.work[id])
	}
	for _, id := range ids {
		f.Arrive(id)
	}
}

// Ids returns the ids 1 to n.
func Ids(n int) (list []int) {
	for id := 1; id <= n; id++ {
		list = append(list, id)
	}
	return list
}

// FleetSize is how many children most fleets have.
const FleetSize = 4
