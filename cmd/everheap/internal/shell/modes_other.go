//go:build !linux

package shell

import (
	"os"

	"golang.org/x/term"
)

// modes are the modes of a terminal: raw while a line is typed, and else as it was found.
type modes struct {
	fd    int
	found *term.State
}

// modesOf returns the modes of a terminal.
func modesOf(f *os.File) (*modes, error) {
	found, err := term.GetState(int(f.Fd()))
	return &modes{int(f.Fd()), found}, err
}

// typing begins the time in which a line is typed.
func (m *modes) typing() error {
	_, err := term.MakeRaw(m.fd)
	return err
}

// statement begins the time in which a statement runs.
func (m *modes) statement() error { return term.Restore(m.fd, m.found) }

// restore puts the terminal back as it was found.
func (m *modes) restore() { _ = term.Restore(m.fd, m.found) }
