package everheap_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
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
	dead := func() {
		a := startLocker(t, s.Stats().Dir)
		a.expect("lock m", "ok")
		a.expect("acquire s", "ok")
		a.expect("acquire s", "ok")
		a.kill()
	}
	dead()
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

	// A waiter gets the mutex of a holder that dies meanwhile.
	c := startLocker(t, s.Stats().Dir)
	c.expect("lock m", "ok")
	done := make(chan error)
	go func() { done <- m.Lock(context.Background()) }()
	awaitWaiters(t, s, "m", 1)
	c.kill()
	expectError(t, <-done, everheap.ErrOwnerDied, `lock "m"`)
	must(t, m.Unlock())
	if ok, err := m.TryLock(); !ok || err != nil {
		t.Errorf("%v (%v)", ok, err)
	}
	must(t, m.Unlock())

	// The last user dies: the next one is told.
	dead()
	dir := s.Stats().Dir
	d := startLocker(t, dir)
	d.expect("lock last", "ok")
	must(t, s.Close())
	d.kill()
	s = open(t, dir)
	expectError(t, s.Mutex("last").Lock(context.Background()), everheap.ErrOwnerDied)
	must(t, s.Mutex("last").Unlock())
	must(t, s.Close())
	must(t, os.Remove(filepath.Join(dir, "live"))) // a loss of power: all is free
	s = open(t, dir)
	must(t, s.Mutex("m").Lock(context.Background()))
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
	must(t, <-done)
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

// A counter adds to a number in a file, which it reads and writes in two steps, under
// a mutex, from several goroutines: so many times, or until it is to end.
func init() { children["counter"] = counterChild }

func counterChild() int {
	c := newInChild()
	s, err := c.open()
	if err != nil {
		return failed("open", err)
	}
	f, err := os.OpenFile(c.dir+".counter", os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return failed("open", err)
	}
	times := counterTimes
	if c.has("endless") {
		times = 1 << 40
	}
	say("start", 0)
	var group sync.WaitGroup
	var count atomic.Uint64
	for range counterGoroutines {
		group.Go(func() {
			for i := 0; i < times && !c.ended.Load(); i++ {
				add := addOne
				if c.has("bare") {
					add = lockOnly
				}
				if err := add(s.Mutex("counter"), f); err != nil {
					failed("adding", err)
					return
				}
				count.Add(1)
			}
		})
	}
	for c.has("endless") && !c.ended.Load() {
		ack(count.Load())
		time.Sleep(5 * time.Millisecond)
	}
	group.Wait()
	ack(count.Load())
	if err := s.Close(); err != nil {
		return failed("close", err)
	}
	return 0
}

const counterTimes, counterGoroutines = 2000, 2

// addOne adds one to the number in a file.
func addOne(m *everheap.Mutex, f *os.File) error {
	if err := m.Lock(context.Background()); err != nil {
		return err
	}
	var b [8]byte
	_, err := f.ReadAt(b[:], 0)
	if err != nil && err != io.EOF {
		return err
	}
	n := binary.LittleEndian.Uint64(b[:]) + 1
	if n%4 == 0 {
		runtime.Gosched()
	}
	if _, err := f.WriteAt(binary.LittleEndian.AppendUint64(nil, n), 0); err != nil {
		return err
	}
	return m.Unlock()
}

// lockOnly is addOne without adding.
func lockOnly(m *everheap.Mutex, _ *os.File) error {
	if err := m.Lock(context.Background()); err != nil {
		return err
	}
	return m.Unlock()
}

// counted reads the number.
func counted(t *testing.T, dir string) uint64 {
	t.Helper()
	b, err := os.ReadFile(dir + ".counter")
	must(t, err)
	return binary.LittleEndian.Uint64(b)
}

func TestMutex_CounterInFile(t *testing.T) {
	dir := scratch(t).Stats().Dir
	var list []*child
	for id := range 3 {
		list = append(list, startChild(t, "counter", env(dir, id+1, "", 1)...))
	}
	for _, c := range list {
		c.await("its end", c.gone)
	}
	if n, want := counted(t, dir), uint64(3*counterGoroutines*counterTimes); n != want {
		t.Errorf("%d was counted of %d", n, want)
	}
}

// Processes that do nothing but lock and unlock all get on. That none is passed over
// more than once, internal/live tests.
func TestMutex_NobodyStarves(t *testing.T) {
	dir := scratch(t).Stats().Dir
	var list []*child
	for id := range 3 {
		list = append(list, startChild(t, "counter", env(dir, id+1, "endless", 1)...))
	}
	for _, c := range list {
		c.awaitStart()
	}
	const least = 300
	for _, c := range list {
		c.await("its share", func() bool { return c.acked.Load() > least })
	}
	for _, c := range list {
		c.tell("end")
	}
	var shares []uint64
	total := uint64(0)
	for _, c := range list {
		c.await("its end", c.gone)
		shares = append(shares, c.acked.Load())
		total += c.acked.Load()
	}
	t.Logf("the shares are %d", shares)
	if n := counted(t, dir); n != total {
		t.Errorf("%d was counted of %d", n, total)
	}
}
