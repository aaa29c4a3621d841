package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/internal/inspect"
)

// inspectCmd serves a page that looks into spaces.
type inspectCmd struct {
	Space  []string `arg:"" optional:"" help:"Registered names or directories of spaces; without one, all that are registered."`
	Listen string   `help:"Address of this machine to serve at; port 0 is any that is free." default:"127.0.0.1:0" placeholder:"ADDRESS"`
	Write  bool     `help:"Let the page change entries, make and restore checkpoints, collect and compact."`
}

// Help implements kong.HelpProvider.
func (c *inspectCmd) Help() string {
	return `The address that is printed has a token, which the page needs: it is for you alone.
The page needs no network, and pins no version while it is open.

  everheap inspect                      all registered spaces
  everheap inspect forum --write        one space, and let the page change it
  everheap inspect ./data --listen=127.0.0.1:7070
  ssh -L 7070:127.0.0.1:7070 HOST       then the page of HOST is at the same address here`
}

// Run implements the verb.
func (c *inspectCmd) Run(ctx context.Context, std *streams) error {
	names := c.Space
	if len(names) == 0 {
		if names = registeredNames(); len(names) == 0 {
			return errors.New("no space is registered; name the directory of one: everheap inspect DIR")
		}
	}
	l, err := inspect.Listen(c.Listen)
	if err != nil {
		return err
	}
	defer l.Close()
	opt := inspect.Options{Write: c.Write, Version: version()}
	for _, name := range names {
		opt.Sources = append(opt.Sources, inspect.Source{Name: name, Open: func() (*everheap.Space, error) { return c.open(name, std) }})
	}
	server, err := inspect.New(opt)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	fmt.Fprintf(std.out, "%s\n", server.Address(l))
	fmt.Fprintf(std.err, "everheap: open the address in a browser; Ctrl-C ends it\n")
	return errors.Join(server.Serve(ctx, l), server.Close())
}

// open opens a space: for reading only, unless the page may write. What is changed on the page
// is on disk when the page says so.
func (c *inspectCmd) open(name string, std *streams) (*everheap.Space, error) {
	a := spaceArg{name}
	if c.Write {
		s, err := a.open(everheap.WithDurability(everheap.Durable))
		return s, unlessWritable(err)
	}
	return a.look(std)
}
