package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/internal/invariant"
)

// recoverCmd recovers a space after a loss of power.
type recoverCmd struct {
	spaceArg
}

// Run implements the verb. Whoever opens a space for writing recovers it, if it has to be.
func (c *recoverCmd) Run(std *streams) error {
	return c.with(func(s *everheap.Space) error {
		st := s.Stats()
		fmt.Fprintf(std.out, "the space is whole: version %d, committed %s ago\n", st.Version, since(st.Committed))
		return nil
	})
}

// debugCmd is what those need who look for a fault of the library itself.
type debugCmd struct {
	Events debugEventsCmd `cmd:"" help:"Print the events that programs noted, in order of time. The programs and this command must be built with the tag invariants."`
}

// debugEventsCmd prints the events of a space.
type debugEventsCmd struct {
	spaceArg
}

// Run implements the verb. The space is not opened.
func (c *debugEventsCmd) Run(std *streams) error {
	dir, err := c.dir()
	if err != nil {
		return err
	}
	return invariant.DumpEventsOf(dir, std.out)
}

// replicaCmd runs the program that keeps copies of spaces on other machines. It is of a module of its
// own, so that this one has no need of what it needs.
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
	// What ends this process from a terminal or a service manager reaches the program as well.
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
				_ = cmd.Process.Signal(s) // if it has ended, nothing is left to end
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
