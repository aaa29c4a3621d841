package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/everheap/everheap"
)

// locksCmd shows the named locks in use.
type locksCmd struct {
	spaceArg
	JSON bool `name:"json" help:"Print JSON."`
}

// namedLock is a named lock, in the form that locks prints.
type namedLock struct {
	Name    text     `json:"name"`
	Kind    string   `json:"kind"`
	Units   int      `json:"units"`
	Holders []holder `json:"holders"`
	Waiters int      `json:"waiters"` // processes
}

// holder is a process that holds a lock.
type holder struct {
	PID     int       `json:"pid"` // 0: the process died, and its number is unknown
	Foreign bool      `json:"foreign"`
	Command string    `json:"command"`
	Since   time.Time `json:"since"`
	Units   int       `json:"units"`
	Dead    bool      `json:"dead"`
	Stopped bool      `json:"stopped"`
}

// Run implements the verb.
func (c *locksCmd) Run(std *streams) error {
	return c.read(std, func(s *everheap.Space) error {
		list, err := s.Locks()
		if err != nil {
			return err
		}
		locks := []namedLock{}
		for _, l := range list {
			n := namedLock{text(l.Name), l.Kind, l.Units, []holder{}, l.Waiters}
			for _, h := range l.Holders {
				n.Holders = append(n.Holders, holder{h.PID, h.Foreign, h.Command, h.Since.UTC(), h.Units, h.Dead, h.Stopped})
			}
			locks = append(locks, n)
		}
		if c.JSON {
			return printJSON(std.out, locks)
		}
		printLocks(std.out, locks)
		return nil
	})
}

// printLocks writes the locks for people: one line for each holder.
func printLocks(w io.Writer, locks []namedLock) {
	if len(locks) == 0 {
		fmt.Fprintln(w, "no named lock is in use")
		return
	}
	t := newTable("NAME", "KIND", ">UNITS", ">HOLDER", "COMMAND", ">HELD FOR", "STATE", ">WAITING")
	foreign := false
	for _, l := range locks {
		name, kind, waiting := lockName(string(l.Name)), l.Kind, "-"
		if l.Waiters > 0 {
			waiting = plural(uint64(l.Waiters), "process")
		}
		units := func(n int) string {
			if l.Kind == "mutex" {
				return "-"
			}
			return fmt.Sprintf("%d of %d", n, l.Units)
		}
		if len(l.Holders) == 0 { // the lock is being handed to a waiter
			t.add(name, kind, units(0), "-", "-", "-", "-", waiting)
		}
		for _, h := range l.Holders {
			foreign = foreign || h.Foreign
			pid, command := "-", "-"
			if h.PID != 0 {
				pid, command = pidText(h.PID, h.Foreign), h.Command
			}
			t.add(name, kind, units(h.Units), pid, command, since(h.Since), h.state(), waiting)
			name, kind, waiting = "", "", ""
		}
	}
	t.print(w, "")
	if foreign {
		fmt.Fprintln(w, foreignNote)
	}
}

// lockName formats a name as one word.
func lockName(name string) string {
	if quoted := strconv.Quote(name); name == "" || quoted != `"`+name+`"` || strings.ContainsRune(name, ' ') {
		return quoted
	}
	return name
}

// state describes the state of a holder.
func (h holder) state() string {
	switch {
	case h.Dead:
		return "died"
	case h.Stopped:
		return "stopped"
	}
	return "-"
}
