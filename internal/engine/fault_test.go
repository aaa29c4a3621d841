package engine

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"hash/crc32"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/everheap/everheap/internal/edit"
	"github.com/everheap/everheap/internal/failure"
	"github.com/everheap/everheap/internal/faultdisk"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/layout"
	"github.com/everheap/everheap/internal/spacefile"
)

// textContents is the contents of a space: from "map/key" to the value, or to the digest of a text.
type textContents map[string]string

// digest tells long texts from each other.
func digest(text string) string {
	return fmt.Sprintf("%d bytes, %08x", len(text), crc32.ChecksumIEEE(unsafe.Slice(unsafe.StringData(text), len(text))))
}

// A faultLife is a short life of a space on a failing disk: a series of steps, each of which may
// fail, and the errors that the program got.
type faultLife struct {
	t    *testing.T
	dir  string
	disk *faultdisk.Disk
	base uint64 // base of the window; 0: any
	sp   *Space
	id   [2]format.ID // IDs of the maps

	now     textContents
	history []textContents // committed contents in order; the last are the present ones
	durable int            // index of the contents last acknowledged as durable
	errs    []error        // that the program got
}

// faultStep is one step: what it does, and what it changes.
type faultStep struct {
	name    string
	do      func(l *faultLife) error
	change  func(c textContents) // nil: nothing
	durable bool                 // everything committed is durable once the step has succeeded
}

// texts names the map of strings.
func texts(id format.ID) edit.MapOf {
	return edit.MapOf{ID: id, Key: layout.IdentityOf[uint64](), Value: layout.IdentityOf[string]()}
}

func setWord(key, value uint64, durable bool) faultStep {
	return faultStep{
		name: fmt.Sprintf("set of a word, durable %v", durable),
		do: func(l *faultLife) error {
			return l.sp.Alone(durable).Set(words(l.id[0]), pointerTo(key), pointerTo(value))
		},
		change:  func(c textContents) { c[fmt.Sprint("0/", key)] = fmt.Sprint(value) },
		durable: durable,
	}
}

func setText(key uint64, size int) faultStep {
	text := strings.Repeat(fmt.Sprint(key, "-"), size/2)
	return faultStep{
		name: fmt.Sprintf("set of %d bytes", len(text)),
		do: func(l *faultLife) error {
			return l.sp.Alone(false).Set(texts(l.id[1]), pointerTo(key), unsafe.Pointer(&text))
		},
		change: func(c textContents) { c[fmt.Sprint("1/", key)] = digest(text) },
	}
}

func deleteWord(key uint64) faultStep {
	return faultStep{
		name: "delete",
		do: func(l *faultLife) error {
			_, err := l.sp.Alone(false).Delete(words(l.id[0]), pointerTo(key))
			return err
		},
		change: func(c textContents) { delete(c, fmt.Sprint("0/", key)) },
	}
}

// batch sets many keys in one transaction.
func batch(from, to, value uint64) faultStep {
	return faultStep{
		name: "batch",
		do: func(l *faultLife) error {
			return l.sp.Change(false, func(tx *Tx) error {
				for key := from; key < to; key++ {
					if err := tx.Set(words(l.id[0]), pointerTo(key), pointerTo(value)); err != nil {
						return err
					}
				}
				return nil
			})
		},
		change: func(c textContents) {
			for key := from; key < to; key++ {
				c[fmt.Sprint("0/", key)] = fmt.Sprint(value)
			}
		},
	}
}

// plain returns a step that changes nothing.
func plain(name string, durable bool, do func(sp *Space) error) faultStep {
	return faultStep{name: name, durable: durable, do: func(l *faultLife) error { return do(l.sp) }}
}

// faultSteps returns the steps of a life after the space was opened.
func faultSteps() []faultStep {
	sync := plain("sync", true, (*Space).Sync)
	spool := plain("spool", false, (*Space).Spool)
	anchor := plain("anchor", false, func(sp *Space) error { return sp.Anchor(false) })
	return []faultStep{
		setWord(1, 100, false), sync,
		batch(10, 60, 1), spool,
		setWord(2, 200, true), anchor,
		setText(1, 300_000), setText(2, 5000), deleteWord(11), sync,
		batch(10, 100, 2), setText(6, 1_500_000), // the heap grows
		setText(3, 1_200_000), spool, setText(4, 1_200_000), spool, // so does the journal
		setWord(1, 101, true), anchor, anchor, setWord(3, 300, false), sync,
		plain("two anchors", false, func(sp *Space) error { return sp.Anchor(true) }),
		plain("sweep", false, func(sp *Space) error { _, err := sp.Sweep(); return err }),
		plain("values without names", false, makeLoose), sync,
		plain("collection", false, func(sp *Space) error { _, err := sp.Collect(context.Background()); return err }),
		setText(1, 200), deleteWord(2), setWord(4, 400, true), setText(5, 70_000), setWord(5, 500, false),
	}
}

// makeLoose makes values that no object refers to.
func makeLoose(sp *Space) error {
	return sp.Change(false, func(tx *Tx) error {
		for range 5 {
			if _, err := tx.NewValue(wordType, pointerTo(1)); err != nil {
				return err
			}
		}
		return nil
	})
}

// open opens the space and its maps.
func (l *faultLife) open() error {
	sp, err := Open(l.dir, Options{MaxSize: 64 << 20, Base: l.base, Manual: true, Files: l.disk.OpenFile, Rename: l.disk.Rename, SyncDir: l.disk.SyncDir})
	if err != nil {
		return err
	}
	l.sp = sp
	for i, of := range []edit.MapOf{words(0), texts(0)} {
		if l.id[i], err = sp.OpenMap(fmt.Sprint("m", i), of); err != nil {
			return sp.Explain("open", err)
		}
	}
	return nil
}

// read reads the contents of the space.
func (l *faultLife) read() (textContents, error) {
	c := textContents{}
	err := l.sp.look(func(tx *Tx) error {
		var key, word uint64
		next := func() unsafe.Pointer { return unsafe.Pointer(&key) }
		if l.id[0] == 0 { // it failed before the maps were made
			return nil
		}
		err := tx.Entries(words(l.id[0]), next, func(v unsafe.Pointer) bool {
			word = *(*uint64)(v)
			c[fmt.Sprint("0/", key)] = fmt.Sprint(word)
			return true
		})
		if err != nil || l.id[1] == 0 {
			return err
		}
		return tx.Entries(texts(l.id[1]), next, func(v unsafe.Pointer) bool {
			c[fmt.Sprint("1/", key)] = digest(*(*string)(v))
			return true
		})
	})
	return c, err
}

// step does one step, and compares the contents of the space with what they must be. A step that
// failed has changed nothing, unless it was to be durable: then its change may be visible.
func (l *faultLife) step(s faultStep) {
	l.t.Helper()
	err := l.sp.Explain(s.name, s.do(l))
	after := maps.Clone(l.now)
	if s.change != nil {
		s.change(after)
	}
	if err != nil {
		l.errs = append(l.errs, err)
		if !errors.Is(err, failure.ErrNoSpace) && !errors.Is(err, failure.ErrIO) {
			l.t.Errorf("%s: the error does not say what it is: %v", s.name, err)
		}
	}
	got, readErr := l.read()
	switch {
	case readErr != nil:
		l.t.Errorf("%s (%v): reading fails: %v", s.name, err, readErr)
		return
	case err == nil && !maps.Equal(got, after):
		l.t.Errorf("%s: it succeeded, and the space has other contents than it must", s.name)
	case err != nil && !maps.Equal(got, l.now) && !(s.durable && maps.Equal(got, after)):
		l.t.Errorf("%s: it failed (%v), and the contents of the space have changed", s.name, err)
	}
	if s.change != nil && maps.Equal(got, after) {
		l.now = after
		l.history = append(l.history, after)
	}
	if s.durable && err == nil {
		l.durable = len(l.history) - 1
	}
}

// close closes the space, which makes everything durable or returns an error.
func (l *faultLife) close() {
	l.t.Helper()
	if l.sp == nil {
		return
	}
	if err := l.sp.Close(); err != nil {
		l.errs = append(l.errs, err)
		if !errors.Is(err, failure.ErrNoSpace) && !errors.Is(err, failure.ErrIO) {
			l.t.Errorf("close: the error does not say what it is: %v", err)
		}
	} else {
		l.durable = len(l.history) - 1
	}
	l.sp = nil
}

// mustBeTold reports whether the program must have got an error for the calls that failed. It need
// not if one anchor could not be read, since there are others, nor if the heap or the journal can
// do without the room that it wanted. (A failed allocation while the space closes leaves the mark
// to the next opener: everything committed is on disk.)
func mustBeTold(calls []faultdisk.Call, err syscall.Errno) bool {
	return slices.ContainsFunc(calls, func(c faultdisk.Call) bool {
		return c.Op == faultdisk.Sync || err == syscall.EIO && c.Op != faultdisk.Read && c.Op != faultdisk.Open && c.Op != faultdisk.Allocate
	})
}

// survives opens the space on a working disk: as the next process does, and as after a loss of
// power.
func (l *faultLife) survives() {
	l.t.Helper()
	l.disk.Repair()
	for _, powerLoss := range []bool{false, true} {
		if _, err := os.Stat(filepath.Join(l.dir, HeapName)); errors.Is(err, os.ErrNotExist) && l.durable == 0 && len(l.history) == 1 {
			return // the space was not created
		}
		if powerLoss {
			if err := os.Remove(filepath.Join(l.dir, "live")); err != nil {
				l.t.Fatal(err)
			}
		}
		if err := l.open(); err != nil {
			l.t.Fatalf("power loss %v: the space does not open again: %v", powerLoss, err)
		}
		got, err := l.read()
		if err != nil {
			l.t.Errorf("power loss %v: %v", powerLoss, err)
		}
		if first := len(l.history) - 1; !powerLoss && !maps.Equal(got, l.history[first]) {
			l.t.Errorf("the space does not have the committed contents")
		} else if powerLoss {
			for first = l.durable; first < len(l.history) && !maps.Equal(got, l.history[first]); first++ {
			}
			if first == len(l.history) {
				l.t.Errorf("power loss: the space has the contents of no version that it may have")
			}
		}
		l.now, l.history, l.durable = got, []textContents{got}, 0
		for _, s := range []faultStep{setWord(1, 7, false), batch(10, 100, 3), setText(1, 100_000), setWord(2, 8, true), plain("anchor", false, func(sp *Space) error { return sp.Anchor(false) })} {
			n := len(l.errs)
			if l.step(s); len(l.errs) > n {
				l.t.Errorf("power loss %v: after the disk was repaired, %s: %v", powerLoss, s.name, l.errs[n])
			}
		}
		report, err := l.sp.Check(context.Background())
		if err != nil || len(report.Findings) > 0 {
			l.t.Errorf("power loss %v: check: %v (%v)", powerLoss, report, err)
		}
		l.close()
	}
	if _, err := os.Stat(filepath.Join(l.dir, "live.new")); !errors.Is(err, os.ErrNotExist) {
		l.t.Errorf("live.new is left behind: %v", err)
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(l.dir), ".*.new-*")); len(left) > 0 {
		l.t.Errorf("left behind: %v", left)
	}
}

// faultDir makes a directory, in memory if possible, where syncs take no time.
func faultDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "everheap-fault-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// faultKinds are the ways in which calls fail.
var faultKinds = []struct {
	name string
	rule faultdisk.Rule
}{
	{"no space, once", faultdisk.Rule{Once: true, Err: syscall.ENOSPC}},
	{"no space, for good", faultdisk.Rule{Err: syscall.ENOSPC}},
	{"I/O error, once", faultdisk.Rule{Once: true, Err: syscall.EIO}},
	{"I/O error, for good", faultdisk.Rule{Err: syscall.EIO}},
}

// spaceOps are the calls for which a disk can be full.
var spaceOps = []faultdisk.Op{faultdisk.Open, faultdisk.Write, faultdisk.Allocate, faultdisk.Truncate, faultdisk.Sync, faultdisk.Rename}

var everyFlag = flag.Bool("everheap.every", false, "let every call fail in turn, and verify many more images: for make soak")

// everyCall runs lives, in each of which another call fails, until a life has no such call. It
// tries about every third call, or with -everheap.every each one. live prepares the space on the
// working disk, calls begin, and continues.
func everyCall(t *testing.T, live func(l *faultLife, begin func())) {
	for _, kind := range faultKinds {
		t.Run(kind.name, func(t *testing.T) {
			t.Parallel()
			parent := faultDir(t)
			window, err := WindowSize(64 << 20)
			if err != nil {
				t.Fatal(err)
			}
			base, err := spacefile.PickPlace(window, nil) // one for all lives: a process can have only so many windows
			if err != nil {
				t.Fatal(err)
			}
			r := rand.New(rand.NewPCG(1, 1)) // random, so that it does not always leave out the same sort of call
			stride := 3
			switch {
			case testing.Short():
				stride = 11
			case *everyFlag:
				stride = 1
			}
			if !kind.rule.Once && !testing.Short() {
				stride *= 3 // the calls after the first failure differ little
			}
			for k := 0; ; k += 1 + r.IntN(2*stride-1) {
				l := &faultLife{t: t, dir: filepath.Join(parent, fmt.Sprint("s", k)), base: base, disk: faultdisk.New(), now: textContents{}}
				l.history = []textContents{l.now}
				rule := kind.rule
				if rule.After = k; rule.Err == syscall.ENOSPC {
					rule.Ops = spaceOps
				}
				live(l, func() { l.errs = nil; l.disk.Fail(rule) })
				l.close()
				failed := l.disk.Failed()
				if len(failed) == 0 {
					if len(l.errs) > 0 {
						t.Errorf("no call failed, and yet: %v", errors.Join(l.errs...))
					}
					t.Logf("%d calls", l.disk.Seen())
					return
				}
				if len(l.errs) == 0 && mustBeTold(failed, rule.Err) {
					t.Errorf("the program got no error")
				}
				l.survives()
				if os.RemoveAll(l.dir); t.Failed() {
					t.Fatalf("call %d, %v, was the first to fail", k, failed[0])
				}
			}
		})
	}
}

// tryOpen opens the space, which may fail.
func (l *faultLife) tryOpen() bool {
	l.t.Helper()
	err := l.open()
	if err == nil {
		return true
	}
	l.errs = append(l.errs, err)
	if !errors.Is(err, failure.ErrNoSpace) && !errors.Is(err, failure.ErrIO) {
		l.t.Errorf("open: the error does not say what it is: %v", err)
	}
	return false
}

// must fails the test on an error.
func (l *faultLife) must(err error) {
	l.t.Helper()
	if err != nil {
		l.t.Fatal(err)
	}
}

func TestFaults_Life(t *testing.T) {
	everyCall(t, func(l *faultLife, begin func()) {
		begin()
		if !l.tryOpen() {
			return
		}
		for _, s := range faultSteps() {
			l.step(s)
		}
	})
}

// lived prepares a space with contents, by steps that must succeed.
func (l *faultLife) lived(steps ...faultStep) {
	l.t.Helper()
	l.must(l.open())
	for _, s := range steps {
		if l.step(s); len(l.errs) > 0 {
			l.t.Fatal(l.errs)
		}
	}
}

// recent returns steps whose changes stay in the journal.
func recent() []faultStep {
	return []faultStep{setWord(1, 100, false), batch(10, 60, 1), setText(1, 100_000), setText(2, 40_000), setText(3, 5000), setWord(2, 1, true),
		deleteWord(11), setWord(1, 101, true)}
}

// much returns steps that fill more than one segment of the journal.
func much() []faultStep {
	return append([]faultStep{setText(1, 300_000), setText(2, 900_000), setText(3, 900_000)}, recent()...)
}

// A space is opened after a loss of power, and needs nothing from the journal.
func TestFaults_OpenAfterPowerLoss(t *testing.T) {
	everyCall(t, func(l *faultLife, begin func()) {
		l.lived(recent()...)
		l.close()
		l.must(os.Remove(filepath.Join(l.dir, "live")))
		begin()
		if l.tryOpen() {
			l.step(setWord(1, 55, true))
			l.step(setText(9, 1_500_000))
		}
	})
}

// A space is opened after a loss of power, and the journal is replayed.
func TestFaults_Replay(t *testing.T) {
	everyCall(t, func(l *faultLife, begin func()) {
		l.lived(much()...)
		b := image(l.t, l.dir)
		l.close()
		reset(l.t, l.dir, b)
		begin()
		if l.tryOpen() {
			l.step(setWord(1, 55, true))
		}
	})
}

// The disk fails again while a process heals the space.
func TestFaults_Heal(t *testing.T) {
	everyCall(t, func(l *faultLife, begin func()) {
		l.lived(recent()...)
		l.disk.Fail(faultdisk.Rule{Ops: []faultdisk.Op{faultdisk.Sync}, Err: syscall.EIO})
		l.step(setWord(1, 102, true))
		l.close()
		if l.disk.Repair(); len(l.errs) == 0 {
			l.t.Fatal("a sync failed, and the program got no error")
		}
		begin()
		if l.tryOpen() {
			l.step(setWord(1, 55, true))
		}
	})
}

// After the disk was full and has room again, everything works in the same process.
func TestFaults_FullDiskThatGetsRoom(t *testing.T) {
	parent := faultDir(t)
	for k := range 12 {
		l := &faultLife{t: t, dir: filepath.Join(parent, fmt.Sprint("s", k)), disk: faultdisk.New(), now: textContents{}}
		l.history = []textContents{l.now}
		l.lived(much()...)
		l.disk.Fail(faultdisk.Rule{Ops: []faultdisk.Op{faultdisk.Allocate}, After: k, Err: syscall.ENOSPC})
		for i := range uint64(8) {
			l.step(setText(10+i, 700_000))
			l.step(setWord(1, 200+i, true)) // the journal has no room either, so each write needs an anchor
		}
		if len(l.disk.Failed()) == 0 {
			t.Fatalf("only %d calls", l.disk.Seen())
		}
		for _, err := range l.errs {
			if errors.Is(err, failure.ErrIO) {
				t.Errorf("a full disk counts as a broken one: %v", err)
			}
		}
		l.disk.Repair()
		l.errs = nil
		for i := range uint64(8) {
			l.step(setText(10+i, 700_000))
			l.step(setWord(1, 300+i, true))
		}
		if len(l.errs) > 0 {
			t.Errorf("with room again: %v", errors.Join(l.errs...))
		}
		l.close()
		l.survives()
		os.RemoveAll(l.dir)
	}
}

// After a failed sync reads continue, and everything else fails, in every process and at every try,
// until a process opens the space alone.
func TestFaults_FailedSyncIsFinal(t *testing.T) { // E7, M6
	for _, file := range []string{HeapName, "journal"} {
		t.Run(file, func(t *testing.T) {
			l := &faultLife{t: t, dir: filepath.Join(faultDir(t), "s"), disk: faultdisk.New(), now: textContents{}}
			l.history = []textContents{l.now}
			l.lived(recent()...)
			l.step(setWord(5, 5, false))
			l.disk.Fail(faultdisk.Rule{Ops: []faultdisk.Op{faultdisk.Sync}, Files: []string{file}, Once: true, Err: syscall.EIO})
			sync := l.sp.Sync
			if file == HeapName {
				sync = func() error { return l.sp.Anchor(true) }
			}
			began := time.Now()
			for _, do := range []func() error{
				sync, sync, l.sp.Sync, func() error { return l.sp.Anchor(false) },
				func() error { return l.sp.Alone(false).Set(words(l.id[0]), pointerTo(1), pointerTo(9)) },
				func() error { return l.sp.Alone(true).Set(words(l.id[0]), pointerTo(1), pointerTo(9)) },
				func() error { _, err := l.sp.OpenMap("new", words(0)); return err },
				func() error { _, err := l.sp.Begin(context.Background()); return err },
				func() error { _, err := l.sp.Sweep(); return err },
			} {
				if err := l.sp.Explain("do", do()); !errors.Is(err, failure.ErrIO) {
					t.Errorf("after a failed sync: %v", err)
				}
				if got, err := l.read(); err != nil || !maps.Equal(got, l.now) {
					t.Errorf("reading after a failed sync: %v", err)
				}
			}
			if took := time.Since(began); took > time.Minute {
				t.Errorf("it took %v to refuse", took)
			}
			l.errs = nil
			if l.close(); len(l.errs) == 0 {
				t.Error("the last commit is not on disk, and Close returns no error")
			}
			l.survives()
		})
	}
}

// A recovery whose sync failed leaves the mark to the next recovery, although it rebuilds the live
// file.
func TestFaults_RecoveryThatFailsIsHealedByTheNext(t *testing.T) {
	l := &faultLife{t: t, dir: filepath.Join(faultDir(t), "s"), disk: faultdisk.New(), now: textContents{}}
	l.history = []textContents{l.now}
	l.lived(recent()...)
	b := image(t, l.dir)
	l.close()
	reset(t, l.dir, b)
	l.disk.Fail(faultdisk.Rule{Ops: []faultdisk.Op{faultdisk.Sync}, Files: []string{"journal"}, Once: true, Err: syscall.EIO})
	if err := l.open(); !errors.Is(err, failure.ErrIO) {
		t.Fatalf("a sync failed during recovery: %v", err)
	}
	l.disk.Repair()
	l.must(l.open())
	if newest, current := l.sp.Live.NewestAnchor(), l.sp.Heap.VersionOf(l.sp.Live.Current()); newest < current {
		t.Errorf("the space was not healed: the newest anchor is of version %d, current is %d", newest, current)
	}
	l.close()
	l.survives()
}
