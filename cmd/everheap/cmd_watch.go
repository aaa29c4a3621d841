package main

import (
	"context"
	"encoding/json"
	"os"
	"os/signal"
	"syscall"

	"github.com/everheap/everheap"
)

// watchCmd prints changes as they happen.
type watchCmd struct {
	spaceArg
	Map     string `arg:"" optional:"" help:"Name of the map, list or single value; without it, print the number of each new version."`
	Initial bool   `help:"Print the present entries first, as added."`
	Count   int    `help:"End after N lines." placeholder:"N"`
}

// Run implements the verb.
func (c *watchCmd) Run(ctx context.Context, std *streams) error {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := c.read(std, func(s *everheap.Space) error {
		if c.Map == "" {
			return c.versions(ctx, s, std)
		}
		return c.changes(ctx, s, std)
	})
	if err != nil && ctx.Err() != nil {
		return &exitError{exitInterrupted, nil}
	}
	return err
}

// versions prints a line for each newer version.
func (c *watchCmd) versions(ctx context.Context, s *everheap.Space, std *streams) error {
	line := c.lines(std)
	for v, err := range s.Changes(ctx) {
		if err != nil {
			return err
		}
		more, err := line(struct {
			Version everheap.Version `json:"version"`
		}{v})
		if !more {
			return err
		}
	}
	return nil
}

// changes prints a line for each change of a collection.
func (c *watchCmd) changes(ctx context.Context, s *everheap.Space, std *streams) error {
	m, err := collection(s, c.Map)
	if err != nil {
		return err
	}
	var opts []everheap.WatchOption
	if c.Initial {
		opts = append(opts, everheap.WithInitial())
	}
	line := c.lines(std)
	for change, err := range m.WatchJSON(ctx, opts...) {
		if err != nil {
			return err
		}
		if more, err := line(change); !more {
			return err
		}
	}
	return nil
}

// lines returns a function that prints a line at once, and reports whether to print more.
func (c *watchCmd) lines(std *streams) func(v any) (more bool, err error) {
	e := json.NewEncoder(std.out)
	e.SetEscapeHTML(false)
	n := 0
	return func(v any) (bool, error) {
		err := e.Encode(v)
		n++
		return err == nil && (c.Count == 0 || n < c.Count), err
	}
}
