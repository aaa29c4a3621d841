package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/internal/inspect"
)

// inspectCmd serves a page that looks into spaces.
type inspectCmd struct {
	Space  []string `arg:"" optional:"" help:"Registered names or directories of spaces; without one, all that are registered."`
	Listen string   `help:"Address of this machine to serve at; port 0 is any that is free." default:"127.0.0.1:0" placeholder:"ADDRESS"`
	Token  string   `name:"token-file" help:"File that has the token of the address, instead of a new one each time; it is made if there is none." type:"path" placeholder:"FILE"`
	Write  bool     `help:"Let the page change entries, make and restore checkpoints, collect and compact."`
}

// Help implements kong.HelpProvider.
func (c *inspectCmd) Help() string {
	return `The address that is printed has a token, which the page needs: it is for you alone.
The page needs no network, and pins no version while it is open. Prometheus finds metrics of the
spaces at /metrics, and sends the token as that of a bearer (authorization: credentials_file).

  everheap inspect                      all registered spaces
  everheap inspect forum --write        one space, and let the page change it
  everheap inspect ./data --listen=127.0.0.1:7070
  everheap inspect --listen=127.0.0.1:7070 --token-file=/etc/everheap.token
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
	if c.Token != "" {
		if opt.Token, err = tokenOf(c.Token); err != nil {
			return err
		}
	}
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

// tokenOf returns the token in a file. If the file does not exist, it creates one that only its owner
// can read.
func tokenOf(path string) (string, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		text = []byte(rand.Text() + "\n")
		var f *os.File
		if f, err = os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600); err != nil {
			return "", err
		}
		_, err = f.Write(text)
		err = errors.Join(err, f.Close())
	}
	token := strings.TrimSpace(string(text))
	if err == nil {
		if err = inspect.CheckToken(token); err != nil {
			err = fmt.Errorf("%s: %w", path, err)
		}
	}
	return token, err
}

// open opens a space: for reading only, unless the page may write. A change is on disk when the page
// confirms it.
func (c *inspectCmd) open(name string, std *streams) (*everheap.Space, error) {
	a := spaceArg{name}
	if c.Write {
		s, err := a.open(everheap.WithDurability(everheap.Durable))
		return s, unlessWritable(err)
	}
	return a.look(std)
}
