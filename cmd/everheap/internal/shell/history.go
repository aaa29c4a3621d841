package shell

import (
	"bufio"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// mostLines is the maximum number of lines of a history.
const mostLines = 1000

// history has the lines entered in this session and earlier ones. It implements term.History.
type history struct {
	file  string
	lines []string // the newest is the last
}

// loadHistory reads the lines of earlier sessions, and keeps the newest.
func loadHistory(file string) *history {
	h := &history{file: file}
	f, err := os.Open(file)
	if err != nil {
		return h
	}
	defer f.Close()
	in := bufio.NewScanner(f)
	in.Buffer(nil, 1<<20)
	for in.Scan() {
		h.lines = append(h.lines, in.Text())
	}
	if len(h.lines) > 2*mostLines {
		h.lines = slices.Clone(h.lines[len(h.lines)-mostLines:])
		_ = writeHistory(file, h.lines) // on an error the file only stays too long
	}
	return h
}

// writeHistory replaces the file.
func writeHistory(file string, lines []string) error {
	temp := file + ".new"
	if err := os.WriteFile(temp, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		return err
	}
	return os.Rename(temp, file)
}

// Add implements term.History: a line is kept unless it is empty, or the same as the last.
func (h *history) Add(line string) {
	line = strings.TrimSpace(line)
	if line == "" || len(h.lines) > 0 && h.lines[len(h.lines)-1] == line {
		return
	}
	h.lines = append(h.lines, line)
	if h.file == "" {
		return
	}
	if err := os.MkdirAll(filepath.Dir(h.file), 0o700); err != nil {
		return
	}
	f, err := os.OpenFile(h.file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return // the shell works without the file
	}
	_, _ = f.WriteString(line + "\n")
	_ = f.Close()
}

// Len implements term.History.
func (h *history) Len() int { return len(h.lines) }

// At implements term.History: 0 is the newest.
func (h *history) At(i int) string { return h.lines[len(h.lines)-1-i] }
