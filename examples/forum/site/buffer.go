package site

import (
	"io"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/everheap/everheap/examples/forum/page"
)

// buffer is where a page is made. Lists of thousands of rows are appended to it by hand;
// templates make the rest.
type buffer struct {
	b   []byte
	day int64  // of the date in text; -1: none
	ymd string // "2026-11-30"
}

var buffers = sync.Pool{New: func() any { return &buffer{b: make([]byte, 0, 64<<10)} }}

// largest is how large a buffer may be to be kept for other pages.
const largest = 8 << 20

func newBuffer() *buffer {
	b := buffers.Get().(*buffer)
	b.b, b.day = b.b[:0], -1
	return b
}

func (b *buffer) release() {
	if cap(b.b) <= largest {
		buffers.Put(b)
	}
}

var _ io.Writer = (*buffer)(nil)

// Write lets templates write.
func (b *buffer) Write(p []byte) (int, error) {
	b.b = append(b.b, p...)
	return len(p), nil
}

// raw appends HTML.
func (b *buffer) raw(html string) { b.b = append(b.b, html...) }

func (b *buffer) int(n int) { b.b = strconv.AppendInt(b.b, int64(n), 10) }

// text appends a text between tags: only < and & mean something there. Most texts have
// neither, and looking for a byte takes less than a nanosecond for sixteen.
func (b *buffer) text(s string) {
	if strings.IndexByte(s, '<') < 0 && strings.IndexByte(s, '&') < 0 {
		b.b = append(b.b, s...)
		return
	}
	b.escape(s)
}

// escape appends a text for any place in HTML, between quotes too.
func (b *buffer) escape(s string) {
	from := 0
	for i := range len(s) {
		var with string
		switch s[i] {
		case '<':
			with = "&lt;"
		case '>':
			with = "&gt;"
		case '&':
			with = "&amp;"
		case '"':
			with = "&#34;"
		case '\'':
			with = "&#39;"
		default:
			continue
		}
		b.b = append(append(b.b, s[from:i]...), with...)
		from = i + 1
	}
	b.b = append(b.b, s[from:]...)
}

// path appends a part of an address between quotes. Names of users need no escape; whatever
// else stands in a store gets one.
func (b *buffer) path(s string) {
	if page.ValidName(s) {
		b.b = append(b.b, s...)
		return
	}
	b.escape(pathEscape(s))
}

// time appends an instant as 2026-11-30 18:05. The comments of a page are of few days, so
// that the date is mostly that of the last one.
func (b *buffer) time(unix int64) {
	day, sec := unix/86400, unix%86400
	if unix < 0 {
		day, sec = 0, 0
	}
	if day != b.day {
		b.day, b.ymd = day, time.Unix(day*86400, 0).UTC().Format(time.DateOnly)
	}
	h, m := byte(sec/3600), byte(sec/60%60)
	b.b = append(b.b, "<time>"...)
	b.b = append(b.b, b.ymd...)
	b.b = append(b.b, ' ', '0'+h/10, '0'+h%10, ':', '0'+m/10, '0'+m%10)
	b.b = append(b.b, "</time>"...)
}
