package spacefile

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/journal"
	"github.com/everheap/everheap/internal/live"
	"github.com/everheap/everheap/internal/mapping"
	"github.com/everheap/everheap/internal/oslock"
)

// DiskBytes returns how many bytes the files of the space in a directory take on disk.
func DiskBytes(dir string) int64 {
	d, err := mapping.OpenDir(dir)
	if err != nil {
		return 0
	}
	defer d.Close()
	return DiskIn(d)
}

// DiskIn returns how many bytes the files of a space take on disk.
func DiskIn(dir *mapping.Dir) (n int64) {
	for _, name := range []string{HeapName, live.FileName, journal.FileName} {
		if s, err := dir.Stat(name); err == nil {
			n += s.Disk
		}
	}
	return n
}

// Outline has the facts about a space that can be read without opening it.
type Outline struct {
	Base, Window uint64
	MaxSize      uint64 // of the newest anchor; 0: no anchor can be read
	Format       uint32
	Created      time.Time
	FileSize     int64 // of the heap file
	Disk         int64 // bytes that the files take on disk
	Open         bool  // a process has the space open
}

// Look reads the Outline of the space in a directory.
func Look(dir string) (o Outline, err error) {
	d, err := mapping.OpenDir(dir)
	var locks *os.File
	if err == nil {
		defer d.Close()
		locks, err = d.Open(HeapName, os.O_RDONLY, 0)
	}
	if errors.Is(err, os.ErrNotExist) {
		err = fmt.Errorf("%w: there is no space in %s", ErrNotFound, dir)
	}
	if err != nil {
		return o, err
	}
	file := mapping.FileOf(locks)
	defer file.Close()
	h, err := ReadHeader(file)
	if err != nil {
		return o, err
	}
	o.Base, o.Window, o.Format = h.Base, h.Window, h.Format
	o.Created = time.Unix(0, int64(h.Created))
	o.MaxSize = anchoredLimit(file, h)
	if o.FileSize, err = file.Size(); err != nil {
		return o, err
	}
	o.Disk = DiskIn(d)
	o.Open, err = oslock.HeldByOther(locks, format.LockPresence)
	return o, err
}

// Find returns the identity of the heap file in a directory. If there is none it calls
// create, which creates a space there; if create is nil, the error is ErrNoSpaceHere.
func Find(dir string, create func(dir string) error) (mapping.FileID, error) {
	path := filepath.Join(dir, HeapName)
	info, err := os.Stat(path)
	if errors.Is(err, os.ErrNotExist) {
		if create == nil {
			return mapping.FileID{}, ErrNoSpaceHere
		}
		if err := create(dir); err != nil {
			return mapping.FileID{}, err
		}
		info, err = os.Stat(path)
	}
	if err != nil {
		return mapping.FileID{}, err
	}
	status, err := mapping.StatusIn(info)
	return status.FileID, err
}
