package main

import (
	"fmt"

	"github.com/everheap/everheap"
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
