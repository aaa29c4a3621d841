package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/everheap/everheap"
)

// collectCmd drops the objects that no name reaches.
type collectCmd struct {
	spaceArg
	JSON bool `name:"json" help:"Print JSON."`
}

// collected is the outcome of a collection, as collect shows it.
type collected struct {
	Version uint64  `json:"version"`
	Objects uint64  `json:"objects"`
	Dropped uint64  `json:"dropped"`
	Rescued uint64  `json:"rescued"`
	Bytes   uint64  `json:"bytes"`
	Batches int     `json:"batches"`
	Seconds float64 `json:"seconds"`
}

// Run implements the verb.
func (c *collectCmd) Run(ctx context.Context, std *streams) error {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := c.with(func(s *everheap.Space) error {
		stats, err := s.Collect(ctx)
		if err != nil {
			return err
		}
		r := collected{uint64(stats.Version), stats.Objects, stats.Dropped, stats.Rescued, stats.Bytes, stats.Batches, stats.Duration.Seconds()}
		if c.JSON {
			return printJSON(std.out, r)
		}
		r.print(std.out)
		return nil
	}, everheap.WithoutCollect())
	if err != nil && ctx.Err() != nil {
		return &exitError{exitInterrupted, nil}
	}
	return err
}

// print writes the outcome for people.
func (r *collected) print(w io.Writer) {
	fmt.Fprintf(w, "version %d: %s; %s that no name reaches, %s, %s, %.1f s\n", r.Version, plural(r.Objects, "object"),
		count(r.Dropped), size(r.Bytes), plural(uint64(r.Batches), "transaction"), r.Seconds)
}
