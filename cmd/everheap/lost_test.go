package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/internal/invariant"
	"github.com/everheap/everheap/internal/proctest"
)

// The live file of a space is cut, written over or removed while a program has it open. What
// becomes of programs package test/lost tests; here is what becomes of the verbs of the command,
// of those that begin afterwards, and of those that it meets in the middle.

func init() { proctest.Children["keeper"] = keeper }

// keeper is a process that has spaces open, and closes them, as it is told.
func keeper(string) error {
	spaces := map[string]*everheap.Space{}
	for {
		verb, dir, _ := strings.Cut(proctest.Told(), " ")
		var err error
		switch verb {
		case "make":
			spaces[dir], err = makeLost(dir)
		case "open":
			spaces[dir], err = everheap.Open(dir)
		case "close":
			err = spaces[dir].Close()
		case "end":
			return nil
		}
		text := "well"
		if err != nil {
			text = strings.ReplaceAll(err.Error(), "\n", "; ")
		}
		proctest.Say(verb, dir, text)
	}
}

// lostRow is a value of the spaces.
type lostRow struct {
	Name string
	Age  int
}

// makeLost makes a space that all users may read.
func makeLost(dir string) (*everheap.Space, error) {
	s, err := everheap.Open(dir, everheap.WithMaxSize(64<<20), everheap.WithMode(0o755))
	if err != nil {
		return nil, err
	}
	err = s.Update(context.Background(), func(tx *everheap.Tx) error {
		m, err := everheap.OpenMap[string, lostRow](tx, "m", everheap.WithIndex("ages", "Age"))
		for i := 0; i < 50 && err == nil; i++ {
			err = m.Set(tx, fmt.Sprint("k", i), lostRow{Name: fmt.Sprint("n", i), Age: i % 7})
		}
		return err
	}, everheap.Durable)
	return s, errors.Join(err, s.Checkpoint("c"))
}

// keeping makes spaces that a keeper has open.
type keeping struct {
	keeper *proctest.Proc
	dir    string
	mu     sync.Mutex
	n      int
}

// newKeeping starts a keeper. All users may see its spaces.
func newKeeping(t *testing.T) *keeping {
	t.Helper()
	dir := t.TempDir()
	t.Setenv("EVERHEAP_HOME", filepath.Join(dir, "home"))
	t.Setenv("NO_COLOR", "1")
	must(t, os.Chmod(dir, 0o755))
	must(t, os.Chmod(filepath.Dir(dir), 0o755))
	return &keeping{keeper: proctest.Start(t, "keeper", "", nil), dir: dir}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// make makes a space, which the keeper has open.
func (k *keeping) make(t testing.TB) (dir string) {
	t.Helper()
	k.mu.Lock()
	defer k.mu.Unlock()
	k.n++
	dir = filepath.Join(k.dir, fmt.Sprint("s", k.n))
	k.say(t, "make "+dir)
	return dir
}

// say tells the keeper what to do, and hears how it went.
func (k *keeping) say(t testing.TB, what string) {
	t.Helper()
	k.keeper.Tell(what)
	if said := k.keeper.Hear(what); said != "well" && !adviceOfLoss(said) {
		t.Errorf("%s: %s", what, said)
	}
}

// over closes a space whose file was cut, and looks whether all is there that must be: what
// the verb says to have done, too.
func (k *keeping) over(t testing.TB, dir string, v *lostVerb, r *verbRun) {
	t.Helper()
	k.mu.Lock()
	defer k.mu.Unlock()
	k.say(t, "close "+dir)
	s, err := everheap.Open(dir, everheap.WithoutCollect())
	if err != nil {
		t.Fatalf("afterwards: %v", err)
	}
	report, err := s.Check(t.Context())
	if err != nil || len(report.Findings) > 0 {
		t.Errorf("afterwards: %v %v", report.Findings, err)
	}
	must(t, s.Close())
	if r.code == 0 && v.done != "" {
		after := lostVerb{line: v.done}
		if r := after.run(t, dir, func() {}); !strings.Contains(r.out.String(), v.shows) {
			t.Errorf("it was done; but %s prints afterwards: %s%s", v.done, &r.out, &r.err)
		}
	}
	must(t, os.RemoveAll(dir))
}

// adviceOfLoss reports whether an error says that live is lost, and what to do.
func adviceOfLoss(text string) bool {
	return strings.Contains(text, "live file") &&
		(strings.Contains(text, "open it again") || strings.Contains(text, "close it there first"))
}

// lostCuts are what is done to a live file.
var lostCuts = []struct {
	name   string
	shared bool // it has another name or none, and is still what the processes share
	do     func(path string, size int64) error
}{
	{"cut to nothing", false, func(path string, _ int64) error { return os.Truncate(path, 0) }},
	{"cut to a page", false, func(path string, _ int64) error { return os.Truncate(path, 4096) }},
	{"cut and made longer again", false, func(path string, size int64) error {
		return errors.Join(os.Truncate(path, 0), os.Truncate(path, size))
	}},
	{"written over", false, func(path string, size int64) error {
		return os.WriteFile(path, bytes.Repeat([]byte{0xA7}, int(size)), 0o600)
	}},
	{"removed", true, func(path string, _ int64) error { return os.Remove(path) }},
	{"replaced", true, func(path string, size int64) error {
		return errors.Join(os.WriteFile(path+".new", make([]byte, size), 0o600), os.Rename(path+".new", path))
	}},
}

// cutLive cuts the live file of a space.
func cutLive(t testing.TB, dir string, how int) {
	path := filepath.Join(dir, "live")
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) { // nobody has the space open yet, or any more
		return
	}
	if err == nil {
		err = lostCuts[how].do(path, info.Size())
	}
	if err != nil {
		t.Error(err)
	}
}

// lostVerb is a verb that needs a live file.
type lostVerb struct {
	line    string // SPACE is the space, OUT a file that is not there; | is a blank in a word
	in      string // standard input
	busy    bool   // it cannot be done while others have the space open, and says no more
	reading bool   // who may only read the space can do it
	alone   bool   // nobody else may have it open
	waits   bool   // until something happens
	guest   bool   // it is run by one who may not write
	done    string // line of the shell that shows, afterwards, that the verb was done
	shows   string // what it prints then, or a part of it
}

const lostType = "map[string]struct{Name|string;Age|int;More|string}"

var lostVerbs = []lostVerb{
	{line: "info SPACE", reading: true},
	{line: "info --json SPACE", reading: true},
	{line: "ps SPACE", reading: true},
	{line: "locks SPACE", reading: true},
	{line: "check SPACE", reading: true},
	{line: "get SPACE", reading: true},
	{line: "get SPACE m", reading: true},
	{line: "get SPACE m k1 --at c", reading: true},
	{line: "keys SPACE m", reading: true},
	{line: "types SPACE", reading: true},
	{line: `set SPACE m k1 {"Age":77}`, done: "get SPACE m k1", shows: "77"},
	{line: "del SPACE m k1", done: "shell SPACE count|m", shows: "49"},
	{line: "create SPACE n map[string]int", done: "get SPACE", shows: "n"},
	{line: "evolve SPACE m " + lostType + " --yes", done: "types SPACE", shows: "More"},
	{line: "index SPACE m", reading: true},
	{line: "index SPACE m names Name", done: "index SPACE m", shows: "names"},
	{line: "index SPACE m ages --drop"},
	{line: "rename SPACE m x", done: "shell SPACE count|x", shows: "50"},
	{line: "drop SPACE m --yes", done: "info SPACE", shows: "nothing has a name"},
	{line: "export SPACE m", reading: true},
	{line: "export SPACE m --at c", reading: true},
	{line: "import SPACE m - --key Name", in: `{"Name":"z","Age":1}` + "\n", done: "shell SPACE count|m", shows: "51"},
	{line: "shell SPACE m", reading: true},
	{line: "shell SPACE", in: "m where Age > 3\nset m k1 {\"Age\": 77}\nm limit 1\n", done: "get SPACE m k1", shows: "77"},
	{line: "collect SPACE"},
	{line: "checkpoint SPACE", reading: true},
	{line: "checkpoint SPACE d", done: "checkpoint SPACE", shows: "d "},
	{line: "checkpoint SPACE c --restore", done: "shell SPACE count|m", shows: "50"},
	{line: "checkpoint SPACE c --drop"},
	{line: "compact SPACE", alone: true},
	{line: "compact --online SPACE"},
	{line: "compact --offline SPACE", busy: true, alone: true},
	{line: "rebase SPACE", busy: true, alone: true},
	{line: "resize SPACE 128MiB", done: "info SPACE", shows: "128 MiB at the most"},
	{line: "resize SPACE 8GiB", busy: true, alone: true, done: "info SPACE", shows: "8 GiB at the most"},
	{line: "recover SPACE"},
	{line: "backup SPACE OUT"},
	{line: "backup SPACE", reading: true},
	{line: "salvage SPACE OUT", busy: true, alone: true},
	{line: "watch SPACE --count 1", reading: true, waits: true},
	{line: "watch SPACE m --initial", reading: true, waits: true},
}

// verbRun is one run of the command.
type verbRun struct {
	code     int
	out, err bytes.Buffer
}

// taps calls event before each reading and writing.
type taps struct {
	io.Reader
	io.Writer
	event func()
}

func (s *taps) Read(p []byte) (int, error)  { s.event(); return s.Reader.Read(p[:min(len(p), 16)]) }
func (s *taps) Write(p []byte) (int, error) { s.event(); return s.Writer.Write(p) }

// run runs a verb in this process; event is called before all that it reads and writes.
func (v *lostVerb) run(t testing.TB, dir string, event func()) *verbRun {
	t.Helper()
	var words []string
	for _, word := range strings.Fields(v.line) {
		words = append(words, strings.NewReplacer("SPACE", dir, "OUT", dir+".out", "|", " ").Replace(word))
	}
	r, done := &verbRun{}, make(chan struct{})
	go func() {
		defer close(done)
		if v.guest {
			runtime.LockOSThread() // for good: the thread ends with the goroutine
			if err := syscall.Setfsuid(65534); err != nil {
				t.Error(err)
			}
		}
		r.code = run(words, &streams{&taps{Reader: strings.NewReader(v.in), event: event},
			&taps{Writer: &r.out, event: event}, &taps{Writer: &r.err, event: event}})
	}()
	select {
	case <-done:
	case <-time.After(proctest.Patience):
		stacks := make([]byte, 1<<20)
		t.Fatalf("%s does not end:\n%s", v.line, stacks[:runtime.Stack(stacks, true)])
	}
	must(t, os.RemoveAll(dir+".out"))
	return r
}

// told returns an error unless a verb that has met the loss has said what is to be said.
func (v *lostVerb) told(r *verbRun) error {
	said := r.err.String()
	switch {
	case r.code == 0:
		return errors.New("it does not fail")
	case adviceOfLoss(said), (v.busy || v.guest) && strings.Contains(said, "close it there first"):
		return nil
	}
	return fmt.Errorf("exit code %d, and it says: %s", r.code, said)
}

// Whoever comes after the loss, while others have the space open, is told to close it there.
func TestLostLive_VerbsBeginAfterwards(t *testing.T) { // L14, L16, X6
	k := newKeeping(t)
	defer func() { k.keeper.Tell("end"); k.keeper.Ends() }()
	var all sync.WaitGroup
	for i, v := range lostVerbs {
		all.Go(func() { // each waits a second for others to leave
			dir, how := k.make(t), i%len(lostCuts)
			cutLive(t, dir, how)
			r := v.run(t, dir, func() {})
			if err := v.told(r); err != nil {
				t.Errorf("%s, the file is %s: %v", v.line, lostCuts[how].name, err)
			}
			if v.reading && os.Geteuid() == 0 { // so is a user who may only read
				v.guest = true
				if err := os.Chmod(filepath.Join(dir, "live"), 0o444); err != nil && !errors.Is(err, fs.ErrNotExist) {
					t.Error(err)
				}
				r = v.run(t, dir, func() {})
				if err := v.told(r); err != nil {
					t.Errorf("%s, by one who may only read, the file is %s: %v", v.line, lostCuts[how].name, err)
				}
			}
			k.over(t, dir, &v, r)
		})
	}
	all.Wait()
}

// The verbs that need no live file do not mind.
func TestLostLive_VerbsOfTheRegistry(t *testing.T) {
	k := newKeeping(t)
	for how := range lostCuts {
		dir, r := k.make(t), &verbRun{}
		cutLive(t, dir, how)
		for _, v := range []lostVerb{{line: "adopt SPACE x"}, {line: "ls"}, {line: "forget x"}} {
			if r = v.run(t, dir, func() {}); r.code != 0 || !strings.Contains(r.out.String(), "x") {
				t.Errorf("%s: %d, %s%s", v.line, r.code, &r.out, &r.err)
			}
		}
		k.over(t, dir, &lostVerb{}, r)
	}
	k.keeper.Tell("end")
	k.keeper.Ends()
}

// met runs a verb, and cuts the file at one of the moments of it: before it reads or writes
// something, or, in builds with assertions, at a point; or when it waits, if it does. It
// returns how many moments there were.
func (v *lostVerb) met(t testing.TB, dir string, at, how int) (r *verbRun, moments int, cut bool) {
	var mu sync.Mutex
	event := func() {
		mu.Lock()
		defer mu.Unlock()
		if moments++; moments-1 == at {
			cut = true
			done := make(chan struct{})
			go func() { defer close(done); cutLive(t, dir, how) }() // on a thread that may do it
			<-done
		}
	}
	defer invariant.Hook(func(string) { event() })()
	if v.waits {
		defer time.AfterFunc(50*time.Millisecond, func() {
			mu.Lock()
			defer mu.Unlock()
			if !cut {
				cut = true
				cutLive(t, dir, how)
			}
		}).Stop()
	}
	r = v.run(t, dir, event)
	mu.Lock()
	defer mu.Unlock()
	return r, moments, cut
}

// A verb that meets the loss ends, and says what is to be said, or has done its work.
func TestLostLive_VerbsInTheMiddle(t *testing.T) { // L15, L16, X1, X2, X6
	k := newKeeping(t)
	how, root := 0, os.Geteuid() == 0
	for i, v := range lostVerbs {
		if testing.Short() && i%3 > 0 {
			continue
		}
		t.Run(v.line, func(t *testing.T) {
			for at, moments, round := 0, 1, 0; at < moments; at, round = 2*at+1, round+1 {
				dir := k.make(t)
				if v.alone {
					k.say(t, "close "+dir)
				}
				if how = (how + 1) % len(lostCuts); v.waits && lostCuts[how].shared {
					how = 0 // nothing would happen any more, for which it would wait
				}
				if v.guest = v.reading && root && round%2 == 1; v.guest {
					must(t, os.Chmod(filepath.Join(dir, "live"), 0o444))
				}
				r, n, cut := v.met(t, dir, at, how)
				moments = max(moments, n)
				what := fmt.Sprintf("moment %d of %d, the file is %s, as a guest: %v", at, moments, lostCuts[how].name, v.guest)
				if err := v.told(r); err != nil && (r.code != 0 || v.waits) {
					t.Errorf("%s: %v", what, err)
				}
				if !cut && r.code != 0 {
					t.Errorf("nothing was cut, and it fails: %s", &r.err)
				}
				t.Logf("%s: %d %.30q %s", what, r.code, r.out.String(), r.err.String())
				if v.alone {
					k.say(t, "open "+dir)
				}
				k.over(t, dir, &v, r)
			}
		})
	}
	k.keeper.Tell("end")
	k.keeper.Ends()
}
