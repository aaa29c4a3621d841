package spacefile

import (
	"io/fs"
	"os"

	"github.com/everheap/everheap/internal/invariant"
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
//	     as good as its own.
//	K12  Of several creators one gets the name heap, and all others have found the
//	     space then. The one that got it removes what the others have begun. A creator
//	     that fails and finds a space has lost to that one, and has not failed.
const newInside = ".everheap.new-"

// lostAndFound is what a file system may have in its root.
const lostAndFound = "lost+found"

// constructIn is Construct in a directory that is there.
func (c *Creation) constructIn(dir string, build, place func(temporary string) error) (err error) {
	if err := Vacant(dir); err != nil {
		return err
	}
	if err := mapping.CheckFileSystem(dir); err != nil {
		return err
	}
	if err := c.adopt(dir); err != nil {
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
func (c *Creation) adopt(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	info, err := d.Stat()
	if err != nil {
		return err
	}
	if c.Mode != 0 && info.Mode()&(fs.ModePerm|fs.ModeSetgid) != c.Mode&(fs.ModePerm|fs.ModeSetgid) {
		if err := d.Chmod(c.Mode); err != nil {
			return err
		}
	}
	c.System.owner, err = mapping.OwnerOf(d)
	return err
}
