package member

import (
	"strings"

	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/live"
	"github.com/everheap/everheap/internal/procfs"
)

// Stopped reports whether the system shows the process as stopped or traced. It compares the
// command as well, since a later process may have the number.
func Stopped(p live.Process) bool {
	if p.Foreign {
		return false
	}
	stopped, command := procfs.Stopped(uint64(p.PID))
	return stopped && strings.HasPrefix(p.Command, command)
}

// Moves reports whether a process has the space open and the system does not show it as
// stopped.
func (m *Member) Moves(who format.Incarnation) bool {
	if !m.Live.Alive(who) {
		return false
	}
	for _, p := range m.Live.Processes() {
		if p.Incarnation == who {
			return !Stopped(p)
		}
	}
	return false
}
