package main

import (
	"context"
	"fmt"

	"github.com/everheap/everheap"
)

// dropCmd drops a collection.
type dropCmd struct {
	mapArg
	Yes bool `help:"Do not ask."`
}

// Run implements the verb.
func (c *dropCmd) Run(ctx context.Context, std *streams) error {
	return c.with(func(s *everheap.Space) error {
		m, err := collection(s, c.Map)
		if err != nil {
			return err
		}
		n, err := m.Len(s)
		if err != nil {
			return err
		}
		if !c.Yes {
			if err := confirm(std, fmt.Sprintf("Drop %s with %s?", c.Map, counted(n, "entry", "entries"))); err != nil {
				return err
			}
		}
		if _, err := everheap.DropCollection(s, c.Map); err != nil {
			return err
		}
		return s.Sync(ctx)
	})
}
