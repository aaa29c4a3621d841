package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/everheap/everheap"
)

// typeArg is a type that is given as text.
type typeArg struct {
	Type string `arg:"" optional:"" help:"Type in Go syntax: 'map[K]V', 'sorted[K]V', '[]T', or '*T' for a single value; then the declarations of the types that it names, each on a new line or after a semicolon."`
	File string `help:"Read the type from a file; - reads standard input. A file that everheap types has written will do." placeholder:"FILE"`
}

// text returns the text.
func (a typeArg) text(std *streams) (string, error) {
	switch {
	case a.Type != "" && a.File != "":
		return "", errors.New("give a type or --file, not both")
	case a.Type != "":
		return a.Type, nil
	case a.File == "":
		return "", errors.New("which type? give one, such as 'map[string]int', or --file")
	}
	var b []byte
	var err error
	if a.File == "-" {
		b, err = io.ReadAll(std.in)
	} else {
		b, err = os.ReadFile(a.File)
	}
	if err != nil {
		return "", fmt.Errorf("reading the type: %w", err)
	}
	return string(b), nil
}

// createCmd creates a collection.
type createCmd struct {
	spaceArg
	Name string `arg:"" help:"Name of the new map, list or single value."`
	typeArg
}

// Run implements the verb.
func (c *createCmd) Run(ctx context.Context, std *streams) error {
	spec, err := c.text(std)
	if err != nil {
		return err
	}
	if c.Name == "" {
		return errors.New("the name is empty")
	}
	return c.with(func(s *everheap.Space) error {
		if _, err := s.Create(c.Name, spec); err != nil {
			return err
		}
		return s.Sync(ctx)
	})
}
