package page

import (
	"net/url"
	"strconv"
	"strings"
	"time"
)

// HTML is what a page shows of a comment, as far as it never changes: its number, its author,
// its time, and its text. It is made once, when the comment is written, and a store keeps it
// beside the text; a page copies it. The karma of the author and the points change: they stand
// between its pieces. It begins with the byte design and the lengths of two pieces, two bytes each.
//
//	HT1 Each text in it was escaped once, by Markup, and nothing else makes any: a page appends
//	   it as it is.
//	HT2 A store passes one only if Markup of this program made it (Current), and makes it anew from
//	   the text otherwise: what was stored without HTML, or before a change of the design, shows
//	   the same page.
type HTML string

// design is of what Markup makes: who changes that changes this.
const (
	design = '1'
	header = 5
)

// Markup makes the HTML of comment n of a story (HT1). The author's name has at most
// 1,000 bytes; those that are registered have MaxName.
func Markup(n int, author string, at int64, text string) HTML {
	b := make([]byte, header, header+160+len(text)+len(text)/16)
	b = append(b, `<li id="c`...)
	b = strconv.AppendInt(b, int64(n), 10)
	b = append(b, `"><p class="by"><a href="/u/`...)
	b = AppendPath(b, author)
	b = append(b, `">`...)
	b = AppendText(b, author)
	b = append(b, `</a> <i>`...)
	by := len(b) - header // the karma comes here
	b = append(b, `</i> <a href="#c`...)
	b = strconv.AppendInt(b, int64(n), 10)
	b = append(b, `">`...)
	b = AppendTime(b, at)
	b = append(b, `</a> `...)
	when := len(b) - header - by // the points come here
	b = append(b, `</p><p>`...)
	b = AppendText(b, text)
	b = append(b, `</p>`...)
	b[0], b[1], b[2], b[3], b[4] = design, byte(by), byte(by>>8), byte(when), byte(when>>8)
	return HTML(b)
}

// Current reports whether Markup of this program made it (HT2).
func (h HTML) Current() bool { return len(h) > header && h[0] == design }

// Pieces returns what stands before the karma, between karma and points, and behind the points
// of HTML that is current.
func (h HTML) Pieces() (by, when, text string) {
	s := string(h[header:])
	by, s = s[:int(h[1])|int(h[2])<<8], s[int(h[1])|int(h[2])<<8:]
	return by, s[:int(h[3])|int(h[4])<<8], s[int(h[3])|int(h[4])<<8:]
}

// AppendText appends a text between tags: only < and & mean something there. Most texts have
// neither, and looking for a byte takes less than a nanosecond for sixteen.
func AppendText(o []byte, s string) []byte {
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

// AppendEscaped appends a text for any place in HTML, between quotes too.
func AppendEscaped(o []byte, s string) []byte {
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

// AppendPath appends a part of an address between quotes. Names of users need no escape;
// whatever else stands in a store gets one.
func AppendPath(o []byte, s string) []byte {
	if ValidName(s) {
		return append(o, s...)
	}
	return AppendEscaped(o, url.PathEscape(s))
}

// AppendTime appends an instant as 2026-11-30 18:05.
func AppendTime(o []byte, unix int64) []byte {
	o = append(o, "<time>"...)
	from := len(o)
	o = time.Unix(max(0, unix), 0).UTC().AppendFormat(o, time.RFC3339) // which is the fastest by far
	o[from+len(time.DateOnly)] = ' '
	return append(o[:from+len("2006-01-02 15:04")], "</time>"...)
}
