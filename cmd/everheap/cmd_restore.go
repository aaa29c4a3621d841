package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/everheap/everheap"
)

// restoreCmd makes a space from a backup.
type restoreCmd struct {
	Name string `arg:"" help:"Name to register the new space under, or its directory. Neither may exist."`
	File string `arg:"" optional:"" default:"-" help:"Backup to read; - is standard input."`
}

// Run implements the verb.
func (c *restoreCmd) Run(std *streams) error {
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
