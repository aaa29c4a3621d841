package main

import (
	"fmt"
	"go/format"

	"github.com/everheap/everheap"
)

// typesCmd prints the stored types as Go source.
type typesCmd struct {
	spaceArg
	Map string `arg:"" optional:"" help:"Name of a map; without it, print all types."`
}

// Run implements the verb.
func (c *typesCmd) Run(std *streams) error {
	return c.read(std, func(s *everheap.Space) error {
		var names []string
		if c.Map != "" {
			if _, err := collection(s, c.Map); err != nil {
				return err
			}
			names = []string{c.Map}
		}
		source, err := s.TypeSource(names...)
		if err != nil {
			return err
		}
		formatted, err := format.Source(source)
		if err != nil {
			return fmt.Errorf("the source is not what gofmt accepts: %w", err)
		}
		_, err = std.out.Write(formatted)
		return err
	})
}
