package crash

import (
	"errors"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/internal/invariant"
	"github.com/everheap/everheap/internal/spacetest"
)

// writeOn lets goroutines write to a new space, without waiting for the disk, so much
// that each commit writes the journal, until it is closed.
func writeOn(t *testing.T, dir string, n int) (s *everheap.Space, writers *sync.WaitGroup) {
	t.Helper()
	s, err := everheap.Open(dir, everheap.WithMaxSize(1<<30))
	spacetest.Must(t, err)
	m := spacetest.MapOf[int, []byte](t, s)
	big := make([]byte, 200<<10)
	writers = new(sync.WaitGroup)
	for g := range n {
		writers.Go(func() {
			for {
				if err := m.Set(s, g, big); err != nil {
					if !errors.Is(err, everheap.ErrClosed) {
						t.Error(err)
					}
					return
				}
			}
		})
	}
	return s, writers
}

// Close waits for a goroutine that has committed, passed its turn on, and is about to write the
// journal (E8).
func TestClose_WaitsForWhoWritesTheJournal(t *testing.T) {
	if !invariant.Enabled {
		t.Skip("the points are there with -tags invariants only")
	}
	given, goOn := make(chan struct{}), make(chan struct{})
	var once, waiting sync.Once
	defer invariant.Hook(func(point string) {
		switch point {
		case "commit.given":
			once.Do(func() {
				close(given)
				<-goOn
			})
		case "close.waits":
			waiting.Do(func() { close(goOn) })
		}
	})()
	dir := filepath.Join(t.TempDir(), "s")
	s, writers := writeOn(t, dir, 1)
	spacetest.Receive(t, "a commit", given)
	spacetest.Must(t, s.Close())
	waiting.Do(func() { // work that continues now finds no memory mapped
		t.Error("Close did not wait")
		close(goOn)
	})
	writers.Wait()
	spacetest.Open(t, dir) // which checks it at the end
}

func TestClose_WhileOthersWrite(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "s")
	spacetest.Rounds(t, 100, func(t *testing.T, r *rand.Rand) {
		s, writers := writeOn(t, dir, 4)
		time.Sleep(time.Duration(r.IntN(4000)) * time.Microsecond)
		spacetest.Must(t, s.Close())
		writers.Wait()
	})
	spacetest.Open(t, dir)
}

// The same, and another space is opened meanwhile: a late write would go to that space.
func TestClose_ThenOpenAnother(t *testing.T) {
	root := t.TempDir()
	spacetest.Rounds(t, 20, func(t *testing.T, r *rand.Rand) {
		a, writers := writeOn(t, filepath.Join(root, "a"), 4)
		time.Sleep(time.Duration(r.IntN(4000)) * time.Microsecond)
		spacetest.Must(t, a.Close())
		b, err := everheap.Open(filepath.Join(root, "b"), everheap.WithMaxSize(1<<30))
		spacetest.Must(t, err)
		n := spacetest.MapOf[int, int](t, b)
		for k := range 50 {
			spacetest.Must(t, n.Set(b, k, 1))
		}
		if stats := b.Stats(); stats.Failed {
			t.Errorf("the other space has failed: %v", stats)
		}
		writers.Wait()
		spacetest.CheckSpace(t, b)
		spacetest.Must(t, b.Close())
	})
}
