package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// terminal is a pseudo terminal with a command on it, and its screen.
type terminal struct {
	t      *testing.T
	ptmx   *os.File
	cmd    *exec.Cmd
	exited chan error

	mu     sync.Mutex
	screen screen
	change chan struct{} // closed when the screen changes
}

// screen is the screen of a terminal: enough of a VT100 for the shell.
type screen struct {
	width    int
	lines    [][]rune
	row, col int
	pending  string // of an escape sequence or a rune
}

// write shows bytes.
func (s *screen) write(b []byte) {
	text := s.pending + string(b)
	s.pending = ""
	runes := []rune(text)
	for i := 0; i < len(runes); i++ {
		r := runes[i]
		switch {
		case r == 0x1b:
			end := i + 2
			for end < len(runes) && (runes[end] < '@' || runes[end] > '~') {
				end++
			}
			if end >= len(runes) {
				s.pending = string(runes[i:])
				return
			}
			s.escape(string(runes[i+2:end]), runes[end])
			i = end
		case r == 0xfffd && i >= len(runes)-3:
			s.pending = text[len(string(runes[:i])):]
			return
		case r == '\r':
			s.col = 0
		case r == '\n':
			s.row++
		case r == '\b':
			s.col = max(0, s.col-1)
		case r >= ' ':
			if s.col == s.width {
				s.row, s.col = s.row+1, 0
			}
			line := s.line()
			for len(*line) <= s.col {
				*line = append(*line, ' ')
			}
			(*line)[s.col] = r
			s.col++
		}
	}
}

// line returns the line of the cursor.
func (s *screen) line() *[]rune {
	for len(s.lines) <= s.row {
		s.lines = append(s.lines, nil)
	}
	return &s.lines[s.row]
}

// escape executes an escape sequence.
func (s *screen) escape(args string, final rune) {
	n, err := strconv.Atoi(args)
	if err != nil {
		n = 1
	}
	line := s.line()
	switch final {
	case 'A':
		s.row = max(0, s.row-n)
	case 'B':
		s.row += n
	case 'C':
		s.col += n
	case 'D':
		s.col = max(0, s.col-n)
	case 'K':
		*line = (*line)[:min(s.col, len(*line))]
	case 'J':
		*s = screen{width: s.width}
	}
}

// text returns the text on the screen.
func (s *screen) text() string {
	var b strings.Builder
	for _, l := range s.lines {
		b.WriteString(strings.TrimRight(string(l), " ") + "\n")
	}
	return b.String()
}

// startTerminal runs the command everheap on a terminal of 80 columns.
func startTerminal(t *testing.T, env []string, args ...string) *terminal {
	t.Helper()
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Skipf("there are no pseudo terminals: %v", err)
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0))
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	must(err)
	must(unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: 40, Col: 80}))
	tty, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	must(err)
	defer tty.Close()
	ptmx := os.NewFile(uintptr(fd), "ptmx")

	exe, err := os.Executable()
	must(err)
	name := filepath.Join(t.TempDir(), "everheap")
	must(os.Symlink(exe, name))
	w := &terminal{t: t, ptmx: ptmx, exited: make(chan error, 1), change: make(chan struct{})}
	w.screen.width = 80
	w.cmd = exec.Command(name, args...)
	w.cmd.Env = append(append(os.Environ(), "NO_COLOR=1", "GORACE=atexit_sleep_ms=0"), env...)
	w.cmd.Stdin, w.cmd.Stdout, w.cmd.Stderr = tty, tty, tty
	w.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	must(w.cmd.Start())
	go func() { w.exited <- w.cmd.Wait() }()
	go w.read()
	t.Cleanup(func() {
		_ = w.cmd.Process.Kill()
		_ = ptmx.Close()
	})
	return w
}

// read puts the output of the command on the screen.
func (w *terminal) read() {
	b := make([]byte, 4096)
	for {
		n, err := w.ptmx.Read(b)
		w.mu.Lock()
		w.screen.write(b[:n])
		close(w.change)
		w.change = make(chan struct{})
		w.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// send types keys.
func (w *terminal) send(keys string) {
	w.t.Helper()
	if _, err := w.ptmx.WriteString(keys); err != nil {
		w.t.Fatal(err)
	}
}

// see waits until the screen has a text n times.
func (w *terminal) see(n int, text string) {
	w.t.Helper()
	deadline := time.After(shortly)
	for {
		w.mu.Lock()
		shown, change := w.screen.text(), w.change
		w.mu.Unlock()
		if strings.Count(shown, text) >= n {
			return
		}
		select {
		case <-change:
		case <-deadline:
			w.t.Fatalf("%q is not seen %d times on:\n%s", text, n, shown)
		}
	}
}

// run enters a line, and waits for its output and the next prompt.
func (w *terminal) run(line, want string) {
	w.t.Helper()
	w.mu.Lock()
	w.screen = screen{width: 80}
	w.mu.Unlock()
	w.send(line + "\r")
	w.see(1, want)
	w.seePrompt()
}

// seePrompt waits until the last line is an empty prompt.
func (w *terminal) seePrompt() {
	w.t.Helper()
	deadline := time.After(shortly)
	for {
		w.mu.Lock()
		shown, change := w.screen.text(), w.change
		w.mu.Unlock()
		lines := strings.Split(strings.TrimRight(shown, "\n"), "\n")
		if last := lines[len(lines)-1]; strings.HasSuffix(last, ">") && len(lines) > 1 {
			w.t.Logf("\n%s", shown)
			return
		}
		select {
		case <-change:
		case <-deadline:
			w.t.Fatalf("there is no prompt on:\n%s", shown)
		}
	}
}

// waitFor waits until is returns true.
func (w *terminal) waitFor(what string, is func() bool) {
	w.t.Helper()
	for deadline := time.Now().Add(shortly); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			w.t.Fatalf("not in time: %s; the screen is\n%s", what, w.shown())
		}
	}
}

// end waits for the end of the command, and returns its exit code.
func (w *terminal) end() int {
	w.t.Helper()
	select {
	case <-w.exited:
		return w.cmd.ProcessState.ExitCode()
	case <-time.After(shortly):
		w.t.Fatalf("the command does not end; the screen is\n%s", w.shown())
		return 0
	}
}

func (w *terminal) shown() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.screen.text()
}
