// Package shell is a shell for a space: people query and change entries line by line, at a terminal
// with editing, history and completion, or by a script, which ends at its first error.
//
// A line is a statement (parse): a verb with its arguments, or a query (package query). A
// session runs statements, each in a View or an Update of its own, or in the transaction that
// begin has opened.
//
// Start reading at Run.
package shell

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/cmd/everheap/internal/query"
)

// Options are the options of a shell.
type Options struct {
	Space  string // its name
	Open   func(name string) (*everheap.Space, error)
	Spaces func() []string // returns the names of known spaces
	In     io.Reader
	Out    io.Writer
	Err    io.Writer
	// Terminal is the terminal of the user; nil for a script.
	Terminal *os.File
	// Mode is table or json; "" is table at a terminal, and json in a script.
	Mode string
	// History is the file with the history; "" for no history.
	History string
	Color   bool
	Indexes query.Indexes // for answering queries; nil for the indexes of the collections
}

// ErrInterrupted says that a signal has ended a script.
var ErrInterrupted = errors.New("interrupted")

// Run runs a shell until its input ends.
func Run(ctx context.Context, opt Options) (err error) {
	if opt.Indexes == nil {
		opt.Indexes = query.Declared{}
	}
	s := &session{Options: opt, mode: opt.Mode}
	if s.mode == "" {
		s.mode = "json"
		if opt.Terminal != nil {
			s.mode = "table"
		}
	}
	if s.space, err = opt.Open(opt.Space); err != nil {
		return err
	}
	defer func() {
		if s.tx != nil {
			_ = s.tx.finish(errRollback)
		}
		err = errors.Join(err, s.space.Close())
	}()
	if opt.Terminal != nil {
		return s.interactive(ctx)
	}
	return s.script(ctx)
}

// script runs the lines of the input up to the first error.
func (s *session) script(ctx context.Context) error {
	ctx, stop := signal.NotifyContext(ctx, interrupts...)
	defer stop()
	in := bufio.NewReader(s.In)
	number := 0
	for !s.quit {
		first := number + 1
		var lines []string
		for {
			line, err := in.ReadString('\n')
			if err != nil && err != io.EOF {
				return err
			}
			end := err == io.EOF
			if end && line == "" && len(lines) == 0 {
				return s.scriptEnd(number)
			}
			number++
			lines = append(lines, strings.TrimRight(line, "\r\n"))
			if end || !unfinished(strings.Join(lines, "\n")) {
				break
			}
		}
		if err := s.run(ctx, joined(lines)); err != nil {
			if ctx.Err() != nil {
				return ErrInterrupted
			}
			return lineError(first, err)
		}
	}
	return s.scriptEnd(number)
}

// scriptEnd returns an error if a transaction is open.
func (s *session) scriptEnd(number int) error {
	if s.tx == nil {
		return nil
	}
	return lineError(number, errors.New("the script ends in a transaction, and nothing of it was committed; end it with commit or rollback"))
}

// lineError adds the line of a script to an error.
func lineError(line int, err error) error {
	if e := (*query.Error)(nil); errors.As(err, &e) {
		return fmt.Errorf("line %d, column %d: %s", line, e.At+1, e.What)
	}
	return fmt.Errorf("line %d: %s", line, message(err))
}

// message returns the text of an error, on one line.
func message(err error) string {
	return strings.ReplaceAll(strings.TrimPrefix(err.Error(), "everheap: "), "\n", "; ")
}
