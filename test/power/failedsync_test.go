package power

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/internal/faultdisk"
	"github.com/everheap/everheap/internal/journal"
	"github.com/everheap/everheap/internal/powercut"
	"github.com/everheap/everheap/internal/spacetest"
)

// failing makes one in every syncs fail, at random.
func (c *cutRun) failing(r *rand.Rand, every int) {
	c.disk.Fail = func(string) bool { return r.IntN(every) == 0 }
}

// runFailing does steps on a disk whose syncs fail now and then. After a failure the
// space is closed and opened again, which heals it, unless that fails as well.
func (c *cutRun) runFailing(steps int) (failures int) {
	c.t.Helper()
	for range steps {
		before := uint64(c.space.Stats().Version)
		err := c.step()
		if err == nil {
			continue
		}
		if !errors.Is(err, everheap.ErrIO) {
			c.t.Fatal(err)
		}
		failures++
		c.afterFailure(before)
	}
	c.disk.Fail = nil
	c.close()
	return failures
}

// afterFailure opens the space again. The failed transaction may be visible, so it reads the
// contents.
func (c *cutRun) afterFailure(before uint64) {
	c.t.Helper()
	if version := uint64(c.space.Stats().Version); version > before {
		c.reread()
	}
	version := uint64(c.space.Stats().Version)
	if c.space.Close() == nil {
		c.acknowledged(version)
	}
	for tries := 0; ; tries++ {
		s, err := everheap.Open(c.dir, c.opts...)
		if err == nil {
			c.space = s
			break
		}
		if !errors.Is(err, everheap.ErrIO) || tries > 50 {
			c.t.Fatal(err)
		}
	}
}

// reread sets the model to the contents of the space, checkpoints included.
func (c *cutRun) reread() {
	c.t.Helper()
	read := func(tx *everheap.Tx) (map[string]string, error) {
		contents := map[string]string{}
		return contents, readAll(tx, func(key, value string) { contents[key] = strings.Clone(value) })
	}
	c.model.now, c.model.contents, c.model.pins = digest{}, map[string]string{}, map[string]cutPin{}
	spacetest.Must(c.t, c.space.View(func(tx *everheap.Tx) error {
		contents, err := read(tx)
		for key, value := range contents {
			c.model.set(key, value)
		}
		return err
	}))
	pins, err := c.space.Checkpoints()
	spacetest.Must(c.t, err)
	for _, pin := range pins {
		spacetest.Must(c.t, c.space.ViewAt(pin.Name, func(tx *everheap.Tx) (err error) {
			var p cutPin
			if p.contents, err = read(tx); err == nil {
				err = p.digest.read(tx)
			}
			c.model.pins[pin.Name] = p
			return err
		}))
	}
	c.committed()
}

// A failed sync loses no acknowledged commit, made before or after it, whenever the power fails
// later.
func TestPowerCut_AfterFailedSyncs(t *testing.T) { // E7
	images, failures := 0, 0
	spacetest.Rounds(t, 4, func(t *testing.T, r *rand.Rand) {
		seed := r.Uint64()
		c := newCutRun(t, seed, powercut.New())
		c.failing(rand.New(rand.NewPCG(seed, 2)), 12)
		failures += c.runFailing(150)
		n, err := c.violations(seed, c.moments(60), 200)
		images += n
		if err != nil {
			t.Error(err)
		}
	})
	t.Logf("%d images, %d failures", images, failures)
	if failures == 0 {
		t.Error("nothing has failed")
	}
}

func init() { spacetest.Children["doomed"] = doomedChild }

// doomedChild commits, and dies in a sync that fails, before it can report the failure.
func doomedChild() int {
	c := spacetest.NewInChild()
	disk := faultdisk.New()
	s, err := c.Open(spacetest.WithFiles(disk.OpenFile), spacetest.WithoutBackground())
	if err != nil {
		return spacetest.Failed("open", err)
	}
	m, err := everheap.OpenMap[string, string](s, "plain")
	if err != nil {
		return spacetest.Failed("open", err)
	}
	if _, err := everheap.OpenMap[uint64, []byte](s, "large"); err != nil {
		return spacetest.Failed("open", err)
	}
	set := func(from, to int) {
		for i := from; i < to && err == nil; i++ {
			err = m.Set(s, fmt.Sprint("k", i), fmt.Sprint("v", i))
		}
	}
	set(0, 60)
	if err == nil {
		err = s.Sync(context.Background())
	}
	if err == nil && c.Has("anchored") {
		err = spacetest.Engine(s).Anchor(true)
	}
	if err != nil {
		return spacetest.Failed("the beginning", err)
	}
	spacetest.Say("synced")
	<-c.Asked
	set(30, 90)
	die := func(faultdisk.Call) {
		spacetest.Say("dying")
		if c.Has("stopped") {
			_ = syscall.Kill(os.Getpid(), syscall.SIGSTOP)
		} else {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		}
		time.Sleep(500 * time.Millisecond) // the signal may reach another thread first
	}
	disk.Fail(faultdisk.Rule{Ops: []faultdisk.Op{faultdisk.Sync}, Err: syscall.EIO, Failing: die})
	if c.Has("heap") {
		err = spacetest.Engine(s).Anchor(false)
	} else {
		err = s.Sync(context.Background())
	}
	if !errors.Is(err, everheap.ErrIO) {
		return spacetest.Failed("the sync", fmt.Errorf("it did not fail: %v", err))
	}
	spacetest.Say("failed")
	<-c.Asked
	return 0
}

// A process whose sync has failed dies at that moment, or is suspended. The kernel does not report
// the failure to the process that opens the space next. The commits that this process acknowledges
// survive a power cut nevertheless.
func TestPowerCut_FailedSyncThatNobodyTellsOf(t *testing.T) { // E7, L13
	total := 0
	for i, work := range []string{"journal", "heap", "heap anchored", "journal stopped", "heap stopped anchored"} {
		t.Run(work, func(t *testing.T) {
			dir := filepath.Join(spacetest.MemoryDir(t), "s")
			child := spacetest.StartChild(t, "doomed", spacetest.Env(dir, 1, work, 1)...)
			child.AwaitLine("synced")
			found := map[string]powercut.Found{} // the disk may have more, but no process may rely on it
			for _, name := range []string{"heap", journal.FileName} {
				b, err := os.ReadFile(filepath.Join(dir, name))
				spacetest.Must(t, err)
				found[name] = powercut.Found{OnDisk: b, Lost: strings.HasPrefix(work, name)}
			}
			child.Tell("go on")
			child.AwaitLine("dying")
			if !spacetest.Wait(spacetest.Patience, func() bool { return child.Gone() || child.Stopped() }) {
				t.Fatal("the child goes on")
			}
			n := heirs(t, dir, found, work, uint64(i))
			total += n
			if !child.Gone() {
				child.Resume()
				child.AwaitLine("failed")
				child.Tell("quit")
			}
		})
	}
	t.Logf("%d images", total)
}

// heirs opens the space on a disk that has lost the last writes of the child, commits, and verifies
// images.
func heirs(t *testing.T, dir string, found map[string]powercut.Found, work string, seed uint64) int {
	disk := powercut.New()
	disk.Found = found
	disk.Ignore["live"], disk.Mapped["heap"] = true, true
	c := &cutRun{t: t, r: rand.New(rand.NewPCG(seed, 3)), disk: disk, dir: dir, model: cutModel{digests: map[uint64]digest{},
		contents: map[string]string{}, pins: map[string]cutPin{}, pinned: map[uint64]map[string]cutPin{}}}
	c.opts = []everheap.Option{spacetest.WithFiles(disk.OpenFile), spacetest.WithoutBackground()}
	c.open()
	c.reread()
	newest := uint64(c.space.Stats().Version)
	c.model.begun = append(c.model.begun, told{c.disk.Observe(), newest})
	first := 0
	for i := range 25 {
		if i == 12 && work != "journal" {
			spacetest.Must(t, spacetest.Engine(c.space).Anchor(i%2 == 0))
		}
		c.begin()
		key := fmt.Sprint("k", c.r.IntN(120))
		spacetest.Must(t, c.space.Update(context.Background(), func(tx *everheap.Tx) error { return c.plain.Set(tx, key, "heir") }, everheap.Durable))
		c.model.set("plain/"+key, "heir")
		c.committed()
		c.acknowledged(uint64(c.space.Stats().Version))
		if first == 0 {
			first = c.disk.Now()
		}
	}
	c.close()
	moments := []int{}
	for m := first; m <= c.disk.Now(); m += 2 {
		moments = append(moments, m)
	}
	n, err := c.violations(seed, moments, spacetest.Scaled(150))
	if err != nil {
		t.Error(err)
	}
	return n
}

// The simulator finds the error if a failed sync is ignored.
func TestPowerCut_FailuresAreFound(t *testing.T) {
	if spacetest.RaceEnabled || testing.Short() {
		t.Skip("takes thousands of images")
	}
	for seed := uint64(1); seed <= 8; seed++ {
		c := newCutRun(t, seed, powercut.New())
		c.disk.Unmark = true // healing only pretends to write: the disk gets no writes
		c.failing(rand.New(rand.NewPCG(seed, 2)), 12)
		c.runFailing(150)
		if n, err := c.violations(seed, c.moments(60), 200); err != nil {
			t.Logf("found after %d images of run %d: %v", n, seed, err)
			return
		}
	}
	t.Error("it was not found")
}
