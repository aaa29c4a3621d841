package main

import (
	"errors"
	"fmt"
	"path/filepath"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/registry"
)

// adoptCmd registers the space in a directory.
type adoptCmd struct {
	Dir  string `arg:"" help:"Directory of the space." type:"path"`
	Name string `arg:"" optional:"" help:"Name to register; by default the last part of the directory."`
}

// Run implements the verb. A name whose space is gone, or was moved here, is given to
// this directory; one that leads to another space is not.
func (c *adoptCmd) Run(std *streams) error {
	info, err := everheap.Describe(c.Dir)
	if errors.Is(err, everheap.ErrNotFound) {
		return noSpace(c.Dir)
	}
	if err != nil {
		return err
	}
	name := c.Name
	if name == "" {
		name = filepath.Base(info.Dir)
	}
	reg := registry.Open("")
	old, found, err := reg.Lookup(name)
	if err != nil {
		return err
	}
	if found && old.Dir != info.Dir {
		if _, err := everheap.Describe(old.Dir); !errors.Is(err, everheap.ErrNotFound) {
			return fmt.Errorf("the name %s is taken by the space in %s; give another name, or remove that one first: everheap forget %s", name, old.Dir, name)
		}
	}
	if err := reg.Register(registry.Entry{Name: name, Dir: info.Dir, Base: info.Base, Size: info.Window}); err != nil {
		return err
	}
	switch {
	case found && old.Dir == info.Dir:
		fmt.Fprintf(std.out, "%s is the name of %s already\n", name, info.Dir)
	case found:
		fmt.Fprintf(std.out, "%s is the name of %s; it was that of %s, where no space is\n", name, info.Dir, old.Dir)
	default:
		fmt.Fprintf(std.out, "%s is the name of %s\n", name, info.Dir)
	}
	return nil
}
