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

// DiskBytes returns what the files of the space in a directory take on disk.
func DiskBytes(dir string) int64 {
	d, err := mapping.OpenDir(dir)
	if err != nil {
		return 0
	}
	defer d.Close()
	return DiskIn(d)
}

// DiskIn returns what the files of a space take on disk.
func DiskIn(dir *mapping.Dir) (n int64) {
	for _, name := range []string{HeapName, live.FileName, journal.FileName} {
		if s, err := dir.Stat(name); err == nil {
			n += s.Disk
		}
	}
	return n
}

// Outline is what can be told of a space without opening it.
type Outline struct {
	Base, Window uint64
	MaxSize      uint64 // as the newest anchor says; 0: no anchor is whole
	Format       uint32
	Created      time.Time
	FileSize     int64 // of the heap
	Disk         int64 // bytes that the files take
	Open         bool  // a process has the space open
}

// Look reads what can be told of the space in a directory without opening it.
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
// create, which makes a space there; nil: there must be one.
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
