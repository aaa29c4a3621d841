package main

// The verbs for whole collections: create, evolve, rename and drop.

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/everheap/everheap"
)

// typeArg is a type, given as text.
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

// createCmd creates a collection, or a space.
type createCmd struct {
	spaceArg
	Name string `arg:"" optional:"" help:"Name of the new map, list or single value."`
	typeArg
	MaxSize byteCount `help:"Of a new space: the most that its heap may have, 512MiB or 1TiB; 64GiB by default." placeholder:"SIZE"`
}

// Help implements kong.HelpProvider.
func (c *createCmd) Help() string {
	return `Without NAME it creates an empty space, and prints where: one that is registered
by its name, or in the directory DIR if SPACE has a slash.

  everheap create forum                             a space
  everheap create ./data --max-size=4GiB            a space in a directory
  everheap create forum ages 'map[string]int'       a map in it
  everheap create forum users --file=users.go       its type is in a file`
}

// Run implements the verb.
func (c *createCmd) Run(ctx context.Context, std *streams) error {
	switch {
	case c.Name == "" && c.Type == "" && c.File == "":
		return c.createSpace(std)
	case c.MaxSize != 0:
		return errors.New("--max-size is for a new space; everheap resize changes that of one that is there")
	}
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

// createSpace creates an empty space.
func (c *createCmd) createSpace(std *streams) error {
	if dir, err := c.dir(); err == nil {
		return fmt.Errorf("%s is a space already, in %s; everheap info shows what it holds", c.Space, dir)
	}
	s, err := everheap.Open(c.Space, everheap.WithMaxSize(uint64(c.MaxSize)))
	if err != nil {
		return err
	}
	fmt.Fprintln(std.out, s.Stats().Dir)
	return s.Close()
}

// evolveCmd changes the type of a collection.
type evolveCmd struct {
	mapArg
	typeArg
	Yes    bool `help:"Do not ask." xor:"how"`
	DryRun bool `help:"Print the difference only." xor:"how"`
}

// Run implements the verb.
func (c *evolveCmd) Run(ctx context.Context, std *streams) error {
	spec, err := c.text(std)
	if err != nil {
		return err
	}
	run := c.with
	if c.DryRun {
		run = func(fn func(s *everheap.Space) error, _ ...everheap.Option) error { return c.read(std, fn) }
	}
	return run(func(s *everheap.Space) error {
		m, err := collection(s, c.Map)
		if err != nil {
			return err
		}
		lines, err := s.Differences(c.Map, spec)
		if err != nil {
			return err
		}
		if len(lines) == 0 {
			fmt.Fprintf(std.out, "%s has that type already\n", c.Map)
			return nil
		}
		refused := 0
		for _, l := range lines {
			fmt.Fprintln(std.out, l)
			if strings.HasPrefix(l, "!") {
				refused++
			}
		}
		switch {
		case refused > 0:
			return fmt.Errorf("%s refused (marked !); change the type so that nothing stored is lost, or convert with a program and Migrate", counted(refused, "difference is", "differences are"))
		case c.DryRun:
			return nil
		}
		n, err := m.Len(s)
		if err != nil {
			return err
		}
		if !c.Yes {
			if err := confirm(std, fmt.Sprintf("Convert %s of %s? Programs with the old type get an error from then on.", counted(n, "entry", "entries"), c.Map)); err != nil {
				return err
			}
		}
		if err := s.EvolveCollection(c.Map, spec); err != nil {
			return err
		}
		return s.Sync(ctx)
	})
}

// counted returns a number with its noun.
func counted(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return count(uint64(n)) + " " + many
}

// errNotConfirmed says that the user did not agree.
var errNotConfirmed = errors.New("nothing was changed")

// confirm asks on a terminal; without a terminal it returns an error that asks for --yes.
func confirm(std *streams, question string) error {
	if w, ok := std.in.(io.Writer); !ok || !isTerminal(w) {
		return fmt.Errorf("%w: there is no terminal to ask at; give --yes", errNotConfirmed)
	}
	fmt.Fprintf(std.err, "%s [y/N] ", question)
	var answer string
	_, _ = fmt.Fscanln(std.in, &answer)
	if a := strings.ToLower(answer); a != "y" && a != "yes" {
		return errNotConfirmed
	}
	return nil
}

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
