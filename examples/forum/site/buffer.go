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

// text appends a text between tags.
func (b *buffer) text(s string) { b.b = appendText(b.b, s) }

// escape appends a text for any place in HTML, between quotes too.
func (b *buffer) escape(s string) { b.b = appendEscaped(b.b, s) }

// appendText appends a text between tags: only < and & mean something there. Most texts have
// neither, and looking for a byte takes less than a nanosecond for sixteen.
func appendText(o []byte, s string) []byte {
	lt, amp := strings.IndexByte(s, '<'), strings.IndexByte(s, '&')
	for lt >= 0 || amp >= 0 {
		if at := lt; lt >= 0 && (amp < 0 || lt < amp) {
			o = append(append(o, s[:at]...), "&lt;"...)
			s = s[at+1:]
			lt, amp = strings.IndexByte(s, '<'), max(-1, amp-at-1)
		} else {
			at = amp
			o = append(append(o, s[:at]...), "&amp;"...)
			s = s[at+1:]
			lt, amp = max(-1, lt-at-1), strings.IndexByte(s, '&')
		}
	}
	return append(o, s...)
}

// appendEscaped appends a text for any place.
func appendEscaped(o []byte, s string) []byte {
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
		o = append(append(o, s[from:i]...), with...)
		from = i + 1
	}
	return append(o, s[from:]...)
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

func (b *buffer) time(unix int64) { b.b = b.appendTime(b.b, unix) }

// appendTime appends an instant as 2026-11-30 18:05. The comments of a page are of few days, so
// that the date is mostly that of the last one.
func (b *buffer) appendTime(o []byte, unix int64) []byte {
	day, sec := unix/86400, unix%86400
	if unix < 0 {
		day, sec = 0, 0
	}
	if day != b.day {
		b.day, b.ymd = day, time.Unix(day*86400, 0).UTC().Format(time.DateOnly)
	}
	h, m := byte(sec/3600), byte(sec/60%60)
	o = append(o, "<time>"...)
	o = append(o, b.ymd...)
	o = append(o, ' ', '0'+h/10, '0'+h%10, ':', '0'+m/10, '0'+m%10)
	return append(o, "</time>"...)
}

func (b *buffer) points(n int) { b.b = appendPoints(b.b, n) }
