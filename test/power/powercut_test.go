package power

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/internal/journal"
	"github.com/everheap/everheap/internal/powercut"
	"github.com/everheap/everheap/internal/spacetest"
)

var cutFlag = flag.String("everheap.powercut", "", "replays one image of a power cut test: SEED:MOMENT:POLICY:IMAGE, as the test prints it")

// cutRun is a run of a space on a disk that is watched.
type cutRun struct {
	t     testing.TB
	r     *rand.Rand
	disk  *powercut.Disk
	dir   string
	space *everheap.Space
	plain everheap.Map[string, string]
	large everheap.Map[uint64, []byte]
	lists cutLists
	order cutSorted
	loose cutLoose
	index cutIndexed
	model cutModel
	opts  []everheap.Option
}

// newCutRun creates a space and opens its maps.
func newCutRun(t testing.TB, seed uint64, disk *powercut.Disk, opts ...everheap.Option) *cutRun {
	t.Helper()
	disk.Ignore["live"], disk.Mapped["heap"] = true, true
	c := &cutRun{t: t, r: rand.New(rand.NewPCG(seed, 1)), disk: disk, dir: filepath.Join(spacetest.MemoryDir(t), "s"),
		model: cutModel{digests: map[uint64]digest{}, contents: map[string]string{}, begun: []told{{0, 1}},
			pins: map[string]cutPin{}, pinned: map[uint64]map[string]cutPin{}}}
	c.opts = append(opts, everheap.WithMaxSize(64<<20), spacetest.WithFiles(disk.OpenFile), spacetest.WithoutBackground())
	c.open()
	return c
}

// open opens the space and its maps; creating a map makes a version.
func (c *cutRun) open() {
	c.t.Helper()
	var err error
	c.space, err = everheap.Open(c.dir, c.opts...)
	spacetest.Must(c.t, err)
	c.begin()
	c.plain, err = everheap.OpenMap[string, string](c.space, "plain")
	spacetest.Must(c.t, err)
	c.committed()
	c.begin()
	c.large, err = everheap.OpenMap[uint64, []byte](c.space, "large")
	spacetest.Must(c.t, err)
	c.committed()
	c.lists.open(c)
	c.order.open(c)
	c.loose.open(c)
	c.index.open(c)
}

// begin notes that the next version is about to be committed. Opening a map for the first time makes
// up to three: two descriptors, and the map.
func (c *cutRun) begin() {
	moment := c.disk.Observe()
	c.model.begun = append(c.model.begun, told{moment, uint64(c.space.Stats().Version) + 3})
}

// committed notes the contents of the newest version. Versions between it and the noted version
// before have the contents of that one.
func (c *cutRun) committed() {
	c.disk.Observe()
	version := uint64(c.space.Stats().Version)
	c.model.digests[version] = c.model.now
	c.model.pinned[version] = maps.Clone(c.model.pins)
}

// value makes a value; they differ.
func (c *cutRun) value() string {
	n := c.r.IntN(60)
	if c.r.IntN(10) == 0 {
		n = c.r.IntN(3000)
	}
	return fmt.Sprintf("%d-%s", c.r.Uint64(), strings.Repeat("v", n))
}

// step does one random step.
func (c *cutRun) step() error {
	switch k := c.r.IntN(100); {
	case k < 62:
		return c.update()
	case k < 70:
		return spacetest.Engine(c.space).Spool()
	case k < 78:
		version := uint64(c.space.Stats().Version)
		err := c.space.Sync(context.Background())
		if err == nil {
			c.acknowledged(version)
		}
		return err
	case k < 83:
		return spacetest.Engine(c.space).Anchor(false)
	case k < 84:
		return spacetest.Engine(c.space).Anchor(true)
	case k < 86:
		c.begin() // ending the pin of a restore makes a version
		err := spacetest.Sweep(c.space)
		c.committed()
		return err
	case k < 90:
		return c.checkpoint()
	default:
		return c.single()
	}
}

// checkpoint makes, drops or restores a checkpoint.
func (c *cutRun) checkpoint() (err error) {
	name := fmt.Sprint("pin", c.r.IntN(3))
	pin, there := c.model.pins[name]
	c.begin()
	if !there {
		if err = c.space.Checkpoint(name); err == nil {
			c.model.pins[name] = cutPin{c.model.now, maps.Clone(c.model.contents)}
			c.committed()
		}
		return err
	}
	if c.r.IntN(2) == 0 {
		if err = c.space.DropCheckpoint(name); err == nil {
			delete(c.model.pins, name)
		}
	} else if err = c.space.Restore(context.Background(), name); err == nil {
		c.model.now, c.model.contents = pin.digest, maps.Clone(pin.contents)
	}
	if err == nil {
		c.committed()
		c.acknowledged(uint64(c.space.Stats().Version))
	}
	return err
}

// acknowledged notes that a version survives a power loss from now on.
func (c *cutRun) acknowledged(version uint64) {
	c.model.durable = append(c.model.durable, told{c.disk.Observe(), version})
}

// single sets or deletes one key, or changes a list or a value.
func (c *cutRun) single() error {
	switch c.r.IntN(10) {
	case 8, 9:
		return c.index.single(c)
	case 0, 1:
		return c.lists.single(c)
	case 2, 3:
		return c.order.single(c)
	case 4, 5:
		return c.loose.single(c)
	}
	key := fmt.Sprint("k", c.r.IntN(150))
	c.begin()
	if c.r.IntN(4) == 0 {
		_, err := c.plain.Delete(c.space, key)
		if err == nil {
			c.model.set("plain/"+key, "")
			c.committed()
		}
		return err
	}
	value := c.value()
	err := c.plain.Set(c.space, key, value)
	if err == nil {
		c.model.set("plain/"+key, value)
		c.committed()
	}
	return err
}

var errCutAbort = errors.New("aborted by the test")

// change is one of the model's contents.
type change struct{ key, value string }

// update is a transaction with several changes, some of which abort.
func (c *cutRun) update() error {
	var changes []change
	var lists cutLengths
	durability := everheap.Periodic
	if c.r.IntN(3) == 0 {
		durability = everheap.Durable
	}
	abort := c.r.IntN(8) == 0
	c.begin()
	err := c.space.Update(context.Background(), func(tx *everheap.Tx) error {
		changes, lists = nil, c.model.lengths()
		for range 1 + c.r.IntN(8) {
			if k := c.r.IntN(7); k < 5 {
				var more []change
				var err error
				switch {
				case k < 2:
					more, err = c.lists.change(c, tx, &lists)
				case k < 4:
					more, err = c.order.change(c, tx, 20)
				default:
					more, err = c.index.change(c, tx, 10)
				}
				if err != nil {
					return err
				}
				changes = append(changes, more...)
				continue
			}
			if c.r.IntN(4) == 0 {
				key, size := c.r.Uint64N(20), c.r.IntN(2000)
				if c.r.IntN(20) == 0 {
					size = c.r.IntN(150_000)
				}
				blob := []byte(strings.Repeat(fmt.Sprint(c.r.Uint64()), 1+size/20))
				if err := c.large.Set(tx, key, blob); err != nil {
					return err
				}
				changes = append(changes, change{fmt.Sprint("large/", key), string(blob)})
				continue
			}
			key, value := fmt.Sprint("k", c.r.IntN(150)), c.value()
			if c.r.IntN(5) == 0 {
				if _, err := c.plain.Delete(tx, key); err != nil {
					return err
				}
				value = ""
			} else if err := c.plain.Set(tx, key, value); err != nil {
				return err
			}
			changes = append(changes, change{"plain/" + key, value})
			if c.r.IntN(4) == 0 {
				c.disk.Observe()
			}
		}
		if abort {
			return errCutAbort
		}
		return nil
	}, durability)
	if abort && errors.Is(err, errCutAbort) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, ch := range changes {
		c.model.set(ch.key, ch.value)
	}
	c.committed()
	if durability == everheap.Durable {
		c.acknowledged(uint64(c.space.Stats().Version))
	}
	return nil
}

// run does steps, with a close and an open now and then, and closes the space.
func (c *cutRun) run(steps int) {
	c.t.Helper()
	for i := range steps {
		spacetest.Must(c.t, c.step())
		if i%97 == 96 {
			c.close()
			c.open()
		}
	}
	c.close()
}

func (c *cutRun) close() {
	c.t.Helper()
	version := uint64(c.space.Stats().Version)
	spacetest.Must(c.t, c.space.Close())
	c.acknowledged(version)
}

// moments lists crash moments: around each sync, and random ones.
func (c *cutRun) moments(random int) (list []int) {
	for _, s := range c.disk.Syncs() {
		list = append(list, s.From, s.From+1, s.To, s.To+1)
	}
	for range random {
		list = append(list, 1+c.r.IntN(c.disk.Now()))
	}
	return list
}

// violations builds images for the moments and returns the first one that is
// wrong, and how many images there were.
func (c *cutRun) violations(seed uint64, moments []int, most int) (n int, err error) {
	first := c.firstImage()
	step := max(1, len(moments)*int(powercut.NumPolicies)/most)
	for k := c.r.IntN(step); k < len(moments)*int(powercut.NumPolicies); k += step {
		moment, policy := moments[k/int(powercut.NumPolicies)], powercut.Policy(k%int(powercut.NumPolicies))
		if moment < first {
			continue
		}
		if err := c.image(moment, policy, uint64(k)); err != nil {
			return n, fmt.Errorf("after a cut: %w\nreplay with -everheap.powercut=%d:%d:%d:%d", err, seed, moment, policy, k)
		}
		n++
	}
	return n, nil
}

// firstImage returns the first moment at which the space exists: the last sync before it was renamed
// into place.
func (c *cutRun) firstImage() int {
	for _, s := range c.disk.Syncs() {
		if s.File == "journal" {
			return s.To
		}
	}
	return 0
}

// image builds and verifies one image.
func (c *cutRun) image(moment int, policy powercut.Policy, k uint64) error {
	dir := filepath.Join(filepath.Dir(c.dir), "image")
	spacetest.Must(c.t, os.RemoveAll(dir))
	spacetest.Must(c.t, os.Mkdir(dir, 0o700))
	spacetest.Must(c.t, c.disk.Image(dir, "heap", moment, policy, rand.New(rand.NewPCG(k, 7))))
	if err := c.model.verifyImage(dir, moment, math.MaxUint64); err != nil {
		return err
	}
	if k%8 == 0 {
		return c.model.again(dir)
	}
	return nil
}

func TestPowerCut_EveryImageIsOneVersion(t *testing.T) { // E4, J1, J4
	if *cutFlag != "" {
		replayCut(t)
		return
	}
	total := 0
	spacetest.Rounds(t, 6, func(t *testing.T, r *rand.Rand) {
		seed := r.Uint64()
		c := newCutRun(t, seed, powercut.New())
		c.run(220)
		n, err := c.violations(seed, c.moments(100), 350)
		total += n
		if err != nil {
			t.Error(err)
		}
	})
	t.Logf("%d images", total)
}

// replayCut verifies the image that the flag names.
func replayCut(t *testing.T) {
	var seed, k uint64
	var moment int
	var policy powercut.Policy
	if _, err := fmt.Sscanf(*cutFlag, "%d:%d:%d:%d", &seed, &moment, &policy, &k); err != nil {
		t.Fatal(err)
	}
	c := newCutRun(t, seed, powercut.New())
	c.run(220)
	if err := c.image(moment, policy, k); err != nil {
		t.Error(err)
	}
}

// Power is lost a second time, while the space is recovered or closed after that.
func TestPowerCut_DuringRecovery(t *testing.T) {
	total := 0
	spacetest.Rounds(t, 2, func(t *testing.T, r *rand.Rand) {
		c := newCutRun(t, r.Uint64(), powercut.New())
		c.run(120)
		moments := c.moments(20)
		for range 40 {
			moment := moments[r.IntN(len(moments))]
			if moment < c.firstImage() {
				continue
			}
			n, err := c.cutAgain(moment, powercut.Policy(r.IntN(int(powercut.NumPolicies))), r)
			if err != nil {
				t.Fatalf("after a second cut: %v", err)
			}
			total += n
		}
	})
	t.Logf("%d images", total)
}

// cutAgain builds an image, opens and closes it, and verifies images of cuts at
// moments in between.
func (c *cutRun) cutAgain(moment int, policy powercut.Policy, r *rand.Rand) (n int, err error) {
	once := filepath.Join(filepath.Dir(c.dir), "once")
	spacetest.Must(c.t, os.RemoveAll(once))
	spacetest.Must(c.t, os.Mkdir(once, 0o700))
	spacetest.Must(c.t, c.disk.Image(once, "heap", moment, policy, r))
	disk := powercut.New()
	disk.Ignore["live"], disk.Mapped["heap"] = true, true
	s, err := everheap.Open(once, spacetest.Created(once, 64<<20, spacetest.WithoutBackground(), spacetest.WithFiles(disk.OpenFile))...)
	if err != nil {
		return 0, err
	}
	disk.Observe()
	recovered := uint64(s.Stats().Version) // closing can make versions with the same contents
	if err := s.Close(); err != nil {
		return 0, err
	}
	twice := filepath.Join(filepath.Dir(c.dir), "twice")
	for ; n < 12; n++ {
		spacetest.Must(c.t, os.RemoveAll(twice))
		spacetest.Must(c.t, os.Mkdir(twice, 0o700))
		second := disk.Now()
		if syncs := disk.Syncs(); len(syncs) > 0 { // from the first sync on all files exist
			second -= r.IntN(second - syncs[0].From + 1)
		}
		spacetest.Must(c.t, disk.Image(twice, "heap", second, powercut.Policy(r.IntN(int(powercut.NumPolicies))), r))
		if err := c.model.verifyImage(twice, moment, recovered); err != nil {
			return n, err
		}
	}
	return n, nil
}

// During the creation of a space an image has no space, or a whole one.
func TestPowerCut_DuringCreation(t *testing.T) {
	seed := uint64(1)
	c := newCutRun(t, seed, powercut.New())
	c.close()
	var moments []int
	for m := range c.disk.Now() + 1 {
		moments = append(moments, m)
	}
	n, err := c.violations(seed, moments, 1<<20)
	if err != nil {
		t.Error(err)
	}
	t.Logf("%d images", n)
}

// The simulator finds the faults that the test injects.
func TestPowerCut_FaultsAreFound(t *testing.T) {
	if spacetest.RaceEnabled || testing.Short() {
		t.Skip("takes thousands of images")
	}
	swallow := func(name string) func(d *powercut.Disk) {
		return func(d *powercut.Disk) { d.Swallow = func(n string) bool { return n == name } }
	}
	for _, fault := range []struct {
		name  string
		apply func(d *powercut.Disk)
	}{
		{"the heap is not synced before an anchor is written", func(d *powercut.Disk) {
			heap := 0 // an anchor syncs twice: the blocks, and the anchor
			d.Swallow = func(name string) bool {
				if name != "heap" {
					return false
				}
				heap++
				return heap > 1 && heap%2 == 0
			}
		}},
		{"the journal is not synced", swallow("journal")},
		{"the heap is not synced when it is created", func(d *powercut.Disk) {
			first := true
			d.Swallow = func(name string) bool {
				swallowed := first && name == "heap"
				first = first && name != "heap"
				return swallowed
			}
		}},
		{"the sums of the journal are not looked at", func(*powercut.Disk) { journal.SkipSums = true }},
	} {
		t.Run(fault.name, func(t *testing.T) {
			defer func() { journal.SkipSums = false }()
			for seed := uint64(1); seed <= 6; seed++ {
				disk := powercut.New()
				fault.apply(disk)
				c := newCutRun(t, seed, disk)
				c.run(220)
				if n, err := c.violations(seed, c.moments(100), 350); err != nil {
					t.Logf("found after %d images of run %d: %v", n, seed, err)
					return
				}
			}
			t.Error("it was not found")
		})
	}
}
