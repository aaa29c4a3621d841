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

// These tests cut, overwrite or remove the live file of a space while a program has the space open.
// Package test/lost tests what happens to programs. Here are the verbs of the command: verbs that
// begin after the loss, and verbs that are running when it happens.

func init() { proctest.Children["keeper"] = keeper }

// keeper is a process that keeps spaces open, and closes them on command.
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

// keeping makes spaces that a keeper keeps open.
type keeping struct {
	keeper *proctest.Proc
	dir    string
	mu     sync.Mutex
	n      int
}

// newKeeping starts a keeper. All users may read its spaces.
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

// make makes a space, which the keeper opens.
func (k *keeping) make(t testing.TB) (dir string) {
	t.Helper()
	k.mu.Lock()
	defer k.mu.Unlock()
	k.n++
	dir = filepath.Join(k.dir, fmt.Sprint("s", k.n))
	k.say(t, "make "+dir)
	return dir
}

// say sends the keeper a command, and waits for its answer.
func (k *keeping) say(t testing.TB, what string) {
	t.Helper()
	k.keeper.Tell(what)
	if said := k.keeper.Hear(what); said != "well" && !adviceOfLoss(said) {
		t.Errorf("%s: %s", what, said)
	}
}

// over closes a space whose file was cut, and verifies its contents, including the change that the
// verb reported.
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

// adviceOfLoss reports whether an error says that the live file is lost, and what to do.
func adviceOfLoss(text string) bool {
	return strings.Contains(text, "live file") &&
		(strings.Contains(text, "open it again") || strings.Contains(text, "close it there first"))
}

// lostCuts are the ways to damage a live file.
var lostCuts = []struct {
	name   string
	shared bool // the file has another name or none, but the processes still share it
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
	if errors.Is(err, fs.ErrNotExist) { // no process has the space open yet, or any more
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
	line    string // SPACE is the space, OUT a new file; | is a blank in a word
	in      string // standard input
	busy    bool   // the verb fails if another process has the space open, without naming the loss
	reading bool   // a user who may only read the space can run it
	alone   bool   // no other process may have the space open
	waits   bool   // until something happens
	guest   bool   // run by a user who may not write the space
	done    string // command that shows afterwards that the verb was done
	shows   string // its output then, or a part of it
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

// run runs a verb in this process. The verb calls event before each read and write.
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

// told returns an error unless a verb that met the loss has printed the advice.
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

// A verb that begins after the loss, while another process has the space open, says to close the
// space there.
func TestLostLive_VerbsBeginAfterwards(t *testing.T) { // L14, L16, X6
	k := newKeeping(t)
	defer func() { k.keeper.Tell("end"); k.keeper.Ends() }()
	var all sync.WaitGroup
	for i, v := range lostVerbs {
		all.Go(func() { // each verb waits a second for other processes to close the space
			dir, how := k.make(t), i%len(lostCuts)
			cutLive(t, dir, how)
			r := v.run(t, dir, func() {})
			if err := v.told(r); err != nil {
				t.Errorf("%s, the file is %s: %v", v.line, lostCuts[how].name, err)
			}
			if v.reading && os.Geteuid() == 0 { // a user who may only read gets the same error
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

// The loss does not matter to verbs that need no live file.
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

// met runs a verb, and cuts the file at one moment of the run: before a read or write of the verb, at
// a point in builds with assertions, or while the verb waits. It returns the number of moments.
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

// A verb that meets the loss ends; it prints the advice, or has done its work.
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
					how = 0 // nothing would happen any more that the verb could wait for
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
