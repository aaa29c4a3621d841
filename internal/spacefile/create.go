package spacefile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/everheap/everheap/internal/mapping"
)

// A Creation creates spaces.
type Creation struct {
	System  System
	MaxSize uint64                       // 0: DefaultMaxSize
	Mode    os.FileMode                  // of the directory; 0: 0700
	Base    uint64                       // of the window; 0: any
	Taken   func(base, size uint64) bool // reports whether a window belongs to another space; nil: none does
}

// Create creates a space in directory dir. It returns nil as well if another process has created one there meanwhile.
func (c *Creation) Create(dir string) error {
	limit, size, err := Sizes(c.MaxSize)
	if err != nil {
		return err
	}
	err = c.Construct(dir, func(temporary string) error {
		h, err := c.NewHeader(size)
		if err != nil {
			return err
		}
		return c.CreateFiles(temporary, h, limit)
	}, func(temporary string) error { return c.place(temporary, dir) })
	if errors.Is(err, fs.ErrExist) || errors.Is(err, fs.ErrNotExist) { // another process may have caused these
		if _, statErr := os.Stat(filepath.Join(dir, HeapName)); statErr == nil {
			return nil // another process was faster, and may have removed this one's unfinished directory: K12
		}
	}
	return err
}

// Construct creates a directory with a space. It makes a temporary directory beside it;
// build fills that and syncs the files; place renames it; and Construct syncs the parent. So
// at every moment there is a whole space or none. A temporary directory that a crash leaves
// behind hinders no later creator.
func (c *Creation) Construct(dir string, build, place func(temporary string) error) error {
	if info, err := os.Stat(dir); err == nil && info.IsDir() {
		return c.constructIn(dir, build, place)
	}
	parent := filepath.Dir(dir)
	if err := os.MkdirAll(parent, c.mode()); err != nil {
		return err
	}
	if err := mapping.CheckFileSystem(parent); err != nil {
		return err
	}
	temporary, err := os.MkdirTemp(parent, "."+filepath.Base(dir)+".new-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(temporary)
	if err := os.Chmod(temporary, c.mode()); err != nil {
		return err
	}
	if err := build(temporary); err != nil {
		return err
	}
	if err := c.System.syncDir(temporary); err != nil {
		return err
	}
	if err := place(temporary); err != nil {
		return err
	}
	return c.System.syncDir(parent)
}

// mode returns the permissions of the new directory.
func (c *Creation) mode() os.FileMode {
	if c.Mode == 0 {
		return 0o700
	}
	return c.Mode
}
