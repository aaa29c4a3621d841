package shell

import (
	"os"

	"golang.org/x/sys/unix"
)

// modes are the modes of a terminal: as the shell found it; raw while the user types a line; and a
// mode for running a statement, in which ctrl-C and ctrl-Z are signals, and keys typed ahead are not
// echoed.
//
// Only the first of these is canonical. When a terminal leaves the canonical mode, it turns a ctrl-D
// typed in that mode into a byte 0. So if statements ran in canonical mode, a ctrl-D typed while one
// runs would not end the shell.
type modes struct {
	fd                  int
	found, raw, running unix.Termios
}

// modesOf returns the modes of a terminal.
func modesOf(f *os.File) (*modes, error) {
	fd := int(f.Fd())
	found, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return nil, os.NewSyscallError("TCGETS", err)
	}
	m := &modes{fd: fd, found: *found, running: *found}
	m.running.Iflag &^= unix.IGNBRK | unix.BRKINT | unix.PARMRK | unix.ISTRIP | unix.INLCR | unix.IGNCR | unix.ICRNL | unix.IXON
	m.running.Lflag &^= unix.ECHO | unix.ECHONL | unix.ICANON | unix.IEXTEN
	m.running.Lflag |= unix.ISIG
	m.running.Cflag &^= unix.CSIZE | unix.PARENB
	m.running.Cflag |= unix.CS8
	m.running.Cc[unix.VMIN], m.running.Cc[unix.VTIME] = 1, 0
	m.raw = m.running
	m.raw.Oflag &^= unix.OPOST
	m.raw.Lflag &^= unix.ISIG
	return m, nil
}

// set puts the terminal into one of its modes.
func (m *modes) set(mode *unix.Termios) error {
	return os.NewSyscallError("TCSETS", unix.IoctlSetTermios(m.fd, unix.TCSETS, mode))
}

// typing sets the mode for typing a line.
func (m *modes) typing() error { return m.set(&m.raw) }

// statement sets the mode for running a statement.
func (m *modes) statement() error { return m.set(&m.running) }

// restore sets the mode in which the shell found the terminal.
func (m *modes) restore() { _ = m.set(&m.found) }
