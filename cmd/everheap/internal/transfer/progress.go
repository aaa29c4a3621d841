package transfer

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// Bar shows progress on a terminal.
type Bar struct {
	w     io.Writer
	total uint64 // 0 if unknown
	begun time.Time
	shown time.Time
	some  bool
}

// NewBar returns a bar for a total; it shows nothing if w is nil.
func NewBar(w io.Writer, total uint64) *Bar { return &Bar{w: w, total: total, begun: time.Now()} }

// often is the minimum time between two changes of a bar, and late is how long work must take to get
// one.
const (
	often = 100 * time.Millisecond
	late  = 300 * time.Millisecond
)

// Show shows the part done, and a number of rows.
func (b *Bar) Show(done, rows uint64) {
	now := time.Now()
	if b.w == nil || now.Sub(b.shown) < often || now.Sub(b.begun) < late {
		return
	}
	b.shown, b.some = now, true
	rate := float64(rows) / now.Sub(b.begun).Seconds()
	fmt.Fprintf(b.w, "\r\x1b[K%s", b.text(done, rows, rate, now.Sub(b.begun)))
}

// text returns the line.
func (b *Bar) text(done, rows uint64, rate float64, passed time.Duration) string {
	tail := fmt.Sprintf("%s rows, %s a second", Count(rows), Count(uint64(rate)))
	if b.total == 0 {
		return tail
	}
	const width = 24
	part := min(float64(done)/float64(b.total), 1)
	full := int(part * width)
	line := fmt.Sprintf("[%s%s] %3d %%  %s", strings.Repeat("#", full), strings.Repeat(".", width-full), int(100*part), tail)
	if part > 0.02 && part < 1 {
		left := time.Duration(float64(passed) * (1 - part) / part)
		line += fmt.Sprintf(", %s left", left.Round(time.Second))
	}
	return line
}

// Clear removes the bar.
func (b *Bar) Clear() {
	if b.some {
		fmt.Fprint(b.w, "\r\x1b[K")
		b.some = false
	}
}

// Count formats a number with commas: 1,234,567.
func Count(n uint64) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
