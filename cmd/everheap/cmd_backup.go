package main

// The verbs that write a backup of a space, and make a space of one.

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/everheap/everheap"
)

// backupCmd writes a backup.
type backupCmd struct {
	spaceArg
	File string `arg:"" optional:"" default:"-" help:"File to write; - is standard output. The backup replaces the file once it is complete."`
}

// Run implements the verb.
func (c *backupCmd) Run(std *streams) error {
	if c.File == "-" && isTerminal(std.out) {
		return errors.New("a backup cannot be written to a terminal; name a FILE, or redirect the output")
	}
	return c.read(std, func(s *everheap.Space) error {
		if c.File == "-" {
			return s.Backup(std.out)
		}
		n, err := writeFile(c.File, s.Backup)
		if err == nil {
			fmt.Fprintf(std.out, "%s: %s\n", c.File, size(n))
		}
		return err
	})
}

// counter counts what is written.
type counter struct {
	w io.Writer
	n uint64
}

// Write implements io.Writer.
func (c *counter) Write(b []byte) (int, error) {
	n, err := c.w.Write(b)
	c.n += uint64(n)
	return n, err
}

// restoreCmd makes a space from a backup.
type restoreCmd struct {
	Name string `arg:"" help:"Name to register the new space under, or its directory. Neither may exist."`
	File string `arg:"" optional:"" default:"-" help:"Backup to read; - is standard input. Or the directory that everheap ship has kept up to date."`
	At   string `help:"Of a directory: restore the last version that is not newer than this version or time, such as 4711 or \"2026-11-30 14:05:00\"." placeholder:"VERSION|TIME"`
}

// Run implements the verb.
func (c *restoreCmd) Run(ctx context.Context, std *streams) error {
	switch {
	case isShipped(c.File):
		return restoreShipped(ctx, std, c.File, c.Name, c.At)
	case isShipped(c.Name): // the directory first, as with ship
		return restoreShipped(ctx, std, c.Name, c.File, c.At)
	case c.At != "":
		return fmt.Errorf("--at needs the directory that everheap ship has kept up to date; %s is none", c.File)
	}
	in := std.in
	if c.File != "-" {
		f, err := os.Open(c.File)
		if err != nil {
			return err
		}
		defer f.Close()
		in = f
	} else if w, ok := in.(io.Writer); ok && isTerminal(w) {
		return errors.New("a backup cannot be read from a terminal; name a FILE, or redirect the input")
	}
	if err := everheap.RestoreBackup(c.Name, in); err != nil {
		return err
	}
	fmt.Fprintf(std.out, "%s is restored\n", c.Name)
	return nil
}
