package shell

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/everheap/everheap/cmd/everheap/internal/query"
	"golang.org/x/term"
)

// interrupts are the signals that end the running statement.
var interrupts = []os.Signal{os.Interrupt, syscall.SIGTERM}

// keys reads the keys of a terminal. At ctrl-C, term.Terminal would end; keys replaces it by keys
// that empty the line and enter it.
type keys struct {
	in        io.Reader
	out       io.Writer
	rest      []byte // typed but not read yet
	cancelled bool
}

// Read implements io.Reader.
func (k *keys) Read(b []byte) (n int, err error) {
	typed := k.rest
	if len(typed) == 0 {
		typed = make([]byte, max(len(b)/4, 1))
		if n, err = k.in.Read(typed); n == 0 {
			return n, err
		}
		typed = typed[:n]
	}
	i := bytes.IndexByte(typed, 3)
	if i < 0 {
		n = copy(b, typed)
		k.rest = typed[n:]
		return n, nil
	}
	k.cancelled, k.rest = true, typed[i+1:] // the keys before it are dropped, too
	return copy(b, "\x05\x15\r"), nil       // to the end, delete the line, enter
}

// Write implements io.Writer.
func (k *keys) Write(b []byte) (int, error) { return k.out.Write(b) }

// interactive runs the lines that a user enters.
func (s *session) interactive(ctx context.Context) error {
	in := &keys{in: s.In, out: s.Out}
	t := term.NewTerminal(in, "")
	t.History = loadHistory(s.History)
	c := &completer{s: s, t: t}
	t.AutoCompleteCallback = c.key
	tty, err := modesOf(s.Terminal)
	if err != nil {
		return err
	}
	defer tty.restore()
	s.note("Everheap, space %s. .help says what can be done; ctrl-D leaves.", s.Space)
	for !s.quit {
		line, err := s.readStatement(t, in, tty)
		switch {
		case errors.Is(err, io.EOF):
			if s.tx != nil {
				fmt.Fprintln(s.Out, "The open transaction is rolled back.")
			}
			return nil
		case err != nil:
			return err
		}
		s.command(ctx, line)
	}
	return nil
}

// prompt returns the prompt, with a star in a transaction.
func (s *session) prompt() string {
	name := s.Space[strings.LastIndexByte(s.Space, '/')+1:]
	if s.tx != nil {
		name += "*"
	}
	return name + "> "
}

// readStatement reads lines until a statement is complete. ctrl-C drops them.
func (s *session) readStatement(t *term.Terminal, in *keys, tty *modes) (line string, err error) {
	if err := tty.typing(); err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, tty.statement()) }()
	fd := tty.fd
	if width, height, err := term.GetSize(fd); err == nil {
		s.width = width
		_ = t.SetSize(width, height)
	}
	resized := make(chan os.Signal, 1)
	stop := notifyResized(resized)
	defer stop()
	done := make(chan struct{})
	defer close(done)
	go func() {
		for {
			select {
			case <-resized:
				if width, height, err := term.GetSize(fd); err == nil {
					_ = t.SetSize(width, height)
				}
			case <-done:
				return
			}
		}
	}()
	prompt := s.prompt()
	t.SetPrompt(prompt)
	var lines []string
	for {
		in.cancelled = false
		line, err := t.ReadLine()
		if err != nil && !errors.Is(err, term.ErrPasteIndicator) {
			fmt.Fprint(s.Out, "\r\n")
			return "", err
		}
		if in.cancelled {
			return "", nil
		}
		lines = append(lines, line)
		if !unfinished(strings.Join(lines, "\n")) {
			s.long = len(lines) > 1
			return joined(lines), nil
		}
		t.SetPrompt(strings.Repeat(".", len(prompt)-2) + "> ")
	}
}

// command runs a line. ctrl-C ends the line, and not the shell.
func (s *session) command(ctx context.Context, line string) {
	ctx, stop := signal.NotifyContext(ctx, interrupts...)
	defer stop()
	err := s.run(ctx, line)
	switch e := (*query.Error)(nil); {
	case err == nil:
	case ctx.Err() != nil && (errors.Is(err, context.Canceled) || errors.Is(err, context.Cause(ctx)) || strings.Contains(err.Error(), "context canceled")):
		fmt.Fprintln(s.Out)
	case errors.As(err, &e) && !s.long:
		fmt.Fprintf(s.Err, "%s\n%s%s\n", s.caret(line, e.At), s.bold("error: "), e.What)
	default:
		fmt.Fprintf(s.Err, "%s%s\n", s.bold("error: "), message(err))
	}
}

// caret returns a line with a mark below an offset of the line above.
func (s *session) caret(line string, at int) string {
	at = min(at, len(line))
	return strings.Repeat(" ", len(s.prompt())+len([]rune(line[:at]))) + "^"
}
