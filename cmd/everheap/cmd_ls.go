package main

import (
	"errors"
	"fmt"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/registry"
)

// lsCmd lists the registered spaces.
type lsCmd struct {
	JSON bool `name:"json" help:"Print JSON."`
}

// listed is a registered space, as ls shows it.
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

// look tells of one registered space without opening it.
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
