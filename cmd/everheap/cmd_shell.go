package main

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/cmd/everheap/internal/shell"
	"github.com/everheap/everheap/registry"
)

// shellCmd queries and changes a space line by line.
type shellCmd struct {
	spaceArg
	Line []string `arg:"" optional:"" help:"A line to run; without it, lines are read from the terminal, or from standard input as a script, which ends at the first error."`
	Mode string   `help:"How entries are shown: table or json. By default table at a terminal, and json in a script." placeholder:"MODE" enum:",table,json" default:""`
}

// Run implements the verb.
func (c *shellCmd) Run(ctx context.Context, std *streams) error {
	opt := shell.Options{Space: c.Space, In: std.in, Out: std.out, Err: std.err, Mode: c.Mode,
		Open:   openShell,
		Spaces: registeredNames,
		Color:  os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb" && isTerminal(std.out),
	}
	if len(c.Line) > 0 {
		opt.In = strings.NewReader(strings.Join(c.Line, " "))
	} else if f, ok := std.in.(*os.File); ok && isTerminal(f) && isTerminal(std.out) {
		opt.Terminal, opt.History = f, historyFile()
	}
	err := shell.Run(ctx, opt)
	if errors.Is(err, shell.ErrInterrupted) {
		return &exitError{exitInterrupted, nil}
	}
	if err != nil && len(c.Line) > 0 {
		return errors.New(strings.TrimPrefix(err.Error(), "line 1: "))
	}
	return err
}

// openShell opens a space for the shell. If the user may not write the space, it opens it for reading
// only, and lines that change something are errors.
func openShell(name string) (*everheap.Space, error) {
	s, err := spaceArg{name}.open()
	if errors.Is(err, fs.ErrPermission) {
		if s, readErr := (spaceArg{name}).open(everheap.WithReadOnly()); !errors.Is(readErr, fs.ErrPermission) {
			return s, readErr
		}
	}
	return s, err
}

// registeredNames returns the names of the registered spaces.
func registeredNames() (names []string) {
	entries, err := registry.Open("").List()
	if err != nil {
		return nil
	}
	for _, e := range entries {
		names = append(names, e.Name)
	}
	return names
}

// historyFile returns the file with the history of the shell: EVERHEAP_HISTORY, if that is set. If it
// is set but empty, there is no file.
func historyFile() string {
	if file, ok := os.LookupEnv("EVERHEAP_HISTORY"); ok {
		return file
	}
	dir := os.Getenv("XDG_STATE_HOME")
	if dir == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return ""
		}
		dir = filepath.Join(home, ".local", "state")
	}
	return filepath.Join(dir, "everheap", "history")
}
