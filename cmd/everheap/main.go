// Command everheap looks into spaces and changes them, without the Go types of
// the programs that made them; and shows, with everheap demo, what a space is.
//
// Each verb is a struct in a file of its own (cmd_get.go …), whose fields are its
// arguments and flags, and whose Run does it. Start reading at cli.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/alecthomas/kong"
)

// cli is the command line.
type cli struct {
	Home string `help:"Directory of the registry of spaces; it goes before the environment's." env:"EVERHEAP_HOME" placeholder:"DIR" type:"path"`

	Demo       demoCmd       `cmd:"" help:"See what a space is: processes share objects, one is killed, nothing is lost."`
	Ls         lsCmd         `cmd:"" help:"List the registered spaces."`
	Info       infoCmd       `cmd:"" help:"Show what a space holds, and how it is doing."`
	Get        getCmd        `cmd:"" help:"Print a value; or all entries of a map or list; or what a space has names for."`
	Set        setCmd        `cmd:"" help:"Store a value, given as JSON."`
	Del        delCmd        `cmd:"" help:"Delete keys."`
	Keys       keysCmd       `cmd:"" help:"Print the keys of a map, or the indexes of a list."`
	Watch      watchCmd      `cmd:"" help:"Print what changes in a map, list or single value, or each newer version, as JSON lines, until it is interrupted."`
	Types      typesCmd      `cmd:"" help:"Print the stored types as Go source."`
	Ps         psCmd         `cmd:"" help:"Show which processes have a space open, and what their readers hold back."`
	Locks      locksCmd      `cmd:"" help:"Show which named locks are in use, who holds them, and how many processes wait."`
	Check      checkCmd      `cmd:"" help:"Verify all of a space. The exit code is 0 if it is clean, 1 if something was found, 2 if it could not be checked."`
	Collect    collectCmd    `cmd:"" help:"Drop the objects that no name reaches. Spaces do so by themselves while programs use them; this does it now."`
	Checkpoint checkpointCmd `cmd:"" help:"List checkpoints; pin the newest version under a name; go back to one; drop one."`
	Compact    compactCmd    `cmd:"" help:"Give space that is not needed back to the file system."`
	Rebase     rebaseCmd     `cmd:"" help:"Give a space another window, so that a copy can be opened beside the original."`
	Resize     resizeCmd     `cmd:"" help:"Change the maximum size of a space; in place, unless it takes a larger window."`
	Recover    recoverCmd    `cmd:"" help:"Replay the journal of a space that lost its power while it was open. Verbs that look at a space do so by themselves if they may write it."`

	Adopt  adoptCmd  `cmd:"" help:"Register the space in a directory under a name: one that was moved, copied, or made without a name."`
	Forget forgetCmd `cmd:"" help:"Take names out of the registry. The files of the spaces are not touched."`

	Backup  backupCmd  `cmd:"" help:"Write a backup of a space, while programs go on using it."`
	Restore restoreCmd `cmd:"" help:"Make a new space from a backup."`
	Salvage salvageCmd `cmd:"" help:"Get everything that can be read out of a damaged space, as a backup. The exit code is 0 if nothing is lost, 1 if something is, 2 if nothing could be got out."`

	Debug debugCmd `cmd:"" help:"Look for a fault of Everheap itself."`

	Worker workerCmd `cmd:"" name:"demo-worker" hidden:""`
}

const description = `Everheap keeps Go objects in memory that processes share and that outlives them.

A SPACE is a registered name (see "everheap ls"), or the directory of a space.
A KEY is plain text if the keys of the map are strings, of any bytes, and JSON
otherwise; the keys of a list are indexes, from 0 on. A single value has no keys.
Put -- before arguments that start with a dash: everheap set SPACE MAP -- -1 2.
Only programs, and everheap restore, create spaces; programs may have them open meanwhile.`

// streams are where a verb reads and writes.
type streams struct {
	in  io.Reader
	out io.Writer
	err io.Writer
}

// exitError ends the command with a code; err is what to say, nil for nothing.
type exitError struct {
	code int
	err  error
}

// Error implements error.
func (e *exitError) Error() string { return e.err.Error() }

// Unwrap returns what is to be said.
func (e *exitError) Unwrap() error { return e.err }

func main() {
	os.Exit(run(os.Args[1:], &streams{os.Stdin, os.Stdout, os.Stderr}))
}

// exited is the panic by which kong ends after it has printed help.
type exited int

// run runs the command and returns its exit code: 0, 1 if the verb failed, 2 if
// the command line is wrong, unless the verb says otherwise.
func run(args []string, std *streams) (code int) {
	defer func() {
		if r := recover(); r != nil {
			e, ok := r.(exited)
			if !ok {
				panic(r)
			}
			code = int(e)
		}
	}()
	var c cli
	parser := kong.Must(&c, append(stringArgs(), kong.Name("everheap"), kong.Description(description),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 80}),
		kong.Writers(std.out, std.err), kong.Exit(func(code int) { panic(exited(code)) }),
		kong.Bind(std), kong.BindTo(context.Background(), (*context.Context)(nil)))...)
	if len(args) == 0 {
		args = []string{"--help"}
	}
	parsed, err := parser.Parse(args)
	if err != nil {
		fmt.Fprintf(std.err, "everheap: %v; see everheap --help\n", err)
		return 2
	}
	if c.Home != "" {
		if err := os.Setenv("EVERHEAP_HOME", c.Home); err != nil {
			return complain(std, err)
		}
	}
	return complain(std, parsed.Run())
}

// complain says what went wrong, in one line, and returns the exit code.
func complain(std *streams, err error) int {
	if err == nil {
		return 0
	}
	code := 1
	if e := (*exitError)(nil); errors.As(err, &e) {
		code = e.code
		if e.err == nil {
			return code
		}
	}
	text := strings.ReplaceAll(strings.TrimPrefix(err.Error(), "everheap: "), "\n", "; ")
	fmt.Fprintf(std.err, "everheap: %s\n", text)
	return code
}
