package page

import (
	"strings"
	"testing"
)

// HT1: whatever the texts of a comment are, its HTML has them escaped once, and its
// pieces end where karma and points come.
func TestMarkup_EscapesOnce(t *testing.T) {
	for name, want := range map[string]struct{ author, link, text, escaped string }{
		"plain":   {"ada", "ada", "It's 5 > 4.", "It's 5 > 4."},
		"hostile": {`<b>"`, `%3Cb%3E%22`, `<script>&amp;</script>`, `&lt;script>&amp;amp;&lt;/script>`},
		"long":    {strings.Repeat("<", 1000), strings.Repeat("%3C", 1000), "\x00\xff&", "\x00\xff&amp;"},
		"empty":   {"", "", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			h := Markup(17, want.author, 86_400+3_660, want.text)
			if !h.Current() {
				t.Fatal("it is of another design")
			}
			by, when, text := h.Pieces()
			author := strings.ReplaceAll(want.author, "<", "&lt;")
			if w := `<li id="c17"><p class="by"><a href="/u/` + want.link + `">` + author + `</a> <i>`; by != w {
				t.Errorf("it begins with %q, want %q", by, w)
			}
			if w := `</i> <a href="#c17"><time>1970-01-02 01:01</time></a> `; when != w {
				t.Errorf("it goes on with %q, want %q", when, w)
			}
			if w := `</p><p>` + want.escaped + `</p>`; text != w {
				t.Errorf("it ends with %q, want %q", text, w)
			}
		})
	}
	for _, h := range []HTML{"", "1", "0<script>alert(1)</script>"} {
		if h.Current() {
			t.Errorf("%q is of this design", h)
		}
	}
}
