package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/everheap/everheap"
)

// psCmd shows processes and readers.
type psCmd struct {
	spaceArg
	JSON bool `name:"json" help:"Print JSON."`
}

// usage is the processes and readers of a space, in the form that ps prints.
type usage struct {
	Version   uint64    `json:"version"` // the newest
	Processes []process `json:"processes"`
	Readers   []reader  `json:"readers"`
}

// process is a process that has the space open.
type process struct {
	PID      int       `json:"pid"`
	Foreign  bool      `json:"foreign"` // the number belongs to another PID namespace
	Command  string    `json:"command"`
	Since    time.Time `json:"since"`
	Commits  uint64    `json:"commits"`
	Reserved uint64    `json:"reserved"`
	Writing  bool      `json:"writing"`
	Stopped  bool      `json:"stopped"`
}

// reader is a version that a process holds.
type reader struct {
	PID     int       `json:"pid"`
	Foreign bool      `json:"foreign"`
	Command string    `json:"command"`
	Version uint64    `json:"version"`
	Since   time.Time `json:"since"`
	Pins    uint64    `json:"pins"`
}

// Run implements the verb.
func (c *psCmd) Run(std *streams) error {
	return c.read(std, func(s *everheap.Space) error {
		u, err := whoUses(s)
		if err != nil {
			return err
		}
		if c.JSON {
			return printJSON(std.out, u)
		}
		u.print(std.out)
		return nil
	})
}

// whoUses collects the processes and readers of the space, without this process.
func whoUses(s *everheap.Space) (*usage, error) {
	u := &usage{Version: uint64(s.Stats().Version), Processes: []process{}, Readers: []reader{}}
	readers, err := s.Readers()
	if err != nil {
		return nil, err
	}
	processes, err := s.Processes()
	if err != nil {
		return nil, err
	}
	for _, p := range processes {
		if !p.Self {
			u.Processes = append(u.Processes, process{p.PID, p.Foreign, p.Command, p.Since.UTC(), p.Commits, p.Reserved, p.Writing, p.Stopped})
		}
	}
	for _, r := range readers {
		if !r.Self {
			u.Readers = append(u.Readers, reader{r.PID, r.Foreign, r.Command, uint64(r.Version), r.Since.UTC(), r.Pins})
		}
	}
	return u, nil
}

// print writes the usage for people.
func (u *usage) print(w io.Writer) {
	if len(u.Processes) == 0 {
		fmt.Fprintln(w, "no other process has the space open")
		return
	}
	t := newTable(">PID", "COMMAND", ">OPEN FOR", ">COMMITS", ">SET ASIDE", "STATE")
	for _, p := range u.Processes {
		t.add(pidText(p.PID, p.Foreign), p.Command, since(p.Since), count(p.Commits), size(p.Reserved), p.state())
	}
	t.print(w, "")
	if slices.ContainsFunc(u.Processes, func(p process) bool { return p.Foreign }) {
		fmt.Fprintln(w, foreignNote)
	}
	fmt.Fprintln(w)
	if len(u.Readers) == 0 {
		fmt.Fprintf(w, "no process holds a version (the newest is %d)\n", u.Version)
		return
	}
	t = newTable(">PID", "COMMAND", ">HELD FOR", ">VERSION", ">BEHIND", ">PINS")
	for _, r := range u.Readers {
		behind := uint64(0)
		if u.Version > r.Version {
			behind = u.Version - r.Version
		}
		t.add(pidText(r.PID, r.Foreign), r.Command, since(r.Since), fmt.Sprint(r.Version), count(behind), size(r.Pins))
	}
	t.print(w, "")
}

// pidText formats a process number, with a mark if it belongs to another PID namespace.
func pidText(pid int, foreign bool) string {
	if foreign {
		return fmt.Sprintf("%d*", pid)
	}
	return fmt.Sprint(pid)
}

// foreignNote explains the mark of pidText.
const foreignNote = "* in another PID namespace, which has numbers of its own"

// state describes what a process is doing.
func (p process) state() string {
	var words []string
	if p.Stopped {
		words = append(words, "stopped")
	}
	if p.Writing {
		words = append(words, "writing")
	}
	if len(words) == 0 {
		return "-"
	}
	return strings.Join(words, ", ")
}
