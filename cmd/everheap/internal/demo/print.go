package demo

import (
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"
)

// story prints the demo, and counts kept and broken promises.
type story struct {
	w      io.Writer
	color  bool
	step   int
	kept   int
	broken int
}

// width is the width of the lines, which end with ratios and rates.
const width = 78

// title begins a step.
func (s *story) title(text string) {
	s.step++
	fmt.Fprintf(s.w, "\n%s\n", s.paint("1", fmt.Sprintf("%d. %s", s.step, text)))
}

// say prints a line of a step.
func (s *story) say(format string, args ...any) {
	fmt.Fprintf(s.w, "   %s\n", fmt.Sprintf(format, args...))
}

// number prints a measured value, with a label and a remark.
func (s *story) number(label, value, remark string) {
	line := fmt.Sprintf("   %-40s%12s", label, value)
	if remark != "" {
		line += fmt.Sprintf("%*s", width-utf8.RuneCountInString(line), remark)
	}
	fmt.Fprintln(s.w, line)
}

// promise prints a promise, and whether it was kept.
func (s *story) promise(ok bool, format string, args ...any) {
	mark := s.paint("32", "ok")
	if ok {
		s.kept++
	} else {
		s.broken++
		mark = s.paint("31", "BROKEN")
	}
	fmt.Fprintf(s.w, "   %s: %s\n", mark, fmt.Sprintf(format, args...))
}

// paint colors text, on a terminal.
func (s *story) paint(code, text string) string {
	if !s.color {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

// duration formats a time with three significant digits.
func duration(d time.Duration) string {
	switch {
	case d < time.Microsecond:
		return fmt.Sprintf("%d ns", d.Nanoseconds())
	case d < time.Millisecond:
		return three(float64(d)/1e3) + " µs"
	case d < time.Second:
		return three(float64(d)/1e6) + " ms"
	}
	return three(d.Seconds()) + " s"
}

// three formats a number below 1000 with three digits.
func three(v float64) string {
	switch {
	case v < 9.995:
		return fmt.Sprintf("%.2f", v)
	case v < 99.95:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.0f", v)
}

// thousands formats a number with commas.
func thousands(n int) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// rate formats a number per second.
func rate(n int, d time.Duration) string {
	if d <= 0 {
		return ""
	}
	return thousands(int(float64(n)/d.Seconds())) + " a second"
}

// times formats a ratio: 1.2 x, 450 x.
func times(a, b time.Duration) string {
	if b <= 0 {
		return ""
	}
	return strings.TrimSuffix(three(float64(a)/float64(b)), ".00") + " x"
}
