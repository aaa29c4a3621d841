//go:build linux

// Package command is the command line of the forum, over whatever store: it fills the store,
// runs the crew of servers, and plays a day against them.
package command

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"

	"github.com/everheap/everheap/examples/forum/crew"
	"github.com/everheap/everheap/examples/forum/page"
	"github.com/everheap/everheap/examples/forum/seed"
	"github.com/everheap/everheap/examples/forum/site"
)

// Store is what can be chosen with -store.
type Store struct {
	Name string // of the flag
	Text string // for the foot of the pages
	Open func(path string) (seed.Store, error)
}

// options are those of the site.
type options struct {
	address string
	data    string
	store   string
	servers int
	size    float64
	rounds  int
}

// Main does what the command line says; the first store is the default. It returns the status
// of the process.
func Main(args []string, out, errOut io.Writer, stores ...Store) int {
	var err error
	switch {
	case len(args) > 0 && args[0] == "day":
		err = runDay(args[1:], out, errOut)
	case len(args) > 0 && args[0] == "pages":
		err = runPages(args[1:], out, errOut)
	default:
		err = runSite(args, out, errOut, stores)
	}
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(errOut, "forum:", err)
		return 1
	}
	return 0
}

func runSite(args []string, out, errOut io.Writer, stores []Store) error {
	o := options{data: "everforum", store: stores[0].Name, servers: max(2, runtime.NumCPU()), size: 1}
	if dir, err := os.UserCacheDir(); err == nil {
		o.data = filepath.Join(dir, "everforum")
	}
	flags := flag.NewFlagSet("forum", flag.ContinueOnError)
	flags.SetOutput(errOut)
	flags.Usage = func() {
		fmt.Fprint(errOut, "Usage: forum [flags]            serves the site\n       forum day [flags]        plays a day against a site that runs\n       forum pages [flags]      measures pages of a site that runs\n\nFlags:\n")
		flags.PrintDefaults()
	}
	names := make([]string, len(stores))
	for i, s := range stores {
		names[i] = s.Name
	}
	flags.StringVar(&o.address, "listen", "127.0.0.1:8080", "`address` of the site; port 0 is a free one")
	flags.StringVar(&o.data, "data", o.data, "`directory` of the data")
	flags.StringVar(&o.store, "store", o.store, "what keeps the data: "+strings.Join(names, ", "))
	flags.IntVar(&o.servers, "servers", o.servers, "how many `processes` serve")
	flags.Float64Var(&o.size, "size", o.size, "how much there is at first: 1 is 10,000 users, 2,000 stories and 200,000 comments")
	flags.IntVar(&o.rounds, "rounds", 0, "`rounds` of the hash of new passwords; 0: as many as is right")
	if err := flags.Parse(args); err != nil {
		return err
	}
	i := slices.Index(names, o.store)
	if i < 0 || flags.NArg() > 0 || o.servers < 1 || o.servers > 64 || o.size <= 0 {
		flags.Usage()
		return errors.New("that is no way to call it")
	}
	seat, err := crew.Join()
	if err != nil {
		return err
	}
	if seat != nil {
		return serve(seat, o, stores[i])
	}
	return supervise(o, stores[i], args, out, errOut)
}

// path returns where a store keeps its data.
func (o options) path(s Store) string { return filepath.Join(o.data, s.Name) }

// serve is one server of the crew.
func serve(seat *crew.Seat, o options, store Store) error {
	opened, err := store.Open(o.path(store))
	if err != nil {
		return err
	}
	defer opened.Close()
	s := site.New(opened, site.Options{Address: seat.Address(), Kill: seat.Kill, Leave: seat.Leave, Rounds: o.rounds, Store: store.Text})
	if err := s.Announce(); err != nil {
		return err
	}
	return seat.Serve(s, s.Drain, s.Run)
}

// supervise fills the store, and keeps the crew going until the terminal says to end.
func supervise(o options, store Store, args []string, out, errOut io.Writer) error {
	if err := os.MkdirAll(o.data, 0o700); err != nil {
		return err
	}
	if err := fill(o, store, out); err != nil {
		return err
	}
	program, err := os.Executable()
	if err != nil {
		return err
	}
	ends := make(chan os.Signal, 1)
	signal.Notify(ends, syscall.SIGINT, syscall.SIGTERM)
	rolls := make(chan os.Signal, 1)
	signal.Notify(rolls, syscall.SIGHUP)
	c, err := crew.Start(crew.Options{Address: o.address, Seats: o.servers,
		Command: func() *exec.Cmd {
			cmd := exec.Command(program, args...)
			cmd.Stderr = errOut
			return cmd
		},
		Log: func(format string, args ...any) { fmt.Fprintf(errOut, format+"\n", args...) }})
	if err != nil {
		return err
	}
	defer c.Stop()
	fmt.Fprintf(out, "\nThe forum is at  http://%s/\nIts servers  at  http://%s/ops\n\nUsers such as ada have the password %s. Ctrl-C ends it; SIGHUP replaces the servers by those of a new program.\n",
		c.Address(), c.Address(), seed.Password)
	for {
		select {
		case <-rolls:
			if err := c.Roll(); err != nil {
				fmt.Fprintln(errOut, "forum:", err)
			}
		case <-ends:
			return nil
		}
	}
}

// seedRounds are few: the password of the users of the seed is known to everybody.
const seedRounds = 1000

// fill makes the data that the site begins with, if they are not there.
func fill(o options, store Store, out io.Writer) error {
	s, err := store.Open(o.path(store))
	if errors.Is(err, page.ErrOutdated) {
		return err
	}
	if err != nil {
		return err
	}
	said := false
	bar := newBar(out, "filling the forum")
	err = seed.PlanOf(o.size).Load(s, func(password string) (page.Password, error) { return site.Hash(password, seedRounds) },
		func(done, of int) { said = true; bar.show(done, of, "comments") })
	if said {
		bar.end()
	}
	return errors.Join(err, s.Close())
}
