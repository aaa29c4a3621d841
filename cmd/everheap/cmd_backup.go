package main

import (
	"errors"
	"fmt"
	"io"

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
