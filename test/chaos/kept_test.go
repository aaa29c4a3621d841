package chaos

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/everheap/everheap/internal/invariant"
)

// When an error is found, the files of the space are kept, and the events of all processes if the
// programs record events.
func TestKeep_KeepsFilesAndEvents(t *testing.T) {
	f := newStorm(t, t.TempDir(), 1)
	f.Full, f.Space, f.disk = false, filepath.Join(f.dir, "space"), nil
	go func() { // report an error once there are commits to keep
		for began := time.Now(); f.acknowledged() < 20 && time.Since(began) < time.Minute; time.Sleep(10 * time.Millisecond) {
		}
		_ = os.WriteFile(filepath.Join(f.dir, "failure"), []byte("found by the test"), 0o600)
	}()
	err := f.round(2 * time.Minute)
	if err == nil || err.Error() != "found by the test" {
		t.Fatal(err)
	}
	f.keep(err)
	for _, name := range []string{"heap", "live", "journal"} {
		if _, err := os.Stat(filepath.Join(f.dir, "space-as-found", name)); err != nil {
			t.Error(err)
		}
	}
	events, err := os.ReadFile(filepath.Join(f.dir, "events"))
	if !invariant.Enabled {
		if !errors.Is(err, os.ErrNotExist) {
			t.Errorf("there are events of programs that note none: %v", err)
		}
		return
	}
	for _, want := range []string{"joins: as ", "swapped to ", "taken ", "freed "} {
		if !strings.Contains(string(events), want) {
			t.Errorf("the events have no %q: %v", want, err)
		}
	}
}

// acknowledged returns the largest number of acknowledged transactions of an owner.
func (f *storm) acknowledged() (most uint64) {
	for id := range workers {
		if l, err := openLedger(f.dir, ownerID(id, 0)); err == nil {
			most = max(most, l.note.Seq)
			l.file.Close()
		}
	}
	return most
}
