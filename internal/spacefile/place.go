package spacefile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/invariant"
	"github.com/everheap/everheap/internal/journal"
	"github.com/everheap/everheap/internal/mapping"
)

// place renames the new directory to dir. It replaces an empty directory. If another process
// has created a space there meanwhile, place returns nil.
func (c *Creation) place(temporary, dir string) error {
	if inside(temporary, dir) {
		return c.publish(temporary, dir)
	}
	err := c.System.moveDir(temporary, dir)
	if err == nil {
		return nil
	}
	if _, statErr := os.Stat(filepath.Join(dir, HeapName)); statErr == nil {
		return nil
	}
	if errors.Is(err, os.ErrExist) {
		return fmt.Errorf("the directory %s exists, is not empty and holds no space: %w", dir, err)
	}
	return err
}

// occupied returns the error for a directory that is a space already or has other contents.
func occupied(dir string, err error) error {
	what := "it has other contents"
	if _, statErr := os.Stat(filepath.Join(dir, HeapName)); statErr == nil {
		what = "it is a space"
	}
	return fmt.Errorf("%w: %s: %s, and was left as it is; give another name, an empty directory, or remove it first (%w)", ErrExists, dir, what, err)
}

// Settle renames the new directory to dir. The error is ErrExists if dir exists and is not empty.
func (c *Creation) Settle(temporary, dir string) error {
	if inside(temporary, dir) {
		err := c.publish(temporary, dir)
		if errors.Is(err, fs.ErrExist) {
			return occupied(dir, err)
		}
		return err
	}
	err := moveTo(temporary, dir) // replaces an empty directory, and nothing else
	if err == nil {
		return nil
	}
	if inTheWay := Vacant(dir); inTheWay != nil {
		return inTheWay
	}
	return err
}

// inside reports whether the temporary directory is inside dir: the space is created in place.
func inside(temporary, dir string) bool { return filepath.Dir(temporary) == dir }

// publish renames the files of a space that was built inside its directory (K11). The error
// is fs.ErrExist if another creator was faster.
func (c *Creation) publish(temporary, dir string) error {
	if err := publishReplica(temporary, dir); err != nil { // first: the directory is a replica before it is a space
		return err
	}
	err := mapping.RenameNew(filepath.Join(temporary, journal.FileName), filepath.Join(dir, journal.FileName))
	if err != nil {
		// Read the journal first, and look for the heap then: if the journal has records,
		// its heap has been there before them.
		unwritten, readErr := isUnwritten(filepath.Join(dir, journal.FileName))
		if _, heapErr := os.Stat(filepath.Join(dir, HeapName)); heapErr == nil {
			return fs.ErrExist
		}
		if !errors.Is(err, fs.ErrExist) || readErr != nil || !unwritten {
			return errors.Join(err, readErr)
		}
	}
	if err := c.System.syncDir(dir); err != nil {
		return err
	}
	invariant.Point("create.journal")
	if err := mapping.RenameNew(filepath.Join(temporary, HeapName), filepath.Join(dir, HeapName)); err != nil {
		return err
	}
	invariant.Point("create.heap")
	if err := c.System.syncDir(dir); err != nil {
		return err
	}
	left, err := filepath.Glob(filepath.Join(escapeGlob(dir), newInside+"*"))
	for _, begun := range left { // K12
		err = errors.Join(err, os.RemoveAll(begun))
	}
	return err
}

// publishReplica renames the file that makes the space a replica, if the new space is to be
// one. It replaces such a file of a creator that died: the new file says everything that the
// old one said. If the new space is not to be a replica, publishReplica refuses a directory
// with such a file: the file would make the space a replica.
func publishReplica(temporary, dir string) error {
	from, to := filepath.Join(temporary, format.ReplicaName), filepath.Join(dir, format.ReplicaName)
	err := mapping.RenameNew(from, to)
	switch _, heapErr := os.Stat(filepath.Join(dir, HeapName)); {
	case errors.Is(err, fs.ErrExist) && errors.Is(heapErr, fs.ErrNotExist):
		return os.Rename(from, to)
	case !errors.Is(err, fs.ErrNotExist):
		return err
	case heapErr == nil: // another creator was faster; whether its space is a replica is not decided here
		return nil
	}
	if _, err := os.Lstat(to); err == nil {
		return fmt.Errorf("%w: a creation of a replica in this directory has left the file %s; remove it first", fs.ErrExist, to)
	}
	return nil
}

// escapeGlob turns a path into a pattern that matches only that path.
func escapeGlob(path string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(path)
}

// Vacant returns an error if a directory has contents that prevent a new space in it (K11).
func Vacant(dir string) error {
	list, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		if _, statErr := os.Lstat(dir); statErr == nil {
			return occupied(dir, fmt.Errorf("%w: %w", fs.ErrExist, err))
		}
		return err
	}
	for _, e := range list {
		switch name := e.Name(); {
		case name == lostAndFound && e.IsDir(), strings.HasPrefix(name, newInside) && e.IsDir():
			continue
		case name == format.ReplicaName && e.Type().IsRegular():
			continue
		case name == journal.FileName && e.Type().IsRegular():
			if unwritten, err := isUnwritten(filepath.Join(dir, name)); err == nil && unwritten {
				continue
			}
		}
		return occupied(dir, fs.ErrExist)
	}
	return nil
}

// isUnwritten reports whether no process has written to a journal since its creation.
func isUnwritten(path string) (bool, error) {
	f, err := os.Open(path)
	if err != nil {
		return false, err
	}
	defer f.Close()
	b := make([]byte, 64<<10)
	for n := int64(0); ; {
		k, err := f.Read(b)
		for _, c := range b[:k] {
			if c != 0 {
				return false, nil
			}
		}
		n += int64(k)
		if err == io.EOF {
			return n == format.SegmentSize, nil
		}
		if err != nil || n > format.SegmentSize {
			return false, err
		}
	}
}
