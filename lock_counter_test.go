package everheap_test

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
)

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
