package main

// The verbs that give space back: they drop objects that no name reaches, and shrink files.

import (
	"context"
	"errors"
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

// collected is the outcome of a collection, in the form that collect prints.
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

// compactCmd returns unused space to the file system.
type compactCmd struct {
	spaceArg
	Online  bool `help:"Return free extents while programs use the space, even if none does." xor:"how"`
	Offline bool `help:"Rewrite the space, packed. No program may have it open." xor:"how"`
	JSON    bool `name:"json" help:"Print JSON."`
}

// compacted is the outcome of compact, in the form that it prints.
type compacted struct {
	Before  uint64 `json:"before"` // bytes that the files take on disk
	After   uint64 `json:"after"`
	Offline bool   `json:"offline"`
}

// Run implements the verb. It rewrites the space if no process has it open, else it returns free
// extents.
func (c *compactCmd) Run(ctx context.Context, std *streams) error {
	dir, err := c.dir()
	if err != nil {
		return err
	}
	done := compacted{Offline: !c.Online}
	var stats everheap.CompactStats
	if done.Offline {
		if stats, err = everheap.Compact(ctx, dir); errors.Is(err, everheap.ErrBusy) && !c.Offline {
			done.Offline = false
		}
	}
	if !done.Offline {
		err = c.with(func(s *everheap.Space) (err error) {
			stats, err = s.Compact(ctx)
			return err
		})
	} else {
		err = unlessWritable(err)
	}
	if err != nil {
		return err
	}
	done.Before, done.After = stats.Before, stats.After
	if c.JSON {
		return printJSON(std.out, done)
	}
	done.print(std.out)
	return nil
}

// print writes the outcome for people.
func (d *compacted) print(w io.Writer) {
	how := "written anew"
	if !d.Offline {
		how = "free extents given back, while it is open; closed it can become smaller still"
	}
	fmt.Fprintf(w, "%s on disk before, %s now: %s\n", size(d.Before), size(d.After), how)
}
