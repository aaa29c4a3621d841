package site

import (
	"io"
	"strconv"
	"sync"

	"github.com/everheap/everheap/examples/forum/page"
)

// buffer is where a page is made. Lists of thousands of rows are appended to it by hand;
// templates make the rest.
type buffer struct{ b []byte }

var buffers = sync.Pool{New: func() any { return &buffer{b: make([]byte, 0, 64<<10)} }}

// largest is how large a buffer may be to be kept for other pages.
const largest = 8 << 20

func newBuffer() *buffer {
	b := buffers.Get().(*buffer)
	b.b = b.b[:0]
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
func (b *buffer) text(s string) { b.b = page.AppendText(b.b, s) }

// escape appends a text for any place in HTML, between quotes too.
func (b *buffer) escape(s string) { b.b = page.AppendEscaped(b.b, s) }

// path appends a part of an address between quotes.
func (b *buffer) path(s string) { b.b = page.AppendPath(b.b, s) }

func (b *buffer) time(unix int64) { b.b = page.AppendTime(b.b, unix) }

func (b *buffer) points(n int) { b.b = appendPoints(b.b, n) }
