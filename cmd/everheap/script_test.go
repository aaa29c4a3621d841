package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/internal/invariant"
	"github.com/everheap/everheap/internal/proctest"
	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	proctest.Main()
	testscript.Main(m, map[string]func(){
		"everheap": main,
		"fill":     func() { helper(fill) },
		"stock":    func() { helper(stock) },
		"shelve":   func() { helper(shelve) },
		"draw":     func() { helper(draw) },
		"hold":     func() { helper(hold) },
		"lock":     func() { helper(lock) },
		"sparse":   func() { helper(sparse) },
		"both":     func() { helper(both) },
	})
}

// helper runs a program of the scripts.
func helper(fn func(args []string) error) {
	if err := fn(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// patience is the longest time for all scripts together. After that the test ends the commands that
// scripts wait for, so that the scripts fail and not the whole test run.
const patience = 5 * time.Minute

// shortly bounds the wait for quick operations, on a busy machine.
const shortly = time.Minute

// TestScript runs the transcripts, one for each verb. A script starts background commands directly,
// or by exec of a shell. Otherwise a failure would end the shell in between, and the test would wait
// for the command.
func TestScript(t *testing.T) {
	deadline := time.Now().Add(patience)
	if end, ok := t.Deadline(); ok && end.Before(deadline) {
		deadline = end
	}
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		Deadline:            deadline,
		Setup: func(e *testscript.Env) error {
			e.Setenv("EVERHEAP_HOME", e.WorkDir+"/home")
			e.Setenv("NO_COLOR", "1")
			e.Setenv("GORACE", "atexit_sleep_ms=0") // otherwise every command of a race build sleeps a second
			return nil
		},
		Condition: func(name string) (bool, error) {
			switch name {
			case "invariants":
				return invariant.Enabled, nil
			case "namespaces":
				return exec.Command("unshare", "--pid", "--fork", "--mount-proc", "true").Run() == nil, nil
			case "users":
				return exec.Command("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "true").Run() == nil, nil
			}
			return false, fmt.Errorf("there is no condition %q", name)
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"await":     await,
			"damage":    damage,
			"exitcode":  exitCode,
			"flip":      flip,
			"interrupt": interrupt,
			"signal":    send,
			"truncate":  truncate,
		},
	})
}

// await FILE [TEXT] waits until a background command has made a file, with a text in it.
func await(ts *testscript.TestScript, _ bool, args []string) {
	for deadline := time.Now().Add(shortly); ; time.Sleep(time.Millisecond) {
		b, err := os.ReadFile(ts.MkAbs(args[0]))
		if err == nil && (len(args) == 1 || strings.Contains(string(b), args[1])) {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("%s did not appear", strings.Join(args, ": "))
		}
	}
}

// exitCode CODE COMMAND... runs a command and compares its exit code.
func exitCode(ts *testscript.TestScript, _ bool, args []string) {
	err := ts.Exec(args[1], args[2:]...)
	got := 0
	if e := (*exec.ExitError)(nil); errors.As(err, &e) {
		got = e.ExitCode()
	} else {
		ts.Check(err)
	}
	if want, err := strconv.Atoi(args[0]); err != nil || got != want {
		ts.Fatalf("exit code %d, want %s", got, args[0])
	}
}

// send SIGNAL FILE sends a signal to the process whose number is in a file.
func send(ts *testscript.TestScript, _ bool, args []string) {
	pid, err := strconv.Atoi(ts.ReadFile(args[1]))
	ts.Check(err)
	ts.Check(syscall.Kill(pid, map[string]syscall.Signal{"STOP": syscall.SIGSTOP, "CONT": syscall.SIGCONT, "KILL": syscall.SIGKILL}[args[0]]))
}

// interrupt COMMAND... runs a command and sends SIGINT while it runs. It sends the signal again if
// the command was not listening yet: a command that a shell starts in the background ignores the
// signal until it listens.
func interrupt(ts *testscript.TestScript, _ bool, args []string) {
	// The shell sends the signal to the command only, not to its children.
	ts.Check(os.WriteFile(ts.MkAbs("interrupt.sh"), []byte(interruptSh), 0o600))
	err := ts.Exec("sh", append([]string{"interrupt.sh"}, args...)...)
	if e := (*exec.ExitError)(nil); !errors.As(err, &e) || e.ExitCode() != exitInterrupted {
		ts.Fatalf("%v, want exit code %d", err, exitInterrupted)
	}
}

// interruptSh sends the signal each second. It gives up in the end, so that the test does not wait
// for ever. (A shell notices the end of a background command when another command has ended.)
const interruptSh = `"$@" & sleep 0.7
for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
	kill -INT $! 2>/dev/null || break
	for j in 1 2 3 4 5 6 7 8 9 10; do
		sleep 0.1
		kill -0 $! 2>/dev/null || break 2
	done
done
kill -KILL $! 2>/dev/null
wait $!
`

// damage FILE TEXT overwrites every occurrence of a text in a file.
func damage(ts *testscript.TestScript, _ bool, args []string) {
	path := ts.MkAbs(args[0])
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	ts.Check(err)
	defer f.Close()
	invariant.Distrust(filepath.Dir(path))
	b, err := os.ReadFile(path)
	ts.Check(err)
	found := 0
	for s, from := string(b), 0; ; found++ {
		i := strings.Index(s[from:], args[1])
		if i < 0 {
			break
		}
		from += i
		_, err := f.WriteAt([]byte("X"), int64(from))
		ts.Check(err)
		from++
	}
	if found == 0 {
		ts.Fatalf("%s does not hold %q", args[0], args[1])
	}
}

// flip FILE OFFSET changes a bit of a file.
func flip(ts *testscript.TestScript, _ bool, args []string) {
	f, err := os.OpenFile(ts.MkAbs(args[0]), os.O_RDWR, 0)
	ts.Check(err)
	defer f.Close()
	invariant.Distrust(filepath.Dir(ts.MkAbs(args[0])))
	off, err := strconv.ParseInt(args[1], 10, 64)
	ts.Check(err)
	b := make([]byte, 1)
	_, err = f.ReadAt(b, off)
	ts.Check(err)
	b[0] ^= 4
	_, err = f.WriteAt(b, off)
	ts.Check(err)
}

// truncate FILE SIZE cuts a file.
func truncate(ts *testscript.TestScript, _ bool, args []string) {
	size, err := strconv.ParseInt(args[1], 10, 64)
	ts.Check(err)
	ts.Check(os.Truncate(ts.MkAbs(args[0]), size))
}

// user is the value type of the scripts.
type user struct {
	Name   string
	Age    int
	Tags   []string
	Boss   *user
	Joined time.Time
}

// point is a key of several fields.
type point struct{ X, Y int }

// fill SPACE makes a space with maps of several types.
func fill(args []string) (err error) {
	s, err := everheap.Open(args[0], everheap.WithMaxSize(256<<20))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	return s.Update(context.Background(), func(tx *everheap.Tx) error {
		ann := user{Name: "Ann", Age: 40, Tags: []string{"admin", "ops"}, Joined: time.Date(2024, 2, 29, 12, 0, 0, 0, time.UTC)}
		bob := user{Name: "Bob", Age: 25, Boss: &user{Name: "Ann", Age: 40}}
		return errors.Join(
			put(tx, "users", map[string]user{"ann": ann, "bob": bob}),
			put(tx, "words", map[string]string{"hello": "bonjour", "world": "monde", "two words": "deux mots"}),
			put(tx, "squares", map[int]int{1: 1, 2: 4, 3: 9}),
			put(tx, "grid", map[point]bool{{1, 2}: true}),
			put(tx, "log", map[time.Time]string{time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC): "new year"}),
			put(tx, "empty", map[string][]byte{}))
	})
}

// order is the element type of the scripts' lists, and settings the type of a single value.
type order struct {
	Item  string
	Buyer everheap.Ref[user]
}

type settings struct {
	Open   bool
	Orders everheap.List[order]
}

// draw SPACE makes a space with values in interfaces.
func draw(args []string) (err error) {
	type drawing struct {
		Title string
		Main  figure
		Meta  map[string]any
	}
	everheap.RegisterName[disc]("disc")
	s, err := everheap.Open(args[0], everheap.WithMaxSize(256<<20))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	m, err := everheap.OpenMap[string, drawing](s, "drawings")
	if err != nil {
		return err
	}
	return m.Set(s, "a", drawing{"first", disc{1.5}, map[string]any{"by": "Ada", "tags": []any{1, nil}}})
}

// figure is an interface, and disc a concrete type of it that the command does not have.
type (
	figure interface{ Area() float64 }
	disc   struct{ Radius float64 }
)

func (d disc) Area() float64 { return 3 * d.Radius * d.Radius }

// stock SPACE makes a space with lists and single values.
func stock(args []string) (err error) {
	s, err := everheap.Open(args[0], everheap.WithMaxSize(256<<20))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	return s.Update(context.Background(), func(tx *everheap.Tx) error {
		ann, err := everheap.New(tx, user{Name: "Ann"})
		if err != nil {
			return err
		}
		orders, err := everheap.OpenList[order](tx, "orders")
		if err != nil {
			return err
		}
		_, err = everheap.OpenRef(tx, "settings", settings{Open: true, Orders: orders})
		if err != nil {
			return err
		}
		lines, err := everheap.OpenList[string](tx, "lines")
		for i := range 12 {
			err = errors.Join(err, lines.Append(tx, fmt.Sprint("line ", i)))
		}
		return errors.Join(err, orders.Append(tx, order{"tea", ann}, order{Item: "milk"}))
	})
}

// shelve SPACE makes a space with sorted maps.
func shelve(args []string) (err error) {
	s, err := everheap.Open(args[0], everheap.WithMaxSize(256<<20))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	return s.Update(context.Background(), func(tx *everheap.Tx) error {
		day := time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)
		return errors.Join(
			putSorted(tx, "prices", map[int]string{9: "salt", 100: "tea", 5: "milk", -3: "a gift", -20: "a refund"}),
			putSorted(tx, "words", map[string]string{"b": "1", "ba": "2", "bzz": "3", "c": "4"}),
			putSorted(tx, "places", map[point]string{{0, 2}: "north", {-1, 5}: "west", {0, -7}: "south"}),
			putSorted(tx, "log", map[time.Time]string{day: "new year", day.Add(1): "a nanosecond later", day.AddDate(0, 1, 28).Add(12 * time.Hour): "a leap day"}))
	})
}

// putSorted stores the entries of a Go map in a sorted one.
func putSorted[K comparable, V any](tx *everheap.Tx, name string, entries map[K]V) error {
	m, err := everheap.OpenSorted[K, V](tx, name)
	for k, v := range entries {
		err = errors.Join(err, m.Set(tx, k, v))
	}
	return err
}

// put stores the entries of a Go map.
func put[K comparable, V any](tx *everheap.Tx, name string, entries map[K]V) error {
	m, err := everheap.OpenMap[K, V](tx, name)
	for k, v := range entries {
		err = errors.Join(err, m.Set(tx, k, v))
	}
	return err
}

// hold SPACE READY RELEASE holds a version, commits newer ones, writes its process number to the file
// READY, and continues when the file RELEASE exists.
func hold(args []string) (err error) {
	s, err := everheap.Open(args[0])
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	big := map[string]string{}
	for i := range 100 {
		big[fmt.Sprint(i)] = strings.Repeat("x", 1000)
	}
	commit := func() error { // durable, so that a script can damage it in the journal
		return s.Update(context.Background(), func(tx *everheap.Tx) error { return put(tx, "big", big) }, everheap.Durable)
	}
	if err := commit(); err != nil {
		return err
	}
	return s.View(func(*everheap.Tx) error {
		if err := errors.Join(commit(), commit()); err != nil {
			return err
		}
		if err := announce(args[1]); err != nil {
			return err
		}
		return awaitFile(args[2])
	})
}

// announce writes the number of this process to a file, which appears complete.
func announce(path string) error {
	if err := os.WriteFile(path+".new", []byte(strconv.Itoa(os.Getpid())), 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// awaitFile waits until a file exists.
func awaitFile(path string) error {
	for deadline := time.Now().Add(shortly); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if _, err := os.Stat(path); err == nil {
			return nil
		}
	}
	return fmt.Errorf("no process made %s", path)
}

// lock SPACE READY RELEASE takes a permit of a semaphore and locks a mutex, writes its process number
// to the file READY once it has both or has waited for a while, and continues when the file RELEASE
// exists.
func lock(args []string) (err error) {
	s, err := everheap.Open(args[0])
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	ctx, cancel := context.WithTimeout(context.Background(), shortly)
	defer cancel()
	if err := s.Semaphore("slots", 3).Acquire(ctx); err != nil {
		return err
	}
	has := make(chan error, 1)
	go func() { has <- s.Mutex("nightly jobs").Lock(ctx) }()
	for waits := false; !waits; time.Sleep(time.Millisecond) {
		list, err := s.Locks()
		if err = errors.Join(err, ctx.Err()); err != nil {
			return err
		}
		for _, l := range list {
			waits = waits || l.Kind == "mutex" && (l.Waiters > 0 || len(l.Holders) > 0 && l.Holders[0].Self)
		}
	}
	if err := announce(args[1]); err != nil {
		return err
	}
	if err := awaitFile(args[2]); err != nil {
		return err
	}
	err = <-has
	if errors.Is(err, everheap.ErrOwnerDied) {
		fmt.Println("told of a death")
		return s.Mutex("nightly jobs").Unlock()
	}
	return err
}
