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

// place puts the new directory in its place. An empty directory gives way to
// it; a space that another process has created meanwhile is as good.
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
		return fmt.Errorf("the directory %s is there, is not empty and holds no space: %w", dir, err)
	}
	return err
}

// occupied says what is in the way.
func occupied(dir string, err error) error {
	what := "something else is"
	if _, statErr := os.Stat(filepath.Join(dir, HeapName)); statErr == nil {
		what = "a space is"
	}
	return fmt.Errorf("%w: %s there already, in %s, and was not touched; give another name, an empty directory, or remove it first (%w)", ErrExists, what, dir, err)
}

// Settle gives the new directory its name, unless there is something of that name.
func (c *Creation) Settle(temporary, dir string) error {
	if inside(temporary, dir) {
		err := c.publish(temporary, dir)
		if errors.Is(err, fs.ErrExist) {
			return occupied(dir, err)
		}
		return err
	}
	err := moveTo(temporary, dir) // an empty directory gives way, nothing else does
	if err == nil {
		return nil
	}
	if inTheWay := Vacant(dir); inTheWay != nil {
		return inTheWay
	}
	return err
}

// inside reports whether a space is being made in the directory itself.
func inside(temporary, dir string) bool { return filepath.Dir(temporary) == dir }

// publish gives the files of a space that was built inside its directory their names
// (K11). The error is fs.ErrExist if another space was faster.
func (c *Creation) publish(temporary, dir string) error {
	if err := publishReplica(temporary, dir); err != nil { // what makes it a replica is there before it is a space
		return err
	}
	err := mapping.RenameNew(filepath.Join(temporary, journal.FileName), filepath.Join(dir, journal.FileName))
	if err != nil {
		// The journal first: a journal with records then belongs to a space that is there.
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

// publishReplica gives what makes the space a replica its name. One that somebody has left who died is
// replaced: all that it said is said by the new one. Where the space is to be none, nothing is made
// beside it: it would be a replica.
func publishReplica(temporary, dir string) error {
	from, to := filepath.Join(temporary, format.ReplicaName), filepath.Join(dir, format.ReplicaName)
	err := mapping.RenameNew(from, to)
	switch _, heapErr := os.Stat(filepath.Join(dir, HeapName)); {
	case errors.Is(err, fs.ErrExist) && errors.Is(heapErr, fs.ErrNotExist):
		return os.Rename(from, to)
	case !errors.Is(err, fs.ErrNotExist):
		return err
	case heapErr == nil: // a space is there already, and what it is is its own affair
		return nil
	}
	if _, err := os.Lstat(to); err == nil {
		return fmt.Errorf("%w: the file %s is of a replica that was about to be made here", fs.ErrExist, to)
	}
	return nil
}

// escapeGlob makes a path a pattern that only it matches.
func escapeGlob(path string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(path)
}

// Vacant returns an error if there is anything in the way of a new space (K11).
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

// isUnwritten reports whether a journal is as it was made: no process has written to it.
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
