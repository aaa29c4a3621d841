package everheap_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/everheap/everheap"
)

// A locker does with locks what its parent asks for: "7 lock m" is answered by
// "re7 ok", or what else came of it.
func init() { children["locker"] = lockerChild }

func lockerChild() int {
	c := newInChild()
	s, err := c.open()
	if err != nil {
		return failed("open", err)
	}
	say("ready")
	for line := range c.asked {
		words := strings.Fields(line)
		if words[1] == "wait" { // while it answers other questions
			go func() { say("re"+words[0], outcome(true, s.Mutex(words[2]).Lock(context.Background()))) }()
			continue
		}
		say("re"+words[0], doLock(s, words[1], words[2:]))
	}
	return 0
}

// outcome puts an error of a lock into words.
func outcome(ok bool, err error) string {
	switch {
	case errors.Is(err, everheap.ErrOwnerDied):
		return fmt.Sprint("died ", ok)
	case err != nil:
		return "error " + strings.ReplaceAll(err.Error(), "\n", " | ")
	case !ok:
		return "no"
	}
	return "ok"
}

// doLock does one thing with a lock.
func doLock(s *everheap.Space, verb string, args []string) string {
	const units = 3
	switch verb {
	case "lock":
		return outcome(true, s.Mutex(args[0]).Lock(context.Background()))
	case "try":
		return outcome(s.Mutex(args[0]).TryLock())
	case "unlock":
		return outcome(true, s.Mutex(args[0]).Unlock())
	case "acquire":
		return outcome(s.Semaphore(args[0], units).TryAcquire())
	case "release":
		return outcome(true, s.Semaphore(args[0], units).Release())
	case "close":
		return outcome(true, s.Close())
	case "cpu": // for a while
		began := usedCPU()
		time.Sleep(time.Second)
		return fmt.Sprint((usedCPU() - began).Milliseconds())
	}
	return "what is " + verb
}

// usedCPU returns the processor time that this process has used.
func usedCPU() time.Duration {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		panic(err)
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// locker is a child that takes locks.
type locker struct {
	*child
	asked int
}

// startLocker starts a locker, and waits until it listens.
func startLocker(t *testing.T, dir string, more ...string) *locker {
	t.Helper()
	l := &locker{child: startChild(t, "locker", append(env(dir, 1, "", 1), more...)...)}
	l.awaitLine("ready")
	return l
}

// ask sends a request.
func (l *locker) ask(what string) {
	l.t.Helper()
	l.asked++
	l.tell(fmt.Sprint(l.asked, " ", what))
}

// answer waits for the answer to the last request.
func (l *locker) answer() string {
	l.t.Helper()
	return l.awaitLine(fmt.Sprint("re", l.asked))
}

// expect asks, and fails the test if the answer is another one.
func (l *locker) expect(what, want string) {
	l.t.Helper()
	l.ask(what)
	if got := l.answer(); got != want {
		l.t.Errorf("%s: %s, want %s", what, got, want)
	}
}

func TestMutex_AcrossProcesses(t *testing.T) {
	s := scratch(t)
	a := startLocker(t, s.Stats().Dir)
	m := s.Mutex("m")
	must(t, m.Lock(context.Background()))
	a.expect("try m", "no")
	a.expect("try other", "ok")
	must(t, m.Unlock())
	a.expect("lock m", "ok")
	expectError(t, m.Lock(soon(t)), everheap.ErrBusy, fmt.Sprintf("is held by process %d (", a.process.Pid))
	a.ask("unlock m")
	must(t, m.Lock(context.Background()))
	if got := a.answer(); got != "ok" {
		t.Error(got)
	}
	must(t, m.Unlock())

	for range 3 {
		a.expect("acquire s", "ok")
	}
	sem := s.Semaphore("s", 3)
	expectError(t, sem.Acquire(soon(t)), everheap.ErrBusy, fmt.Sprint(a.process.Pid))
	a.expect("release s", "ok")
	must(t, sem.Acquire(context.Background()))
	a.expect("acquire s", "no")
	a.expect("close x", "ok") // it goes, with what it has
	must(t, sem.Acquire(context.Background()))
	must(t, sem.Acquire(context.Background()))
	must(t, s.Mutex("other").Lock(context.Background()))
}

func TestMutex_ReadOnlyHandles(t *testing.T) {
	s := scratch(t)
	a := startLocker(t, s.Stats().Dir)
	must(t, s.Close())
	r, err := everheap.Open(s.Stats().Dir, everheap.WithReadOnly())
	must(t, err)
	defer r.Close()
	must(t, r.Mutex("m").Lock(context.Background()))
	a.expect("try m", "no")
	must(t, r.Mutex("m").Unlock())
	a.expect("try m", "ok")
	a.kill()
	expectError(t, r.Mutex("m").Lock(context.Background()), everheap.ErrOwnerDied)
	must(t, r.Mutex("m").Unlock())
}

func TestErrOwnerDied(t *testing.T) {
	s := scratch(t)
	m, sem := s.Mutex("m"), s.Semaphore("s", 3)
	a := startLocker(t, s.Stats().Dir)
	a.expect("lock m", "ok")
	a.expect("acquire s", "ok")
	a.expect("acquire s", "ok")
	a.kill()
	b := startLocker(t, s.Stats().Dir)
	b.expect("try m", "died true")
	b.expect("unlock m", "ok")
	must(t, m.Lock(context.Background())) // told once
	must(t, m.Unlock())
	must(t, sem.Acquire(context.Background())) // the third unit was free
	expectError(t, sem.Acquire(context.Background()), everheap.ErrOwnerDied, `acquire "s"`)
	b.expect("acquire s", "died true")
	b.expect("acquire s", "no")
	must(t, sem.Release())
	must(t, sem.Release())
	b.expect("close x", "ok") // the notice was not dealt with
	told := 0
	for range 3 {
		if err := sem.Acquire(context.Background()); errors.Is(err, everheap.ErrOwnerDied) {
			told++
		} else {
			must(t, err)
		}
	}
	if told != 1 {
		t.Errorf("%d calls were told of one unit that was given back by Close", told)
	}
	for range 3 {
		must(t, sem.Release())
	}
}

// A waiter gets the mutex of a holder that dies meanwhile.
func TestErrOwnerDied_WhileWaiting(t *testing.T) {
	s := scratch(t)
	m := s.Mutex("m")
	c := startLocker(t, s.Stats().Dir)
	c.expect("lock m", "ok")
	done := make(chan error)
	go func() { done <- m.Lock(context.Background()) }()
	awaitWaiters(t, s, "m", 1)
	c.kill()
	expectError(t, receive(t, "the mutex of a dead one", done), everheap.ErrOwnerDied, `lock "m"`)
	must(t, m.Unlock())
	if ok, err := m.TryLock(); !ok || err != nil {
		t.Errorf("%v (%v)", ok, err)
	}
	must(t, m.Unlock())
}

// The last user dies: the next one is told. After a loss of power all is free.
func TestErrOwnerDied_LastUser(t *testing.T) {
	s := scratch(t)
	dir := s.Stats().Dir
	d := startLocker(t, dir)
	d.expect("lock m", "ok")
	d.expect("lock n", "ok")
	must(t, s.Close())
	d.kill()
	s = open(t, dir)
	expectError(t, s.Mutex("m").Lock(context.Background()), everheap.ErrOwnerDied)
	must(t, s.Mutex("m").Unlock())
	must(t, s.Close())
	must(t, os.Remove(filepath.Join(dir, "live")))
	s = open(t, dir)
	must(t, s.Mutex("n").Lock(context.Background()))
}

// awaitWaiters waits until n processes have waited for a lock for a while.
func awaitWaiters(t *testing.T, s *everheap.Space, name string, n int) {
	t.Helper()
	ok := wait(patience, func() bool {
		list, err := s.Locks()
		must(t, err)
		for _, l := range list {
			if l.Name == name {
				return l.Waiters == n
			}
		}
		return n == 0
	})
	if !ok {
		t.Fatalf("there are not %d who wait for %s", n, name)
	}
}

// A holder that stands still is waited for: what its lock protects is not ours to see.
func TestSuspend_LockHolder(t *testing.T) {
	t.Parallel() // it mostly waits
	s := scratch(t)
	a := startLocker(t, s.Stats().Dir)
	a.expect("lock m", "ok")
	a.expect("acquire s", "ok")
	a.stop()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	expectError(t, s.Mutex("m").Lock(ctx), everheap.ErrBusy, fmt.Sprintf("is held by process %d (", a.process.Pid), "which is stopped")
	list, err := s.Locks()
	if err != nil || len(list) != 2 || !list[0].Holders[0].Stopped || list[0].Holders[0].Dead {
		t.Errorf("%+v (%v)", list, err)
	}
	must(t, s.Semaphore("s", 3).Acquire(context.Background()))
	done := make(chan error)
	go func() { done <- s.Mutex("m").Lock(context.Background()) }()
	a.resume()
	a.expect("unlock m", "ok")
	must(t, receive(t, "the mutex that was unlocked", done))
	a.stop()
	a.kill()
	for range 2 {
		if err := s.Semaphore("s", 3).Acquire(context.Background()); err != nil {
			expectError(t, err, everheap.ErrOwnerDied)
		}
	}
}

// A waiter that stands still when its turn comes loses it; the others go on.
func TestSuspend_LockWaiter(t *testing.T) {
	t.Parallel()
	s := scratch(t)
	m := s.Mutex("m")
	must(t, m.Lock(context.Background()))
	sleeper, other := startLocker(t, s.Stats().Dir), startLocker(t, s.Stats().Dir)
	sleeper.ask("wait m")
	awaitWaiters(t, s, "m", 1)
	sleeper.stop()
	must(t, m.Unlock()) // it is offered to the sleeper
	other.expect("lock m", "ok")
	sleeper.resume()
	time.Sleep(100 * time.Millisecond)
	if n := sleeper.heard("re1"); n != 0 {
		t.Error("the sleeper took the mutex that another one has")
	}
	other.expect("unlock m", "ok")
	if got := sleeper.answer(); got != "ok" {
		t.Errorf("the sleeper: %s", got)
	}
}

func TestMutex_WaitingUsesNoCPU(t *testing.T) {
	t.Parallel()
	s := scratch(t)
	must(t, s.Mutex("m").Lock(context.Background()))
	waiting, idle := startLocker(t, s.Stats().Dir), startLocker(t, s.Stats().Dir)
	waiting.ask("wait m")
	awaitWaiters(t, s, "m", 1)
	var used [2]int
	for i, l := range []*locker{waiting, idle} {
		l.ask("cpu x")
		if _, err := fmt.Sscan(l.answer(), &used[i]); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("in a second a waiting process used %d ms of processor time, an idle one %d ms", used[0], used[1])
	if used[0] > 200 { // a loop would use 1000
		t.Errorf("waiting used %d ms of processor time in a second", used[0])
	}
	must(t, s.Mutex("m").Unlock())
	waiting.asked-- // the answer to the first request
	if got := waiting.answer(); got != "ok" {
		t.Error(got)
	}
}
