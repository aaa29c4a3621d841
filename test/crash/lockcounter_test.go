package crash

import (
	"context"
	"encoding/binary"
	"io"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/internal/spacetest"
)

// A counter adds to a number in a file, which it reads and writes in two steps, under a mutex, from
// several goroutines: a number of times, or until it is told to end.
func init() { spacetest.Children["counter"] = counterChild }

func counterChild() int {
	c := spacetest.NewInChild()
	s, err := c.Open()
	if err != nil {
		return spacetest.Failed("open", err)
	}
	f, err := os.OpenFile(c.Dir+".counter", os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return spacetest.Failed("open", err)
	}
	times := counterTimes
	if c.Has("endless") {
		times = 1 << 40
	}
	spacetest.Say("start", 0)
	var group sync.WaitGroup
	var count atomic.Uint64
	for range counterGoroutines {
		group.Go(func() {
			for i := 0; i < times && !c.Ended.Load(); i++ {
				if err := addOne(s.Mutex("counter"), f); err != nil {
					spacetest.Failed("adding", err)
					return
				}
				count.Add(1)
			}
		})
	}
	for c.Has("endless") && !c.Ended.Load() {
		spacetest.Ack(count.Load())
		time.Sleep(5 * time.Millisecond)
	}
	group.Wait()
	spacetest.Ack(count.Load())
	if err := s.Close(); err != nil {
		return spacetest.Failed("close", err)
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

// counted reads the number.
func counted(t *testing.T, dir string) uint64 {
	t.Helper()
	b, err := os.ReadFile(dir + ".counter")
	spacetest.Must(t, err)
	return binary.LittleEndian.Uint64(b)
}

func TestMutex_CounterInFile(t *testing.T) {
	dir := spacetest.Scratch(t).Stats().Dir
	var list []*spacetest.Child
	for id := range 3 {
		list = append(list, spacetest.StartChild(t, "counter", spacetest.Env(dir, id+1, "", 1)...))
	}
	for _, c := range list {
		c.Await("its end", c.Gone)
	}
	if n, want := counted(t, dir), uint64(3*counterGoroutines*counterTimes); n != want {
		t.Errorf("%d was counted of %d", n, want)
	}
}

// All processes that only lock and unlock make progress. internal/live tests that no waiter is passed
// over more than once.
func TestMutex_NoProcessStarves(t *testing.T) {
	dir := spacetest.Scratch(t).Stats().Dir
	var list []*spacetest.Child
	for id := range 3 {
		list = append(list, spacetest.StartChild(t, "counter", spacetest.Env(dir, id+1, "endless", 1)...))
	}
	for _, c := range list {
		c.AwaitStart()
	}
	const least = 300
	for _, c := range list {
		c.Await("its share", func() bool { return c.Acked.Load() > least })
	}
	for _, c := range list {
		c.Tell("end")
	}
	var shares []uint64
	total := uint64(0)
	for _, c := range list {
		c.Await("its end", c.Gone)
		shares = append(shares, c.Acked.Load())
		total += c.Acked.Load()
	}
	t.Logf("the shares are %d", shares)
	if n := counted(t, dir); n != total {
		t.Errorf("%d was counted of %d", n, total)
	}
}
