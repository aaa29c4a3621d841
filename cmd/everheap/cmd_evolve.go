package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/everheap/everheap"
)

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

// confirm asks on a terminal; elsewhere it says that there must be --yes.
func confirm(std *streams, question string) error {
	if w, ok := std.in.(io.Writer); !ok || !isTerminal(w) {
		return fmt.Errorf("%w: give --yes, since nobody can be asked here", errNotConfirmed)
	}
	fmt.Fprintf(std.err, "%s [y/N] ", question)
	var answer string
	_, _ = fmt.Fscanln(std.in, &answer)
	if a := strings.ToLower(answer); a != "y" && a != "yes" {
		return errNotConfirmed
	}
	return nil
}
