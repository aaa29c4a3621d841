package crash

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/internal/spacetest"
)

// A locker executes lock operations for its parent: it answers "7 lock m" by "re7 ok", or by "re7"
// and the error.
func init() { spacetest.Children["locker"] = lockerChild }

func lockerChild() int {
	c := spacetest.NewInChild()
	s, err := c.Open()
	if err != nil {
		return spacetest.Failed("open", err)
	}
	spacetest.Say("ready")
	for line := range c.Asked {
		words := strings.Fields(line)
		if words[1] == "wait" { // while it answers other questions
			go func() { spacetest.Say("re"+words[0], outcome(true, s.Mutex(words[2]).Lock(context.Background()))) }()
			continue
		}
		spacetest.Say("re"+words[0], doLock(s, words[1], words[2:]))
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
		began := spacetest.UsedCPU()
		time.Sleep(time.Second)
		return fmt.Sprint((spacetest.UsedCPU() - began).Milliseconds())
	}
	return "what is " + verb
}

// locker is a child that takes locks.
type locker struct {
	*spacetest.Child
	asked int
}

// startLocker starts a locker, and waits until it listens.
func startLocker(t *testing.T, dir string, more ...string) *locker {
	t.Helper()
	l := &locker{Child: spacetest.StartChild(t, "locker", append(spacetest.Env(dir, 1, "", 1), more...)...)}
	l.AwaitLine("ready")
	return l
}

// ask sends a request.
func (l *locker) ask(what string) {
	l.T.Helper()
	l.asked++
	l.Tell(fmt.Sprint(l.asked, " ", what))
}

// answer waits for the answer to the last request.
func (l *locker) answer() string {
	l.T.Helper()
	return l.AwaitLine(fmt.Sprint("re", l.asked))
}

// expect asks, and fails the test if the answer is another one.
func (l *locker) expect(what, want string) {
	l.T.Helper()
	l.ask(what)
	if got := l.answer(); got != want {
		l.T.Errorf("%s: %s, want %s", what, got, want)
	}
}

func TestMutex_AcrossProcesses(t *testing.T) {
	s := spacetest.Scratch(t)
	a := startLocker(t, s.Stats().Dir)
	m := s.Mutex("m")
	spacetest.Must(t, m.Lock(context.Background()))
	a.expect("try m", "no")
	a.expect("try other", "ok")
	spacetest.Must(t, m.Unlock())
	a.expect("lock m", "ok")
	spacetest.ExpectError(t, m.Lock(spacetest.Soon(t)), everheap.ErrBusy, fmt.Sprintf("is held by process %d (", a.Process.Pid))
	a.ask("unlock m")
	spacetest.Must(t, m.Lock(context.Background()))
	if got := a.answer(); got != "ok" {
		t.Error(got)
	}
	spacetest.Must(t, m.Unlock())

	for range 3 {
		a.expect("acquire s", "ok")
	}
	sem := s.Semaphore("s", 3)
	spacetest.ExpectError(t, sem.Acquire(spacetest.Soon(t)), everheap.ErrBusy, fmt.Sprint(a.Process.Pid))
	a.expect("release s", "ok")
	spacetest.Must(t, sem.Acquire(context.Background()))
	a.expect("acquire s", "no")
	a.expect("close x", "ok") // the handle is closed with its permits
	spacetest.Must(t, sem.Acquire(context.Background()))
	spacetest.Must(t, sem.Acquire(context.Background()))
	spacetest.Must(t, s.Mutex("other").Lock(context.Background()))
}

func TestMutex_ReadOnlyHandles(t *testing.T) {
	s := spacetest.Scratch(t)
	a := startLocker(t, s.Stats().Dir)
	spacetest.Must(t, s.Close())
	r, err := everheap.Open(s.Stats().Dir, everheap.WithReadOnly())
	spacetest.Must(t, err)
	defer r.Close()
	spacetest.Must(t, r.Mutex("m").Lock(context.Background()))
	a.expect("try m", "no")
	spacetest.Must(t, r.Mutex("m").Unlock())
	a.expect("try m", "ok")
	a.Kill()
	spacetest.ExpectError(t, r.Mutex("m").Lock(context.Background()), everheap.ErrOwnerDied)
	spacetest.Must(t, r.Mutex("m").Unlock())
}

func TestErrOwnerDied(t *testing.T) {
	s := spacetest.Scratch(t)
	m, sem := s.Mutex("m"), s.Semaphore("s", 3)
	a := startLocker(t, s.Stats().Dir)
	a.expect("lock m", "ok")
	a.expect("acquire s", "ok")
	a.expect("acquire s", "ok")
	a.Kill()
	b := startLocker(t, s.Stats().Dir)
	b.expect("try m", "died true")
	b.expect("unlock m", "ok")
	spacetest.Must(t, m.Lock(context.Background())) // ErrOwnerDied is returned only once
	spacetest.Must(t, m.Unlock())
	spacetest.Must(t, sem.Acquire(context.Background())) // the third permit was free
	spacetest.ExpectError(t, sem.Acquire(context.Background()), everheap.ErrOwnerDied, `acquire "s"`)
	b.expect("acquire s", "died true")
	b.expect("acquire s", "no")
	spacetest.Must(t, sem.Release())
	spacetest.Must(t, sem.Release())
	b.expect("close x", "ok") // the notice was not received
	told := 0
	for range 3 {
		if err := sem.Acquire(context.Background()); errors.Is(err, everheap.ErrOwnerDied) {
			told++
		} else {
			spacetest.Must(t, err)
		}
	}
	if told != 1 {
		t.Errorf("%d calls were told of one unit that was given back by Close", told)
	}
	for range 3 {
		spacetest.Must(t, sem.Release())
	}
}

// A waiter gets the mutex of a holder that dies meanwhile.
func TestErrOwnerDied_WhileWaiting(t *testing.T) {
	s := spacetest.Scratch(t)
	m := s.Mutex("m")
	c := startLocker(t, s.Stats().Dir)
	c.expect("lock m", "ok")
	done := make(chan error)
	go func() { done <- m.Lock(context.Background()) }()
	awaitWaiters(t, s, "m", 1)
	c.Kill()
	spacetest.ExpectError(t, spacetest.Receive(t, "the mutex of a dead one", done), everheap.ErrOwnerDied, `lock "m"`)
	spacetest.Must(t, m.Unlock())
	if ok, err := m.TryLock(); !ok || err != nil {
		t.Errorf("%v (%v)", ok, err)
	}
	spacetest.Must(t, m.Unlock())
}

// The last user dies: the next one gets ErrOwnerDied. After a power loss all locks are free.
func TestErrOwnerDied_LastUser(t *testing.T) {
	s := spacetest.Scratch(t)
	dir := s.Stats().Dir
	d := startLocker(t, dir)
	d.expect("lock m", "ok")
	d.expect("lock n", "ok")
	spacetest.Must(t, s.Close())
	d.Kill()
	s = spacetest.Open(t, dir)
	spacetest.ExpectError(t, s.Mutex("m").Lock(context.Background()), everheap.ErrOwnerDied)
	spacetest.Must(t, s.Mutex("m").Unlock())
	spacetest.Must(t, s.Close())
	spacetest.Must(t, os.Remove(filepath.Join(dir, "live")))
	s = spacetest.Open(t, dir)
	spacetest.Must(t, s.Mutex("n").Lock(context.Background()))
}

// awaitWaiters waits until n processes have waited for a lock for a while.
func awaitWaiters(t *testing.T, s *everheap.Space, name string, n int) {
	t.Helper()
	ok := spacetest.Wait(spacetest.Patience, func() bool {
		list, err := s.Locks()
		spacetest.Must(t, err)
		for _, l := range list {
			if l.Name == name {
				return l.Waiters == n
			}
		}
		return n == 0
	})
	if !ok {
		t.Fatalf("fewer than %d processes wait for %s", n, name)
	}
}

// Waiters wait for a suspended holder: the data behind its lock may be inconsistent.
func TestSuspend_LockHolder(t *testing.T) {
	t.Parallel() // it mostly waits
	s := spacetest.Scratch(t)
	a := startLocker(t, s.Stats().Dir)
	a.expect("lock m", "ok")
	a.expect("acquire s", "ok")
	a.Stop()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	spacetest.ExpectError(t, s.Mutex("m").Lock(ctx), everheap.ErrBusy, fmt.Sprintf("is held by process %d (", a.Process.Pid), "which is stopped")
	list, err := s.Locks()
	if err != nil || len(list) != 2 || !list[0].Holders[0].Stopped || list[0].Holders[0].Dead {
		t.Errorf("%+v (%v)", list, err)
	}
	spacetest.Must(t, s.Semaphore("s", 3).Acquire(context.Background()))
	done := make(chan error)
	go func() { done <- s.Mutex("m").Lock(context.Background()) }()
	a.Resume()
	a.expect("unlock m", "ok")
	spacetest.Must(t, spacetest.Receive(t, "the mutex that was unlocked", done))
	a.Stop()
	a.Kill()
	for range 2 {
		if err := s.Semaphore("s", 3).Acquire(context.Background()); err != nil {
			spacetest.ExpectError(t, err, everheap.ErrOwnerDied)
		}
	}
}

// A waiter that is suspended when its turn comes loses the turn; the others continue.
func TestSuspend_LockWaiter(t *testing.T) {
	t.Parallel()
	s := spacetest.Scratch(t)
	m := s.Mutex("m")
	spacetest.Must(t, m.Lock(context.Background()))
	sleeper, other := startLocker(t, s.Stats().Dir), startLocker(t, s.Stats().Dir)
	sleeper.ask("wait m")
	awaitWaiters(t, s, "m", 1)
	sleeper.Stop()
	spacetest.Must(t, m.Unlock()) // the lock is offered to the suspended waiter
	other.expect("lock m", "ok")
	sleeper.Resume()
	time.Sleep(100 * time.Millisecond)
	if n := sleeper.Heard("re1"); n != 0 {
		t.Error("the sleeper took the mutex that another one has")
	}
	other.expect("unlock m", "ok")
	if got := sleeper.answer(); got != "ok" {
		t.Errorf("the sleeper: %s", got)
	}
}

func TestMutex_WaitingUsesNoCPU(t *testing.T) {
	t.Parallel()
	s := spacetest.Scratch(t)
	spacetest.Must(t, s.Mutex("m").Lock(context.Background()))
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
	spacetest.Must(t, s.Mutex("m").Unlock())
	waiting.asked-- // the answer to the first request
	if got := waiting.answer(); got != "ok" {
		t.Error(got)
	}
}
