package main

import (
	"context"
	"errors"

	"github.com/everheap/everheap"
)

// renameCmd gives a collection another name.
type renameCmd struct {
	mapArg
	To string `arg:"" help:"New name."`
}

// Run implements the verb.
func (c *renameCmd) Run(ctx context.Context) error {
	if c.To == "" {
		return errors.New("the new name is empty")
	}
	return c.with(func(s *everheap.Space) error {
		if _, err := collection(s, c.Map); err != nil {
			return err
		}
		if err := everheap.RenameCollection(s, c.Map, c.To); err != nil {
			return err
		}
		return s.Sync(ctx)
	})
}
