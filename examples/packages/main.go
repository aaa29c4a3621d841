// Command packages keeps the packages of a Debian machine in a space, as ordinary Go structs.
//
// The first run reads them from the package manager's file and stores them:
//
//	packages load
//
// From then on every run finds them where they are: nothing is read, decoded or copied.
//
//	packages rdeps libc6      who depends on it
//	packages largest 5        what fills the disk
//	packages search editor    names and descriptions with that word
//	packages show bash        all about one
//
// Start reading at queries.go, which is what a program looks like that uses a space; load.go
// fills it.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strconv"
	"time"

	"github.com/everheap/everheap"
)

const usage = `Usage: packages [-space NAME] VERB

  load [FILE]    store the packages listed in FILE (default %s)
  rdeps NAME     packages that depend on NAME
  largest [N]    the N packages that take most space (default 10)
  search WORD    packages with WORD in their name or description
  show NAME      all that is known about NAME

Flags:
`

// statusFile is where the package manager keeps what is installed.
const statusFile = "/var/lib/dpkg/status"

// errUsage: the command line made no sense, and the usage has been printed.
var errUsage = errors.New("wrong usage")

func main() {
	err := run(os.Args[1:], os.Stdout, os.Stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
	case errors.Is(err, errUsage):
		os.Exit(2)
	case err != nil:
		fmt.Fprintln(os.Stderr, "packages:", err)
		os.Exit(1)
	}
}

// run does what the command line says.
func run(args []string, out, errOut io.Writer) error {
	flags := flag.NewFlagSet("packages", flag.ContinueOnError)
	flags.SetOutput(errOut)
	flags.Usage = func() {
		fmt.Fprintf(errOut, usage, statusFile)
		flags.PrintDefaults()
	}
	space := flags.String("space", "packages", "`name` of the space, or a directory with a / in it")
	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		return err
	} else if err != nil {
		return errUsage
	}
	verb, operand, n := flags.Arg(0), flags.Arg(1), flags.NArg()
	if verb == "load" && n <= 2 {
		if operand == "" {
			operand = statusFile
		}
		return load(*space, operand, out)
	}
	answer, err := question(verb, operand, n)
	if errors.Is(err, errUsage) {
		flags.Usage()
	}
	if err != nil {
		return err
	}
	return ask(*space, answer, out)
}

// question returns the query that a verb stands for, given its operand and the number of
// arguments, itself included.
func question(verb, operand string, n int) (query, error) {
	switch {
	case verb == "rdeps" && n == 2:
		return reverseDependencies(operand), nil
	case verb == "search" && n == 2 && operand != "":
		return search(operand), nil
	case verb == "show" && n == 2:
		return show(operand), nil
	case verb == "largest" && n == 1:
		return largest(10), nil
	case verb == "largest" && n == 2:
		count, err := strconv.Atoi(operand)
		if err != nil || count < 1 {
			return nil, fmt.Errorf("largest: %q is not a number of packages; give one above 0", operand)
		}
		return largest(count), nil
	}
	return nil, errUsage
}

// ask answers a query from the space, and says how long that took.
func ask(name string, q query, out io.Writer) error {
	start := time.Now()
	space, err := everheap.Open(name, everheap.WithReadOnly())
	if err != nil {
		return notLoaded(name, err)
	}
	defer space.Close()
	opened := time.Now()

	var answered time.Time
	err = space.View(func(tx *everheap.Tx) error {
		db, err := openDatabase(tx)
		if err != nil {
			return notLoaded(name, err)
		}
		print, err := q(tx, db)
		if err != nil {
			return err
		}
		answered = time.Now()
		print(out) // what it prints lies in the space, so the view must last that long
		return nil
	})
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "\nopened in %v, answered in %v\n", round(opened.Sub(start)), round(answered.Sub(opened)))
	return nil
}

// notLoaded adds what to do, if err says that there is nothing to ask.
func notLoaded(name string, err error) error {
	if errors.Is(err, everheap.ErrNotFound) {
		return fmt.Errorf("space %q holds no packages yet; run: packages -space %s load (%w)", name, name, err)
	}
	return err
}

// round keeps the digits of a time that people read.
func round(d time.Duration) time.Duration {
	switch {
	case d > time.Second:
		return d.Round(10 * time.Millisecond)
	case d > time.Millisecond:
		return d.Round(10 * time.Microsecond)
	}
	return d.Round(100 * time.Nanosecond)
}
