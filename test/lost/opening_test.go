//go:build invariants

package lost_test

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/internal/invariant"
	"github.com/everheap/everheap/internal/proctest"
)

// Opening a space whose live file is cut meanwhile returns the error for that, and not an error about
// the lost words.
func TestLostLive_OneOpens(t *testing.T) { // L14, L16, X6
	other := prepare(t)
	s, _, err := open(other)
	must(t, err)
	defer s.Close()
	for name, cut := range cuts {
		t.Run(name, func(t *testing.T) {
			for round := range 5 {
				opensBesideCut(t, func(dir string, cutIt func()) (*everheap.Space, error) {
					if round == 0 { // its entry is its own, and it has no slot yet
						defer invariant.Hook(func(point string) {
							if point == "entry.claimed" {
								cutIt()
							}
						})()
					} else {
						defer time.AfterFunc(rand.N(2*time.Millisecond), cutIt).Stop()
					}
					s, _, err := open(dir)
					return s, err
				}, func(path string, size int64) error { return cut(path, size, filepath.Join(other, "live")) })
			}
		})
	}
}

// opensBesideCut lets open open a space that another process has open, and passes it a function that
// cuts the live file.
func opensBesideCut(t *testing.T, open func(dir string, cutIt func()) (*everheap.Space, error), cut func(path string, size int64) error) {
	t.Helper()
	dir := prepare(t)
	path := filepath.Join(dir, "live")
	idle := proctest.Start(t, "idle", dir, nil)
	idle.Hear("ready")
	info, err := os.Stat(path)
	must(t, err)
	var once sync.Once
	cutIt := func() {
		once.Do(func() {
			if err := cut(path, info.Size()); err != nil {
				t.Error(err)
			}
		})
	}
	s, err := open(dir, cutIt)
	cutIt() // if the space was opened first
	if err != nil {
		if err := isRefused(err); err != nil {
			t.Errorf("open: %v", err)
		}
	} else if err := s.Close(); err != nil {
		if err := lost("close", err); err != nil {
			t.Error(err)
		}
	}
	idle.Tell("cut")
	idle.Ends()
	survives(t, dir, nil)
}
