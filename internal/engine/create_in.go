package engine

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

// A directory that is there, and is empty, becomes a space as it is: it may be the root
// of a volume, which cannot be renamed, or have an owner and permissions of its own.
//
//	K11  The name heap makes a directory a space. The files are built and synced in a
//	     directory inside. The journal gets its name first, and that is synced; then
//	     the heap gets its name, in one step that fails if there is one. So at every
//	     moment there is a whole space or none; what a crash leaves is a directory
//	     with a name of its own kind, and perhaps a journal in which nothing was ever
//	     written. Neither is in the way of the next creator: an unwritten journal is
//	     as good as his.
//	K12  Of several creators one gets the name heap, and all others have found the
//	     space then. The one who got it removes what the others have begun; who fails
//	     and finds a space has lost to that one, and has not failed.
const newInside = ".everheap.new-"

// lostAndFound is what a file system may have in its root.
const lostAndFound = "lost+found"

// constructIn is construct in a directory that is there.
func constructIn(dir string, o Options, build, place func(temporary string) error) (err error) {
	if err := vacant(dir); err != nil {
		return err
	}
	if err := mapping.CheckFileSystem(dir); err != nil {
		return err
	}
	if err := o.adopt(dir); err != nil {
		return err
	}
	temporary, err := os.MkdirTemp(dir, newInside)
	if err != nil {
		return err
	}
	defer os.RemoveAll(temporary)
	if err := build(temporary); err != nil {
		return err
	}
	invariant.Point("create.built")
	return place(temporary)
}

// adopt gives a directory that becomes a space the permissions that were asked for, and
// the files its owner, if root makes them.
func (o *Options) adopt(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	info, err := d.Stat()
	if err != nil {
		return err
	}
	if o.Mode != 0 && info.Mode()&(fs.ModePerm|fs.ModeSetgid) != o.Mode&(fs.ModePerm|fs.ModeSetgid) {
		if err := d.Chmod(o.Mode); err != nil {
			return err
		}
	}
	o.owner, err = mapping.OwnerOf(d)
	return err
}

// inside reports whether a space is being made in the directory itself.
func inside(temporary, dir string) bool { return filepath.Dir(temporary) == dir }

// publish gives the files of a space that was built inside its directory their names
// (K11). The error is fs.ErrExist if another space was faster.
func (o *Options) publish(temporary, dir string) error {
	err := mapping.RenameNew(filepath.Join(temporary, journal.FileName), filepath.Join(dir, journal.FileName))
	if err != nil {
		// In this order: a journal that is written to is that of a space that is there.
		unwritten, readErr := isUnwritten(filepath.Join(dir, journal.FileName))
		if _, heapErr := os.Stat(filepath.Join(dir, HeapName)); heapErr == nil {
			return fs.ErrExist
		}
		if !errors.Is(err, fs.ErrExist) || readErr != nil || !unwritten {
			return errors.Join(err, readErr)
		}
	}
	if err := o.syncDir(dir); err != nil {
		return err
	}
	invariant.Point("create.journal")
	if err := mapping.RenameNew(filepath.Join(temporary, HeapName), filepath.Join(dir, HeapName)); err != nil {
		return err
	}
	invariant.Point("create.heap")
	if err := o.syncDir(dir); err != nil {
		return err
	}
	left, err := filepath.Glob(filepath.Join(escapeGlob(dir), newInside+"*"))
	for _, begun := range left { // K12
		err = errors.Join(err, os.RemoveAll(begun))
	}
	return err
}

// escapeGlob makes a path a pattern that only it matches.
func escapeGlob(path string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(path)
}

// vacant returns an error if there is anything in the way of a new space (K11).
func vacant(dir string) error {
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
		case name == journal.FileName && e.Type().IsRegular():
			if unwritten, err := isUnwritten(filepath.Join(dir, name)); err == nil && unwritten {
				continue
			}
		}
		return occupied(dir, fs.ErrExist)
	}
	return nil
}

// isUnwritten reports whether a journal is as it was made: nobody has written to it.
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
