//go:build !linux

package shell

import (
	"os"

	"golang.org/x/term"
)

// modes are the modes of a terminal: raw while the user types a line, otherwise as the shell found
// it.
type modes struct {
	fd    int
	found *term.State
}

// modesOf returns the modes of a terminal.
func modesOf(f *os.File) (*modes, error) {
	found, err := term.GetState(int(f.Fd()))
	return &modes{int(f.Fd()), found}, err
}

// typing sets the mode for typing a line.
func (m *modes) typing() error {
	_, err := term.MakeRaw(m.fd)
	return err
}

// statement sets the mode for running a statement.
func (m *modes) statement() error { return term.Restore(m.fd, m.found) }

// restore sets the mode in which the shell found the terminal.
func (m *modes) restore() { _ = term.Restore(m.fd, m.found) }
