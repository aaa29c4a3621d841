package member

import (
	"os"
	"strconv"
	"strings"

	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/live"
)

// Stopped reports whether the system shows the process as stopped or traced. The
// command is compared, since the number may be a later process's.
func Stopped(p live.Process) bool {
	if p.Foreign {
		return false
	}
	b, err := os.ReadFile("/proc/" + strconv.Itoa(p.PID) + "/stat")
	if err != nil {
		return false
	}
	s := string(b)
	from, to := strings.IndexByte(s, '('), strings.LastIndexByte(s, ')')
	if from < 0 || to+2 >= len(s) || !strings.HasPrefix(p.Command, s[from+1:to]) {
		return false
	}
	return s[to+2] == 'T' || s[to+2] == 't'
}

// Moves reports whether a process has the space open, and is not stopped as far as the
// system says.
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
