package chaos

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/everheap/everheap"
)

// Limits of the sizes of a space's files when no process writes to it any more.
const (
	restFactor  = 8
	restExtra   = 16 << 20
	restJournal = 4 << 20
)

// files returns the lengths of the heap file and of the journal, and what the heap file
// takes on disk.
func (f *storm) files() (heap, disk, journal int64, err error) {
	h, err := os.Stat(filepath.Join(f.Space, "heap"))
	if err != nil {
		return 0, 0, 0, err
	}
	j, err := os.Stat(filepath.Join(f.Space, "journal"))
	if err != nil {
		return 0, 0, 0, err
	}
	return h.Size(), h.Sys().(*syscall.Stat_t).Blocks * 512, j.Size(), nil
}

// rest is the end of the storm. Without checkpoints and without writers, the files must become small,
// and short when the space is closed. The contents must not change.
func (f *storm) rest() error {
	live := int64(0)
	err := f.alone(func(s *everheap.Space, w world) error {
		list, err := s.Checkpoints()
		for _, c := range list {
			if err == nil {
				err = s.DropCheckpoint(c.Name)
			}
		}
		if err != nil {
			return err
		}
		for began := time.Now(); ; time.Sleep(50 * time.Millisecond) {
			_, disk, journal, err := f.files()
			live = int64(s.Stats().Live)
			if err != nil || disk <= restFactor*live+restExtra && journal < restJournal {
				f.told("at rest after %v: %d bytes are live, the heap takes %d of the disk, the journal %d", time.Since(began), live, disk, journal)
				return err
			}
			if time.Since(began) > *patienceFlag {
				return fmt.Errorf("the heap takes %d bytes of the disk, for %d that are live, and the journal has %d", disk, live, journal)
			}
		}
	})
	if err != nil {
		return err
	}
	heap, disk, journal, err := f.files()
	if err == nil && (heap > restFactor*live+restExtra || disk > heap+restExtra || journal >= restJournal) {
		err = fmt.Errorf("after it was closed the heap is %d bytes long, for %d that are live, and the journal has %d", heap, live, journal)
	}
	if err == nil {
		err = f.alone(func(s *everheap.Space, w world) error { return inspectAll(s) })
	}
	return err
}
