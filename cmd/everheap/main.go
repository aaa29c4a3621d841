// Command everheap looks into spaces and changes them, without the Go types of
// the programs that made them; and shows, with everheap demo, what a space is.
//
// Each verb is a struct in a file of its own (cmd_get.go …), or in a file with similar verbs: the
// verbs for whole collections (cmd_collections.go), the registry, rows (cmd_transfer.go), and the
// command itself (cmd_manual.go). The fields of the struct are arguments and flags, and its Run
// executes the verb. Start reading at cli.
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
	Home    string           `help:"Directory of the registry of spaces." env:"EVERHEAP_HOME" placeholder:"DIR" type:"path"`
	Version kong.VersionFlag `help:"Print the version of the command."`

	Demo       demoCmd       `cmd:"" help:"Show how processes share objects, and lose nothing when one is killed."`
	Ls         lsCmd         `cmd:"" help:"List the registered spaces."`
	Info       infoCmd       `cmd:"" aliases:"stats" help:"Show what a space holds, and its state."`
	Get        getCmd        `cmd:"" help:"Print a value, all entries of a map or list, or the names in a space."`
	Set        setCmd        `cmd:"" help:"Store a value, given as JSON."`
	Del        delCmd        `cmd:"" help:"Delete keys."`
	Keys       keysCmd       `cmd:"" help:"Print the keys of a map, or the indexes of a list."`
	Watch      watchCmd      `cmd:"" help:"Print changes of a map, list or single value, or the number of each new version, as JSON lines, until interrupted."`
	Log        logCmd        `cmd:"" help:"Print every version and what it changed: what is kept of them, and with --follow each new one."`
	Types      typesCmd      `cmd:"" help:"Print the stored types as Go source."`
	Create     createCmd     `cmd:"" help:"Create an empty space, or in one an empty map, list or single value of a type in Go syntax."`
	Evolve     evolveCmd     `cmd:"" help:"Change the type of a collection and convert what it holds: show the difference, and ask."`
	Index      indexCmd      `cmd:"" help:"List the indexes of a map, declare one on fields of its values, or drop one."`
	Expire     expireCmd     `cmd:"" help:"Show when the entries of a map expire; let them expire at a time in a field, or some time after they were stored; or end that."`
	Rename     renameCmd     `cmd:"" help:"Give a collection another name."`
	Drop       dropCmd       `cmd:"" help:"Drop a collection: remove its name. What nothing else refers to is collected."`
	Export     exportCmd     `cmd:"" help:"Write the rows of a collection, or of all, as JSON lines or CSV."`
	Import     importCmd     `cmd:"" help:"Read rows of JSON lines or CSV into a collection. Killed at any moment and started again, it stores each row once."`
	Shell      shellCmd      `cmd:"" help:"Ask a space for entries and change them, line by line; .help in it teaches."`
	Inspect    inspectCmd    `cmd:"" help:"Look into spaces in a browser, live: what they hold, what happens, where the bytes are, and what they were."`
	Ps         psCmd         `cmd:"" help:"Show which processes have a space open, and which versions their readers pin."`
	Locks      locksCmd      `cmd:"" help:"Show which named locks are in use, which processes hold them, and how many wait."`
	Check      checkCmd      `cmd:"" help:"Verify a space. The exit code is 0 if it is clean, 1 if it is damaged, 2 if it could not be checked."`
	Collect    collectCmd    `cmd:"" help:"Drop the objects that no name reaches. Programs that use a space do so in the background; this does it now."`
	Checkpoint checkpointCmd `cmd:"" help:"List, create, restore or drop checkpoints."`
	Compact    compactCmd    `cmd:"" help:"Return unused space to the file system."`
	Rebase     rebaseCmd     `cmd:"" help:"Move a space to another window, so that a copy opens beside the original. No program may have it open."`
	Resize     resizeCmd     `cmd:"" help:"Change the maximum size of a space, in place unless it needs a larger window."`
	Recover    recoverCmd    `cmd:"" help:"Replay the journal of a space that was open when the machine lost power. Other verbs do this by themselves if they may write the space."`

	Replica replicaCmd `cmd:"" help:"Keep copies of a space on other machines, which follow this one, and one of which can take over: lead, follow, status, promote."`

	Adopt  adoptCmd  `cmd:"" help:"Register a space that was moved, copied, or created without a name."`
	Forget forgetCmd `cmd:"" help:"Remove names from the registry. The spaces' files stay."`

	Backup  backupCmd  `cmd:"" help:"Write a backup of a space while programs use it."`
	Restore restoreCmd `cmd:"" help:"Create a space from a backup."`
	Ship    shipCmd    `cmd:"" help:"Keep a directory up to date with a space, from which it is restored as it was at any version since the first snapshot, or at a time. Killed and started again, it goes on where it was, and leaves no version out."`

	Subscriptions subscriptionsCmd `cmd:"" help:"List the subscriptions for which a space keeps changes, or drop one."`

	Salvage salvageCmd `cmd:"" help:"Write all that is readable in a damaged space as a backup. No program may have it open. The exit code is 0 if nothing is lost, 1 if something is lost, 2 if nothing is readable."`

	Completion completionCmd `cmd:"" help:"Print what bash, zsh or fish needs to complete verbs, flags, names and keys."`
	Man        manCmd        `cmd:"" help:"Print the man page of the command or of a verb."`

	Debug debugCmd `cmd:"" help:"Help to find a bug of Everheap itself."`

	Worker   workerCmd   `cmd:"" name:"demo-worker" hidden:""`
	Complete completeCmd `cmd:"" hidden:""`
}

const description = `Everheap keeps Go objects in memory that processes share and that outlives them.

A SPACE is a registered name (see "everheap ls") or the directory of a space.
A KEY is plain text if the map has string keys, and JSON otherwise. A list has the
indexes from 0 as keys. A single value has no keys.
Put -- before arguments that start with a dash: everheap set SPACE MAP -- -1 2.
Only programs and "everheap restore" create spaces. Programs may have a space open
meanwhile, unless the help of a verb says otherwise.`

// streams are the standard streams of a verb.
type streams struct {
	in  io.Reader
	out io.Writer
	err io.Writer
}

// exitError ends the command with a code, and with the message of err if that is not nil.
type exitError struct {
	code int
	err  error
}

// Error implements error.
func (e *exitError) Error() string { return e.err.Error() }

// Unwrap returns the message.
func (e *exitError) Unwrap() error { return e.err }

func main() {
	os.Exit(run(os.Args[1:], &streams{os.Stdin, os.Stdout, os.Stderr}))
}

// exited is the value of the panic with which kong ends after it has printed help.
type exited int

// run runs the command and returns its exit code: 0, 1 if the verb failed, 2 if the command line is
// wrong, or the code of an exitError.
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
	parser := kong.Must(&c, append(stringArgs(), kong.Name("everheap"), kong.Description(description), kong.Vars{"version": "everheap " + version()},
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 80}),
		kong.Writers(std.out, std.err), kong.Exit(func(code int) { panic(exited(code)) }),
		kong.Bind(std), kong.BindTo(context.Background(), (*context.Context)(nil)))...)
	switch {
	case len(args) == 0:
		args = []string{"--help"}
	case args[0] == "help": // as other commands have it: help, help VERB
		args = append(args[1:len(args):len(args)], "--help")
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

// complain prints an error in one line, and returns the exit code.
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
