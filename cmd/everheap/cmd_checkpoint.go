package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/everheap/everheap"
)

// checkpointCmd lists, makes, restores and drops checkpoints.
type checkpointCmd struct {
	spaceArg
	Name    string `arg:"" optional:"" help:"Name of the checkpoint; without it, list all."`
	Restore bool   `help:"Restore the checkpoint: make its contents the newest version." xor:"what"`
	Drop    bool   `help:"Drop the checkpoint." xor:"what"`
	JSON    bool   `name:"json" help:"Print the list as JSON."`
}

// Run implements the verb.
func (c *checkpointCmd) Run(ctx context.Context, std *streams) error {
	if c.Name == "" {
		if c.Restore || c.Drop {
			return errors.New("which checkpoint? everheap checkpoint SPACE lists them")
		}
		return c.read(std, func(s *everheap.Space) error { return c.list(s, std.out) })
	}
	return c.with(func(s *everheap.Space) error {
		switch {
		case c.Restore:
			return s.Restore(ctx, c.Name)
		case c.Drop:
			return s.DropCheckpoint(c.Name)
		}
		if err := s.Checkpoint(c.Name); err != nil {
			return err
		}
		return s.Sync(ctx)
	})
}

// checkpointInfo is a checkpoint, in the form of the list.
type checkpointInfo struct {
	Name      string `json:"name"`
	Version   uint64 `json:"version"`
	Created   string `json:"created"`
	Committed string `json:"committed"`
	Exclusive uint64 `json:"exclusive"`
}

// list prints the checkpoints.
func (c *checkpointCmd) list(s *everheap.Space, w io.Writer) error {
	found, err := s.Checkpoints()
	if err != nil {
		return err
	}
	if c.JSON {
		list := []checkpointInfo{}
		for _, i := range found {
			const layout = "2006-01-02T15:04:05.000Z07:00"
			list = append(list, checkpointInfo{i.Name, uint64(i.Version), i.Created.UTC().Format(layout), i.Committed.UTC().Format(layout), i.Exclusive})
		}
		return printJSON(w, list)
	}
	if len(found) == 0 {
		fmt.Fprintln(w, "no checkpoints")
		return nil
	}
	t := newTable("CHECKPOINT", ">VERSION", ">AGE", ">PINS ALONE")
	for _, i := range found {
		t.add(i.Name, count(uint64(i.Version)), since(i.Created), size(i.Exclusive))
	}
	t.print(w, "")
	return nil
}
