package main

import (
	"github.com/everheap/everheap/internal/invariant"
)

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
