package shell

import (
	"os"

	"golang.org/x/sys/unix"
)

// modes are the modes of a terminal: as it was found, raw while a line is typed, and one for
// the time that a statement runs, in which ctrl-C and ctrl-Z are signals, and nothing is shown
// of what is typed ahead.
//
// None but found is canonical. A terminal that leaves the canonical mode turns a ctrl-D that
// was typed in it into a byte 0: a shell that went back to it for each statement would not end
// at a ctrl-D that is typed while one runs.
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

// typing begins the time in which a line is typed.
func (m *modes) typing() error { return m.set(&m.raw) }

// statement begins the time in which a statement runs.
func (m *modes) statement() error { return m.set(&m.running) }

// restore puts the terminal back as it was found.
func (m *modes) restore() { _ = m.set(&m.found) }
