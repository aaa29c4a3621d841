package engine

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unsafe"

	"github.com/everheap/everheap/internal/edit"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/powercut"
)

// A restRun writes durable entries to a space on a watched disk, whose journal is cut again and
// again. Entry n tells everything: which other entries there are, and their values.
type restRun struct {
	t     *testing.T
	r     *rand.Rand
	disk  *powercut.Disk
	dir   string
	sp    *Space
	texts edit.MapOf
	n     uint64
	begun [][2]int // pairs of moment and entry: begun
	acked [][2]int // pairs of moment and entry: acknowledged
	cuts  []int    // moments at which the journal was made shorter
}

const (
	restKeys = 12
	restText = 60_000
)

// restValue returns the value of an entry.
func restValue(n uint64) string {
	head := fmt.Sprint(n, " ")
	return head + strings.Repeat(string(rune('a'+n%26)), restText+int(n*37%1000)-len(head))
}

// open opens the space.
func (c *restRun) open() {
	c.t.Helper()
	var err error
	c.sp, err = Open(c.dir, Options{MaxSize: 64 << 20, Manual: true, Files: c.disk.OpenFile})
	if err != nil {
		c.t.Fatal(err)
	}
	id, err := c.sp.OpenMap("texts", texts(0))
	if err != nil {
		c.t.Fatal(err)
	}
	c.texts = texts(id)
}

// write commits the next entry durably.
func (c *restRun) write() {
	c.t.Helper()
	c.n++
	c.begun = append(c.begun, [2]int{c.disk.Observe(), int(c.n)})
	text := restValue(c.n)
	key := c.n % restKeys
	newest := fmt.Sprint(c.n)
	err := c.sp.Change(true, func(tx *Tx) error {
		if err := tx.Set(c.texts, pointerTo(key), unsafe.Pointer(&text)); err != nil {
			return err
		}
		return tx.Set(c.texts, pointerTo(restKeys), unsafe.Pointer(&newest))
	})
	if err != nil {
		c.t.Fatal(err)
	}
	c.acked = append(c.acked, [2]int{c.disk.Observe(), int(c.n)})
}

// journalLength returns the length of the journal file.
func (c *restRun) journalLength() int64 {
	info, err := os.Stat(filepath.Join(c.dir, "journal"))
	if err != nil {
		c.t.Fatal(err)
	}
	return info.Size()
}

// shorten makes the journal shorter in one of several ways, and notes the moment.
func (c *restRun) shorten() {
	c.t.Helper()
	before, from := c.journalLength(), c.disk.Observe()
	var err error
	switch c.r.IntN(3) {
	case 0:
		_, _, err = c.sp.Compact(context.Background())
	case 1:
		if err = c.sp.Close(); err == nil {
			c.open()
		}
	case 2:
		var version format.Version
		if version, err = c.sp.NewestVersion(); err == nil {
			err = c.sp.durable.RestJournal(version)
		}
	}
	if err != nil {
		c.t.Fatal(err)
	}
	if c.journalLength() >= before {
		c.t.Errorf("the journal had %d bytes, and has %d", before, c.journalLength())
	}
	for m, to := from, c.disk.Observe(); m <= to; m++ {
		c.cuts = append(c.cuts, m)
	}
}

// image verifies what the disk may have at a moment.
func (c *restRun) image(moment int, policy powercut.Policy, seed uint64) error {
	dir := filepath.Join(filepath.Dir(c.dir), "image")
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	if err := c.disk.Image(dir, "heap", moment, policy, rand.New(rand.NewPCG(seed, 3))); err != nil {
		return err
	}
	sp, err := Open(dir, Options{Manual: true})
	if err != nil {
		return err
	}
	defer sp.Close()
	least, most := 0, 0
	for _, a := range c.acked {
		if a[0] <= moment {
			least = a[1]
		}
	}
	for _, b := range c.begun {
		if b[0] <= moment {
			most = b[1]
		}
	}
	get := func(key uint64) (text string, err error) {
		_, err = sp.Alone(false).Get(c.texts, pointerTo(key), unsafe.Pointer(&text))
		return text, err
	}
	text, err := get(restKeys)
	if err != nil {
		return err
	}
	n := 0
	if text != "" {
		if _, err := fmt.Sscan(text, &n); err != nil {
			return err
		}
	}
	if n < least || n > most {
		return fmt.Errorf("the newest entry is %d; %d was durable, and %d begun", n, least, most)
	}
	for i := max(1, n-restKeys+1); i <= n; i++ {
		if got, err := get(uint64(i) % restKeys); err != nil || got != restValue(uint64(i)) {
			return fmt.Errorf("entry %d of %d is %.30q (%v)", i, n, got, err)
		}
	}
	report, err := sp.Check(context.Background())
	if err == nil && len(report.Findings) > 0 {
		err = fmt.Errorf("check: %+v", report.Findings)
	}
	return err
}

// images returns how many pairs of images to verify of a run.
func images(n int) int {
	switch {
	case testing.Short():
		return n / 3
	case *everyFlag:
		return 10 * n
	}
	return n
}

// Whenever the power fails while the journal is cut, before or after the cut is on disk, and while
// it grows again, everything durable is there.
func TestPowerCut_JournalIsCut(t *testing.T) {
	for seed := range uint64(3) {
		c := &restRun{t: t, r: rand.New(rand.NewPCG(seed, 9)), disk: powercut.New(), dir: filepath.Join(faultDir(t), "s")}
		c.disk.Ignore["live"], c.disk.Mapped["heap"] = true, true
		c.open()
		c.write()
		first := c.disk.Observe()
		for range 4 {
			for c.journalLength() < 2*format.SegmentSize {
				c.write()
				if c.r.IntN(20) == 0 {
					if err := c.sp.Anchor(c.r.IntN(2) == 0); err != nil {
						t.Fatal(err)
					}
				}
			}
			c.write()
			c.shorten()
			c.write()
		}
		if err := c.sp.Close(); err != nil {
			t.Fatal(err)
		}
		verified := 0
		verify := func(moment int) {
			policy := powercut.Policy(c.r.IntN(int(powercut.NumPolicies)))
			if err := c.image(moment, policy, uint64(verified)); err != nil {
				t.Fatalf("seed %d: after a cut at moment %d, policy %d: %v", seed, moment, policy, err)
			}
			verified++
		}
		for range images(25) {
			verify(c.cuts[c.r.IntN(len(c.cuts))])
			verify(first + c.r.IntN(c.disk.Now()-first+1))
		}
		t.Logf("%d entries, %d images", c.n, verified)
	}
}
