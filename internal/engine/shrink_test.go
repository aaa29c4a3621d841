package engine

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/everheap/everheap/internal/edit"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/powercut"
)

// A shrinkRun fills a space on a watched disk and deletes nearly everything, again and again. In
// between, its blocks are moved, and its heap file gives space back and becomes shorter. The entry
// newestKey says how many transactions were committed; the model knows what the other entries have
// after each transaction.
type shrinkRun struct {
	t      *testing.T
	r      *rand.Rand
	disk   *powercut.Disk
	dir    string
	sp     *Space
	texts  edit.MapOf
	now    map[uint64]uint64   // the number from which the text of each key follows
	states []map[uint64]uint64 // what now was after each number of transactions
	begun  [][2]int            // pairs of moment and transaction: begun
	acked  [][2]int            // pairs of moment and transaction: durable
	shrunk []int               // moments at which the file was made smaller
	moved  uint64              // how many versions did nothing but move blocks
	cut    int64               // by how many bytes the file became shorter
}

const (
	newestKey  = 1 << 40
	shrinkKeys = 4500 // how many entries fill stores
	shrinkStep = 500  // how many of them in one transaction
	leftOf     = 60   // fill leaves one of so many
)

// shrinkText returns a text that follows from a number.
func shrinkText(n uint64) string {
	return strings.Repeat(strconv.FormatUint(n, 36)+".", int(30+n*2654435761%300))
}

// open opens the space.
func (c *shrinkRun) open() {
	c.t.Helper()
	var err error
	c.sp, err = Open(c.dir, Options{MaxSize: 256 << 20, Manual: true, Files: c.disk.OpenFile})
	if err != nil {
		c.t.Fatal(err)
	}
	id, err := c.sp.OpenMap("texts", texts(0))
	if err != nil {
		c.t.Fatal(err)
	}
	c.texts = texts(id)
}

// commit changes entries in one transaction.
func (c *shrinkRun) commit(durable bool, change func(tx *Tx) error) {
	c.t.Helper()
	n := len(c.states)
	c.begun = append(c.begun, [2]int{c.disk.Observe(), n})
	text := strconv.Itoa(n)
	if err := c.sp.Change(durable, func(tx *Tx) error {
		if err := change(tx); err != nil {
			return err
		}
		return tx.Set(c.texts, pointerTo(uint64(newestKey)), unsafe.Pointer(&text))
	}); err != nil {
		c.t.Fatal(err)
	}
	c.states = append(c.states, maps.Clone(c.now))
	if durable {
		c.acked = append(c.acked, [2]int{c.disk.Observe(), n})
	}
}

// set stores an entry.
func (c *shrinkRun) set(tx *Tx, key uint64) error {
	seed := c.r.Uint64()
	c.now[key] = seed
	text := shrinkText(seed)
	return tx.Set(c.texts, pointerTo(key), unsafe.Pointer(&text))
}

// fill stores all entries, and deletes nearly all of them.
func (c *shrinkRun) fill() {
	c.t.Helper()
	for from := uint64(0); from < shrinkKeys; from += shrinkStep {
		c.commit(false, func(tx *Tx) (err error) {
			for key := from; key < from+shrinkStep && err == nil; key++ {
				err = c.set(tx, key)
			}
			return err
		})
	}
	for from := uint64(0); from < shrinkKeys; from += shrinkStep {
		c.commit(from%1500 == 0, func(tx *Tx) error {
			for key := from; key < from+shrinkStep; key++ {
				if c.r.IntN(leftOf) == 0 {
					continue
				}
				if _, err := tx.Delete(c.texts, pointerTo(key)); err != nil {
					return err
				}
				delete(c.now, key)
			}
			return nil
		})
	}
}

// small commits a small change.
func (c *shrinkRun) small() {
	c.t.Helper()
	c.commit(c.r.IntN(2) == 0, func(tx *Tx) error { return c.set(tx, c.r.Uint64N(shrinkKeys)) })
}

// shrink makes the file smaller in one of several ways, and notes the moment.
func (c *shrinkRun) shrink() {
	c.t.Helper()
	from := c.disk.Observe()
	watched, done := make(chan bool), make(chan bool)
	go func() { // meanwhile blocks move without a call to the disk
		defer close(done)
		for {
			select {
			case <-watched:
				return
			case <-time.After(2 * time.Millisecond):
				c.disk.Observe()
			}
		}
	}()
	before, err := c.sp.NewestVersion()
	if err == nil && c.r.IntN(3) > 0 {
		_, _, err = c.sp.Compact(context.Background())
		if after, vErr := c.sp.NewestVersion(); vErr == nil {
			c.moved += uint64(after - before)
		}
	}
	if c.r.IntN(2) == 0 && err == nil { // while nothing is below the newest anchor
		c.small()
	}
	if c.r.IntN(3) > 0 && err == nil {
		length := c.length()
		err = c.sp.Close()
		c.cut += max(0, length-c.length())
		c.open()
	}
	close(watched)
	<-done
	if err != nil {
		c.t.Fatal(err)
	}
	for m, to := from, c.disk.Observe(); m <= to; m++ {
		c.shrunk = append(c.shrunk, m)
	}
}

// length returns the length of the heap file.
func (c *shrinkRun) length() int64 {
	info, err := os.Stat(filepath.Join(c.dir, "heap"))
	if err != nil {
		c.t.Fatal(err)
	}
	return info.Size()
}

// image verifies what the disk may have at a moment.
func (c *shrinkRun) image(moment int, policy powercut.Policy, seed uint64) error {
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
	if err := c.holds(sp, least, most); err != nil {
		return err
	}
	if seed%4 == 0 { // everything is still there after a Compact, too
		if _, _, err := sp.Compact(context.Background()); err != nil {
			return err
		}
		return c.holds(sp, least, most)
	}
	return nil
}

// holds returns an error unless the space has what it had after one of the transactions.
func (c *shrinkRun) holds(sp *Space, least, most int) error {
	get := func(key uint64) (text string, ok bool, err error) {
		ok, err = sp.Alone(false).Get(c.texts, pointerTo(key), unsafe.Pointer(&text))
		return text, ok, err
	}
	text, ok, err := get(newestKey)
	if err != nil {
		return err
	}
	n := 0
	if ok {
		if n, err = strconv.Atoi(text); err != nil {
			return err
		}
	}
	if n < least || n > most {
		return fmt.Errorf("transaction %d is the newest; %d was durable, and %d begun", n, least, most)
	}
	for key := range uint64(shrinkKeys) {
		got, ok, err := get(key)
		seed, there := c.states[n][key]
		if err != nil || ok != there || there && got != shrinkText(seed) {
			return fmt.Errorf("after transaction %d entry %d is %.30q, %t (%v)", n, key, got, ok, err)
		}
	}
	report, err := sp.Check(context.Background())
	if err == nil && len(report.Findings) > 0 {
		err = fmt.Errorf("check: %+v", report.Findings)
	}
	return err
}

// Whenever the power fails while blocks are moved, while the heap file gives space back, while its
// end is cut off, and while it grows again, everything durable is there.
func TestPowerCut_HeapShrinks(t *testing.T) {
	for seed := range uint64(1) {
		c := &shrinkRun{t: t, r: rand.New(rand.NewPCG(seed, 11)), disk: powercut.New(), dir: filepath.Join(faultDir(t), "s"),
			now: map[uint64]uint64{}, states: []map[uint64]uint64{{}}}
		c.disk.Ignore["live"], c.disk.Mapped["heap"] = true, true
		c.open()
		c.commit(true, func(*Tx) error { return nil })
		first := c.disk.Observe()
		for range 2 {
			c.fill()
			c.shrink()
			c.small()
		}
		if err := c.sp.Close(); err != nil {
			t.Fatal(err)
		}
		if c.moved == 0 || c.cut == 0 {
			t.Errorf("seed %d: %d versions moved blocks, %d bytes were cut off", seed, c.moved, c.cut)
		}
		verified := 0 // so far
		verify := func(moment int) {
			policy := powercut.Policy(c.r.IntN(int(powercut.NumPolicies)))
			if err := c.image(moment, policy, uint64(verified)); err != nil {
				t.Fatalf("seed %d: after a cut at moment %d, policy %d: %v", seed, moment, policy, err)
			}
			verified++
		}
		for range images(15) {
			verify(c.shrunk[c.r.IntN(len(c.shrunk))])
			verify(first + c.r.IntN(c.disk.Now()-first+1))
		}
		t.Logf("%d transactions, %d versions moved blocks, %d bytes were cut off, %d images", len(c.states)-1, c.moved, c.cut, verified)
	}
}

// Whichever of the two usable anchors is left after the last user has made the heap file shorter,
// it has the new end of the file (U1).
func TestShorten_EitherAnchorKnowsTheEnd(t *testing.T) {
	c := &shrinkRun{t: t, r: rand.New(rand.NewPCG(1, 12)), disk: powercut.New(), dir: filepath.Join(t.TempDir(), "s"),
		now: map[uint64]uint64{}, states: []map[uint64]uint64{{}}}
	c.disk.Ignore["live"], c.disk.Ignore["heap"], c.disk.Ignore["journal"] = true, true, true
	c.open()
	c.fill()
	header, length := c.sp.Head, c.length()
	if err := c.sp.Close(); err != nil {
		t.Fatal(err)
	}
	if c.length() >= length {
		t.Fatalf("the file has %d bytes still", c.length())
	}
	c.eitherAnchor(header)
}

// eitherAnchor opens the closed space, once as it is and once without its newer anchor.
func (c *shrinkRun) eitherAnchor(header *format.Header) {
	t := c.t
	t.Helper()
	b := image(t, c.dir)
	for torn := range 2 {
		if torn > 0 {
			tear(t, b, header)
		}
		reset(t, c.dir, b)
		sp, err := Open(c.dir, Options{Manual: true})
		if err != nil {
			t.Fatalf("with %d anchors torn: %v", torn, err)
		}
		if got, most := sp.Live.Carved(), uint64(len(b[HeapName])); got > most {
			t.Errorf("with %d anchors torn %d bytes are reserved, of a file of %d", torn, got, most)
		}
		last := len(c.states) - 1
		if err := c.holds(sp, last, last); err != nil {
			t.Errorf("with %d anchors torn: %v", torn, err)
		}
		if err := sp.Close(); err != nil {
			t.Error(err)
		}
	}
}

// The last user cuts off space that was never used, even if the file is not long for what it holds.
// A recovery and the next user continue from there (U3).
func TestClose_CutsOffWhatNobodyUsed(t *testing.T) {
	c := &shrinkRun{t: t, r: rand.New(rand.NewPCG(1, 13)), disk: powercut.New(), dir: filepath.Join(t.TempDir(), "s"),
		now: map[uint64]uint64{}, states: []map[uint64]uint64{{}}}
	c.disk.Ignore["live"], c.disk.Ignore["heap"], c.disk.Ignore["journal"] = true, true, true
	more := func() {
		from := uint64(len(c.now))
		c.commit(false, func(tx *Tx) (err error) {
			for key := from; key < from+shrinkStep && err == nil; key++ {
				err = c.set(tx, key)
			}
			return err
		})
	}
	c.open()
	w := c.sp.Live.Words()
	for w.End.Load()-w.Carved.Load() < 4<<20 { // the file grows by an eighth at a time
		more()
	}
	carved, header, length := w.Carved.Load(), c.sp.Head, c.length()
	if err := c.sp.Close(); err != nil {
		t.Fatal(err)
	}
	if c.length() >= length || uint64(c.length()) < carved {
		t.Fatalf("the file has %d bytes, and had %d, of which %d were in use", c.length(), length, carved)
	}
	c.eitherAnchor(header)

	c.open() // it grows again
	for length := c.length(); c.length() == length; {
		more()
	}
	last := len(c.states) - 1
	if err := c.holds(c.sp, last, last); err != nil {
		t.Error(err)
	}
	if err := c.sp.Close(); err != nil {
		t.Error(err)
	}
}
