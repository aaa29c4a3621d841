package spacefile

import (
	"io/fs"
	"os"

	"github.com/everheap/everheap/internal/invariant"
	"github.com/everheap/everheap/internal/mapping"
)

// An existing empty directory becomes a space in place. It may be the root of a volume,
// which cannot be renamed, or have an owner and permissions that must stay.
//
//	K11  A directory is a space if it has a file named heap. The creator builds and syncs the
//	     files in a subdirectory. It renames the journal first, and syncs that. Then it
//	     renames the heap, in one step that fails if the name exists. So at every moment
//	     there is a whole space or none. A crash leaves a subdirectory whose name begins with
//	     newInside, and perhaps a journal that was never written. Neither hinders the next
//	     creator: it can use the unwritten journal.
//	K12  Of several creators one renames its heap file, and all others find its space then.
//	     The winner removes the others' subdirectories. So if a creator fails and then finds
//	     a space, another creator was faster: that is not an error.
const newInside = ".everheap.new-"

// lostAndFound is a directory that the root of a file system may contain.
const lostAndFound = "lost+found"

// constructIn is Construct for an existing directory.
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

// adopt gives an existing directory the permissions that the caller asked for, and notes its
// owner: if root creates the files they get that owner.
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
