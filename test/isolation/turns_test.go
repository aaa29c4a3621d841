package isolation

import (
	"context"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/internal/spacetest"
)

// lease is a value with an instant at which its entry expires.
type lease struct {
	Until time.Time `everheap:"expires"`
}

// part is an object that nothing leads to once its entry is gone.
type part struct {
	N    int
	Text [64]byte
}

// The background works in small transactions. A goroutine that wants to write waits for the one in
// progress, and not for those that the background could begin meanwhile: also when there is one
// processor, and the goroutine has published nothing for which the background would pause.
func TestTurn_AfterOneTransactionOfTheBackground(t *testing.T) {
	const n = 30_000
	for name, work := range map[string]func(t *testing.T) (s *everheap.Space, run func() error){
		"expiry": func(t *testing.T) (*everheap.Space, func() error) {
			wall := spacetest.NewWall()
			s := spacetest.Scratch(t, wall.With(), spacetest.WithoutBackground())
			m, err := everheap.OpenMap[int, lease](s, "leases")
			spacetest.Must(t, err)
			spacetest.Update(t, s, func(tx *everheap.Tx) error {
				for i := range n {
					if err := m.Set(tx, i, lease{wall.Now().Add(time.Minute)}); err != nil {
						return err
					}
				}
				return nil
			})
			wall.Pass(time.Hour)
			return s, func() error { spacetest.RemoveExpired(t, s); return nil }
		},
		"collection": func(t *testing.T) (*everheap.Space, func() error) {
			s := spacetest.Scratch(t, spacetest.WithoutBackground())
			spacetest.Update(t, s, func(tx *everheap.Tx) error {
				for i := range n {
					if _, err := everheap.New(tx, part{N: i}); err != nil {
						return err
					}
				}
				return nil
			})
			return s, func() error { _, err := s.Collect(context.Background()); return err }
		},
		"moving": func(t *testing.T) (*everheap.Space, func() error) {
			s := spacetest.Scratch(t, spacetest.WithoutBackground())
			m, err := everheap.OpenMap[int, string](s, "texts")
			spacetest.Must(t, err)
			text := strings.Repeat("text", 500)
			for _, step := range []int{1, 16} { // at last, one of 16 is left of what filled the extents
				spacetest.Update(t, s, func(tx *everheap.Tx) error {
					for i := range n {
						if step == 1 {
							if err := m.Set(tx, i, text); err != nil {
								return err
							}
						} else if i%step != 0 {
							if _, err := m.Delete(tx, i); err != nil {
								return err
							}
						}
					}
					return nil
				})
			}
			for range 3 { // the anchors let go of what was removed
				spacetest.Update(t, s, func(tx *everheap.Tx) error { return m.Set(tx, 0, text) })
				spacetest.Must(t, s.Sync(context.Background()))
			}
			return s, func() error { _, err := s.Compact(context.Background()); return err }
		},
	} {
		t.Run(name, func(t *testing.T) {
			s, run := work(t)
			counts, err := everheap.OpenMap[int, int](s, "counts")
			spacetest.Must(t, err)
			defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
			var over atomic.Bool
			defer over.Store(true)
			go func() { // it takes the processor whenever others let it
				for !over.Load() {
				}
			}()
			var background, atBegin, most, writes atomic.Int64
			write := make(chan bool)
			stop := s.Trace(func(_ context.Context, e everheap.TraceEvent) {
				switch {
				case e.Background && e.Kind == everheap.TraceTurn:
					if background.Add(1)%8 != 1 || over.Load() {
						return
					}
					select {
					case write <- true: // the other goroutine wants to write while this transaction is in progress
						for range 3 {
							runtime.Gosched()
						}
					default: // it still waits
					}
				case !e.Background && e.Kind == everheap.TraceBegin:
					atBegin.Store(background.Load())
				case !e.Background && e.Kind == everheap.TraceTurn:
					most.Store(max(most.Load(), background.Load()-atBegin.Load()))
				}
			})
			defer stop()
			failed := make(chan error, 1)
			go func() {
				defer close(write)
				failed <- run()
			}()
			for range write {
				spacetest.Must(t, counts.Set(s, 0, 0))
				if writes.Add(1) == 6 {
					over.Store(true)
				}
			}
			spacetest.Must(t, <-failed)
			t.Logf("%d transactions of the background, %d of another goroutine, which waited for %d at most", background.Load(), writes.Load(), most.Load())
			if writes.Load() < 1 {
				t.Errorf("the other goroutine wrote %d times beside the background, want once at least", writes.Load())
			}
			if most.Load() > 3 { // some can begin before the goroutine is in the queue
				t.Errorf("a goroutine waited for %d transactions of the background, want 3 at most", most.Load())
			}
		})
	}
}
