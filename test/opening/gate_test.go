package opening

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/live"
	"github.com/everheap/everheap/internal/mapping"
	"github.com/everheap/everheap/internal/oslock"
	"github.com/everheap/everheap/internal/proctest"
)

// takeGate takes the gate of a space, as Open and Close do, until release.
func takeGate(dir string) (release func(), err error) {
	f, err := os.OpenFile(filepath.Join(dir, "heap"), os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	if ok, err := oslock.TryLock(f, format.LockGate, false); err != nil || !ok {
		return nil, errors.Join(err, f.Close(), errors.New("the gate is held by another process"))
	}
	return func() { f.Close() }, nil
}

// holdGate is takeGate in a test.
func holdGate(t testing.TB, dir string) (release func()) {
	t.Helper()
	release, err := takeGate(dir)
	must(t, err)
	t.Cleanup(release)
	return release
}

func init() {
	proctest.Children["herd"] = herdChild
	proctest.Children["gate"] = gateChild
	proctest.Children["opener"] = openerChild
}

// herdChild opens the space on command, writes, and closes it on command.
func herdChild(dir string) error {
	proctest.Say("here")
	key := proctest.Told()
	s, err := everheap.Open(dir, everheap.WithMaxSize(small))
	if err != nil {
		return err
	}
	m, err := everheap.OpenMap[string, int](s, "m")
	if err == nil {
		err = m.Set(s, key, 1)
	}
	if err != nil {
		return err
	}
	proctest.Say("opened")
	proctest.Told()
	return s.Close()
}

// Many processes open one space at once, which one of them creates; all have it open at
// once, and all close it at once.
func TestOpen_ManyProcessesAtOnce(t *testing.T) { // K5
	n := 100 // with a soak the maximum number
	if *soakFlag > 0 {
		n = format.NumProcesses
	}
	dir := filepath.Join(t.TempDir(), "s")
	herd := make([]*proctest.Proc, n)
	for i := range herd {
		herd[i] = proctest.Start(t, "herd", dir, nil)
	}
	for _, p := range herd {
		p.Hear("here")
	}
	began := time.Now()
	for i, p := range herd {
		p.Tell(strconv.Itoa(i))
	}
	for _, p := range herd {
		p.Hear("opened")
	}
	opened := time.Since(began)
	for _, p := range herd {
		p.Tell("close")
	}
	for _, p := range herd {
		p.Ends()
	}
	t.Logf("%d processes had opened it after %v, and closed it after %v", n, opened, time.Since(began))
	s := open(t, dir)
	if entries, err := mapOf(t, s).Len(s); err != nil || entries != n {
		t.Errorf("%d of %d have written (%v)", entries, n, err)
	}
}

// openerChild opens and closes the space, and prints the results.
func openerChild(dir string) error {
	s, err := everheap.Open(dir)
	if errors.Is(err, everheap.ErrBusy) {
		proctest.Say("busy", err)
		return nil
	}
	if err != nil {
		return err
	}
	if err := s.Close(); err != nil {
		return err
	}
	proctest.Say("opened")
	return nil
}

// As many processes as there are entries can have the space open. The next one gets an error, until
// one of them has closed the space.
func TestErrBusy_TooManyProcesses(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "s")
	open(t, dir)
	d, err := mapping.OpenDir(dir)
	must(t, err)
	defer d.Close()
	heap, err := d.OpenFile("heap", os.O_RDONLY, 0)
	must(t, err)
	defer heap.Close()
	page := make([]byte, format.PageSize)
	_, err = heap.ReadAt(page, format.HeaderOffset)
	must(t, err)
	header, err := format.DecodeHeader(page)
	must(t, err)
	info, err := os.Stat(filepath.Join(dir, "heap"))
	must(t, err)
	var others []*live.Live
	defer func() {
		for _, l := range others {
			l.Leave(true)
		}
	}()
	for len(others) < format.NumProcesses-1 {
		l, err := live.Open(d, header.SpaceID, info)
		must(t, err)
		others = append(others, l)
		must(t, l.Join())
	}
	last := proctest.Start(t, "opener", dir, nil)
	if said := last.Hear("busy"); !strings.Contains(said, fmt.Sprint(format.NumProcesses, " processes have the space open")) {
		t.Errorf("the error does not say why: %s", said)
	}
	others[100].Leave(true)
	others = append(others[:100], others[101:]...)
	next := proctest.Start(t, "opener", dir, nil)
	next.Hear("opened")
	next.Ends()
}

// A suspended process with the gate does not keep others from opening, using and closing an open
// space.
func TestOpen_GateIsHeldByOneWhoStandsStill(t *testing.T) { // K4, K6
	dir := filepath.Join(t.TempDir(), "s")
	s := openPlain(t, dir)
	holdGate(t, dir)
	for range 2 {
		c := proctest.Start(t, "opener", dir, nil)
		c.Hear("opened")
		c.Ends()
	}
	must(t, mapOf(t, s).Set(s, "k", 1))
	within(t, "closing", func() { must(t, s.Close()) })
	s = openPlain(t, dir) // no process has it open, and live is still whole
	if v, err := mapOf(t, s).Get(s, "k"); err != nil || v != 1 {
		t.Errorf("%d (%v)", v, err)
	}
	must(t, s.Close())
}

// gateChild holds the gate until it is told to end.
func gateChild(dir string) error {
	release, err := takeGate(dir)
	if err != nil {
		return err
	}
	defer release()
	proctest.Say("held")
	proctest.Told()
	return nil
}

// Recovering a space needs the gate. A waiter sleeps until its context ends; the error names the
// holder and says that it is suspended. When the holder continues, so do the waiters.
func TestErrBusy_OpenNamesTheHolderOfTheGate(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "s")
	s := open(t, dir)
	must(t, s.Close())
	must(t, os.Remove(filepath.Join(dir, "live")))
	holder := proctest.Start(t, "gate", dir, nil)
	holder.Hear("held")
	holder.Stop()
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	_, err := everheap.OpenContext(ctx, dir)
	expectError(t, err, everheap.ErrBusy, fmt.Sprint("process ", holder.Cmd.Process.Pid), "stopped")
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("it is not the error of the context: %v", err)
	}
	opened := make(chan error, 1)
	go func() {
		again, err := everheap.Open(dir)
		if err == nil {
			err = again.Close()
		}
		opened <- err
	}()
	holder.Resume()
	holder.Tell("end")
	must(t, receive(t, "the space to open", opened))
	holder.Ends()
}

// The context of OpenContext ends the wait for a goroutine of the same process that is closing the
// space.
func TestErrBusy_OpenContextWhileEnding(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "s")
	s := open(t, dir)
	must(t, mapOf(t, s).Set(s, "k", 1))
	release := holdGate(t, dir) // the closing waits for the gate
	closed := closing(t, s)
	ended, end := context.WithCancel(context.Background())
	end()
	again, err := everheap.OpenContext(ended, dir)
	if err == nil { // it came in time, or the closing was over
		must(t, again.Close())
	} else {
		expectError(t, err, everheap.ErrBusy, "another goroutine")
	}
	release()
	must(t, receive(t, "Close", closed))
}
