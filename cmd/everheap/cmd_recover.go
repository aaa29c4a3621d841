package main

import (
	"fmt"

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
