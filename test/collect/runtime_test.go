package collect

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/internal/spacetest"
)

// chained is a value with pointers of every sort inside.
type chained struct {
	Name string
	Next *chained
	List []*string
}

// TestRuntime_CollectorAndWindowPointers reads stored pointers while the garbage
// collector runs without a pause over memory that is full of words that look like
// pointers into the window, among them free and half-written blocks.
func TestRuntime_CollectorAndWindowPointers(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(1))
	s := spacetest.Scratch(t)
	m := spacetest.MapOf[int, chained](t, s)
	const n = 200
	value := func(i, version int) chained {
		name := fmt.Sprint(i, " of ", version)
		return chained{Name: name, Next: &chained{Name: name + " next"}, List: []*string{&name, nil, &name}}
	}
	for i := range n {
		spacetest.Must(t, m.Set(s, i, value(i, 0)))
	}
	base, size := spacetest.Engine(s).Window()
	var stop atomic.Bool
	var wg sync.WaitGroup
	wg.Go(func() { // garbage: as uintptr in pointer-free memory, and, spilled, as strings
		r := rand.New(rand.NewPCG(1, 1))
		for !stop.Load() {
			words := make([]uintptr, 512)
			for i := range words {
				words[i] = uintptr(base) + uintptr(r.Uint64N(size))
			}
			runtime.KeepAlive(words)
			runtime.GC()
		}
	})
	wg.Go(func() {
		for v := 1; !stop.Load(); v++ {
			for i := range n {
				if err := m.Set(s, i, value(i, v)); err != nil {
					t.Error(err)
					return
				}
			}
		}
	})
	deadline := time.Now().Add(time.Duration(spacetest.Scaled(8)) * 250 * time.Millisecond)
	for time.Now().Before(deadline) && !t.Failed() {
		spacetest.View(t, s, func(tx *everheap.Tx) error {
			var kept []any // interior pointers into the window, on the Go heap, while the collector runs
			for i := range n {
				p := m.Peek(tx, i)
				kept = append(kept, p, p.Next, p.Name, p.List)
				if p.Next.Name != p.Name+" next" || *p.List[0] != p.Name || p.List[0] != p.List[2] || p.List[1] != nil {
					t.Errorf("%d: %+v", i, p)
				}
			}
			runtime.GC()
			for i := 0; i < len(kept); i += 4 {
				if kept[i].(*chained).Next != kept[i+1].(*chained) {
					t.Error("a pointer changed")
				}
			}
			return nil
		})
		v, err := m.Get(s, 7)
		if err != nil || v.Next.Name != v.Name+" next" {
			t.Errorf("%+v (%v)", v, err)
		}
	}
	stop.Store(true)
	wg.Wait()
}
