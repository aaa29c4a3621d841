//go:build linux

package command

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// bar shows how far something is: at a terminal in one line that changes, elsewhere in
// a line each ten seconds.
type bar struct {
	out      io.Writer
	what     string
	terminal bool
	began    time.Time
	last     time.Time
}

func newBar(out io.Writer, what string) *bar {
	b := &bar{out: out, what: what, began: time.Now()}
	if f, ok := out.(*os.File); ok {
		_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
		b.terminal = err == nil
	}
	return b
}

// show shows that so many of all are done.
func (b *bar) show(done, of int, unit string) {
	every := 10 * time.Second
	if b.terminal {
		every = 100 * time.Millisecond
	}
	now := time.Now()
	if now.Sub(b.last) < every && done < of {
		return
	}
	b.last = now
	took := now.Sub(b.began).Seconds()
	line := fmt.Sprintf("%s  %3d%%  %d of %d %s, %.0f s", b.what, 100*done/max(1, of), done, of, unit, took)
	if !b.terminal {
		fmt.Fprintln(b.out, line)
		return
	}
	const width = 30
	n := width * done / max(1, of)
	fmt.Fprintf(b.out, "\r%s%s %s\x1b[K", strings.Repeat("█", n), strings.Repeat("░", width-n), line)
}

func (b *bar) end() {
	if b.terminal {
		fmt.Fprintln(b.out)
	}
}
