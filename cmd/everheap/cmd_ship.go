package main

// The verbs that keep a directory up to date with a space, and restore a space from such a directory.

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/cmd/everheap/internal/transfer"
	"github.com/everheap/everheap/ship"
)

// shipCmd ships a space.
type shipCmd struct {
	spaceArg
	Dir      string        `arg:"" help:"Directory that is kept up to date; made if it is not there."`
	Keep     time.Duration `help:"Remove what only versions older than this need, such as 168h; without it, keep all." placeholder:"TIME"`
	Snapshot time.Duration `help:"Longest time between two snapshots." default:"24h" placeholder:"TIME"`
	Retain   uint64        `help:"MiB of changes that the space may keep while it is not shipped." default:"128" placeholder:"MIB"`
	Once     bool          `help:"End when everything that is there now is in the directory."`
	Quiet    bool          `short:"q" help:"Print nothing."`
}

// Run implements the verb.
func (c *shipCmd) Run(ctx context.Context, std *streams) error {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	return c.with(func(s *everheap.Space) error {
		want := everheap.Version(0)
		if c.Once {
			if err := s.Sync(ctx); err != nil {
				return err
			}
			want = s.Stats().Version
		}
		var last ship.Progress
		told := time.Time{}
		report := func(p ship.Progress) {
			last = p
			if p.Damage != nil {
				fmt.Fprintf(std.err, "everheap: %v\n", p.Damage)
			}
			if !c.Quiet && !c.Once && (p.Snapshot || time.Since(told) >= 10*time.Second) {
				fmt.Fprintf(std.out, "%s: version %d, of %s; %s written\n", c.Dir, p.Version, p.Time.Format("2006-01-02 15:04:05"), size(p.Bytes))
				told = time.Now()
			}
		}
		err := ship.Run(ctx, s, c.Dir, ship.Options{Keep: c.Keep, SnapshotEvery: c.Snapshot, Retain: int64(c.Retain) << 20, Once: want, Report: report})
		if err == nil && !c.Quiet && last.Version != 0 {
			fmt.Fprintf(std.out, "%s: version %d, of %s; %s written\n", c.Dir, last.Version, last.Time.Format("2006-01-02 15:04:05"), size(last.Bytes))
		}
		return err
	})
}

// restoreShipped restores a space from a directory into which it was shipped.
func restoreShipped(ctx context.Context, std *streams, dir, name, at string) error {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	target, err := parseAt(at)
	if err != nil {
		return err
	}
	bar := transfer.NewBar(progressTo(std, false), 0)
	defer bar.Clear()
	done, err := ship.Restore(ctx, dir, name, target, func(r ship.Restored) { bar.Show(uint64(r.Frames), 0) })
	bar.Clear()
	if err != nil {
		if ctx.Err() != nil {
			return &exitError{exitInterrupted, err}
		}
		return err
	}
	for _, path := range done.Damaged {
		fmt.Fprintf(std.err, "everheap: %s is damaged; an older snapshot was taken\n", path)
	}
	what := ""
	if !done.Time.IsZero() {
		what = ", of " + done.Time.Format("2006-01-02 15:04:05")
	}
	fmt.Fprintf(std.out, "%s is restored: version %d%s\n", name, done.Version, what)
	return nil
}

// timeForms are the accepted forms of a time, in the local zone unless the time names a zone.
var timeForms = []string{time.RFC3339Nano, "2006-01-02 15:04:05", "2006-01-02T15:04:05", "2006-01-02 15:04", "2006-01-02"}

// parseAt parses --at: a version, or a time.
func parseAt(at string) (ship.At, error) {
	if at == "" {
		return ship.At{}, nil
	}
	if v, err := strconv.ParseUint(at, 10, 64); err == nil && v > 0 {
		return ship.At{Version: everheap.Version(v)}, nil
	}
	for _, form := range timeForms {
		if t, err := time.ParseInLocation(form, at, time.Local); err == nil {
			return ship.At{Time: t}, nil
		}
	}
	return ship.At{}, fmt.Errorf("--at %q is neither a version nor a time such as %q", at, "2026-11-30 14:05:00")
}

// isShipped reports whether a path is a directory into which a space was shipped.
func isShipped(path string) bool {
	is, err := ship.IsDirectory(path)
	return err == nil && is
}
