package main

// The verbs of the registry: ls, adopt and forget.

import (
	"errors"
	"fmt"
	"path/filepath"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/registry"
)

// lsCmd lists the registered spaces.
type lsCmd struct {
	JSON bool `name:"json" help:"Print JSON."`
}

// listed is a registered space, in the form that ls prints.
type listed struct {
	Name   string `json:"name"`
	Dir    string `json:"dir"`
	State  string `json:"state"` // open, closed, missing, damaged
	Disk   uint64 `json:"disk"`
	Base   string `json:"base"`
	Window uint64 `json:"window"`
	Most   uint64 `json:"max_size,omitempty"`
	Error  string `json:"error,omitempty"`
}

// Run implements the verb.
func (c *lsCmd) Run(std *streams) error {
	reg := registry.Open("")
	entries, err := reg.List()
	if err != nil {
		return err
	}
	list := []listed{}
	for _, e := range entries {
		list = append(list, look(e))
	}
	if c.JSON {
		return printJSON(std.out, list)
	}
	if len(list) == 0 {
		fmt.Fprintf(std.out, "no spaces are registered in %s\n", reg.File())
		return nil
	}
	t := newTable("NAME", "STATE", ">ON DISK", ">AT MOST", "DIRECTORY")
	for _, l := range list {
		most := "-"
		if l.Most > 0 {
			most = size(l.Most)
		}
		t.add(l.Name, l.State, size(l.Disk), most, l.Dir)
	}
	t.print(std.out, "")
	return nil
}

// look returns the state of a registered space without opening it.
func look(e registry.Entry) listed {
	l := listed{Name: e.Name, Dir: e.Dir, State: "closed", Base: fmt.Sprintf("%#x", e.Base), Window: e.Size}
	info, err := everheap.Describe(e.Dir)
	switch {
	case errors.Is(err, everheap.ErrNotFound):
		l.State, l.Error = "missing", err.Error()
		return l
	case errors.Is(err, everheap.ErrCorrupt):
		l.State, l.Error = "damaged", err.Error()
		return l
	case err != nil:
		l.State, l.Error = "unreadable", err.Error()
		return l
	}
	if info.Open {
		l.State = "open"
	}
	l.Disk, l.Window, l.Most, l.Base = info.Disk, info.Window, info.MaxSize, fmt.Sprintf("%#x", info.Base)
	return l
}

// adoptCmd registers the space in a directory.
type adoptCmd struct {
	Dir  string `arg:"" help:"Directory of the space." type:"path"`
	Name string `arg:"" optional:"" help:"Name to register; by default the last part of the directory."`
}

// Run implements the verb. It gives a name to this directory if the name is new, or if its space is
// gone or was moved here. It refuses a name that another space has.
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

// forgetCmd removes names from the registry.
type forgetCmd struct {
	Names []string `arg:"" name:"name" help:"Registered names."`
}

// Run implements the verb. It removes names in order, up to the first error.
func (c *forgetCmd) Run(std *streams) error {
	reg := registry.Open("")
	for _, name := range c.Names {
		entry, found, err := reg.Lookup(name)
		if err != nil {
			return err
		}
		if !found {
			return fmt.Errorf("there is no registered space %q; %s", name, known(reg))
		}
		left := "; no space is there"
		if info, err := everheap.Describe(entry.Dir); err == nil {
			left = "; its files were not touched"
			if info.Open {
				left += ", and processes go on using them"
			}
		}
		if err := reg.Remove(name); err != nil {
			return err
		}
		fmt.Fprintf(std.out, "%s is no longer the name of %s%s\n", name, entry.Dir, left)
	}
	return nil
}
