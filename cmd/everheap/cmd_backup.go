package main

// The verbs that write a backup of a space, and create a space from a backup.

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"

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

// counter counts the bytes written.
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
	case isShipped(c.Name): // the directory is the first argument, as with ship
		return restoreShipped(ctx, std, c.Name, c.File, c.At)
	case c.At != "":
		return fmt.Errorf("--at needs a directory of everheap ship; %s is not one", c.File)
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

// replicaCmd runs the program that keeps copies of spaces on other machines. The program belongs to a
// module of its own, which keeps its dependencies out of this module.
type replicaCmd struct {
	Args []string `arg:"" optional:"" passthrough:"" help:"lead, follow, status or promote, and what belongs to it; see everheap replica -- --help."`
}

const replicaProgram = "everheap-replica"

// Run implements the verb.
func (c *replicaCmd) Run(std *streams) error {
	program, err := besideOrInPath(replicaProgram)
	if err != nil {
		return fmt.Errorf("the program %s is neither beside this one nor in PATH: install it with go install github.com/everheap/everheap/replica/cmd/%s@latest", replicaProgram, replicaProgram)
	}
	args := c.Args
	if len(args) > 0 && args[0] == "--" {
		args = args[1:]
	}
	cmd := exec.Command(program, args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = std.in, std.out, std.err
	// Pass signals from a terminal or a service manager on to the program.
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(signals)
	if err := cmd.Start(); err != nil {
		return err
	}
	done := make(chan struct{})
	defer close(done)
	go func() {
		for {
			select {
			case s := <-signals:
				_ = cmd.Process.Signal(s) // an error means that the program has ended
			case <-done:
				return
			}
		}
	}()
	err = cmd.Wait()
	if e := (*exec.ExitError)(nil); errors.As(err, &e) {
		return &exitError{code: max(e.ExitCode(), 1)}
	}
	return err
}

// besideOrInPath finds a program in the directory of this one, or else in PATH.
func besideOrInPath(name string) (string, error) {
	if self, err := os.Executable(); err == nil {
		beside := filepath.Join(filepath.Dir(self), name)
		if info, err := os.Stat(beside); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return beside, nil
		}
	}
	return exec.LookPath(name)
}
