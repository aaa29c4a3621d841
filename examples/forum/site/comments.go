package site

import (
	"strconv"
	"sync"

	"github.com/everheap/everheap/examples/forum/page"
)

// node is the place of a comment in the tree: numbers of comments, 0 for none.
type node struct {
	first, next int32 // answer, and answer to the same comment
	size        int32 // how many there are below
}

// deepest is how deep the tree goes on a page. Deeper answers stand below each other, and say
// what they answer: browsers nest about five hundred elements.
const deepest = 40

// tree is a page's comments in the order in which they stand on it.
type tree struct {
	nodes []node
	open  []int32 // comments whose answers are being written; negative: they have no list of their own
}

var trees = sync.Pool{New: func() any { return new(tree) }}

// grow makes the tree of comments: node 0 is the story. A comment answers an earlier one, so
// from the last to the first each comes when all below it are known.
func (t *tree) grow(comments []page.Comment) {
	if n := len(comments) + 1; cap(t.nodes) < n {
		t.nodes = make([]node, n+n/4)[:n]
	} else {
		t.nodes = t.nodes[:n]
		clear(t.nodes)
	}
	for i := len(comments); i > 0; i-- {
		parent := comments[i-1].Parent
		if parent >= i || parent < 0 {
			parent = 0
		}
		t.nodes[i].next, t.nodes[parent].first = t.nodes[parent].first, int32(i)
		t.nodes[parent].size += t.nodes[i].size + 1
	}
}

// comments appends all comments as a tree of lists.
func (b *buffer) comments(comments []page.Comment, can abilities) {
	t := trees.Get().(*tree)
	defer trees.Put(t)
	t.grow(comments)
	t.open = t.open[:0]
	b.raw(`<ol class="thread" id="comments">`)
	depth := 0
	for i := t.nodes[0].first; i != 0; {
		b.comment(int(i), &comments[i-1], depth > deepest, can)
		if n := &t.nodes[i]; n.first != 0 {
			if depth++; depth <= deepest {
				b.raw(`<details open><summary>`)
				b.int(int(n.size))
				if n.size == 1 {
					b.raw(` reply</summary><ol>`)
				} else {
					b.raw(` replies</summary><ol>`)
				}
				t.open = append(t.open, i)
			} else {
				b.raw("</li>")
				t.open = append(t.open, -i)
			}
			i = n.first
			continue
		}
		b.raw("</li>")
		for t.nodes[i].next == 0 && len(t.open) > 0 {
			i, t.open, depth = t.open[len(t.open)-1], t.open[:len(t.open)-1], depth-1
			if i > 0 {
				b.raw("</ol></details></li>")
			} else {
				i = -i
			}
		}
		i = t.nodes[i].next
	}
	b.raw("</ol>")
}

// abilities are what the reader of a page can do on it.
type abilities struct {
	reply, moderate bool
	name            string // of the reader
	story           uint32
}

// comment appends one comment, but not its end: the answers come before that. Most of it was made
// when the comment was written (HT1). The slice is a variable here, and not a field: so the
// compiler keeps it in registers.
func (b *buffer) comment(n int, c *page.Comment, flat bool, can abilities) {
	by, when, text := c.HTML.Pieces()
	o := append(b.b, by...)
	o = strconv.AppendInt(o, int64(c.Karma), 10)
	o = append(o, when...)
	o = appendPoints(o, c.Points)
	if flat && c.Parent > 0 {
		o = append(o, ` to <a href="#c`...)
		o = strconv.AppendInt(o, int64(c.Parent), 10)
		o = append(o, `">#`...)
		o = strconv.AppendInt(o, int64(c.Parent), 10)
		o = append(o, "</a>"...)
	}
	if can.reply {
		o = append(o, ` <a href="/s/`...)
		o = strconv.AppendInt(o, int64(can.story), 10)
		o = append(o, `/reply/`...)
		o = strconv.AppendInt(o, int64(n), 10)
		o = append(o, `">reply</a>`...)
		if can.moderate && can.name != c.Author {
			o = appendButtons(o, n)
		}
	}
	b.b = append(o, text...)
}

// appendPoints appends those of a post; what stands out gets a class.
func appendPoints(o []byte, n int) []byte {
	switch {
	case n >= 10:
		o = append(o, `<b class="hi">+`...)
	case n > 0:
		o = append(o, `<b>+`...)
	case n < 0:
		o = append(o, `<b class="lo">`...)
	default:
		o = append(o, `<b>`...)
	}
	return append(strconv.AppendInt(o, int64(n), 10), `</b>`...)
}

// appendButtons appends those by which a reader moderates a comment, or story 0. They belong to
// the one form of the page.
func appendButtons(o []byte, n int) []byte {
	for _, part := range []string{` <span class="vote"><button form="moderate" name="up" value="`, `" title="one point more" aria-label="One point more for comment `, `">▲</button>`,
		`<button form="moderate" name="down" value="`, `" title="one point less" aria-label="One point less for comment `, `">▼</button></span>`} {
		o = append(o, part...)
		if part[len(part)-1] != '>' {
			o = strconv.AppendInt(o, int64(n), 10)
		}
	}
	return o
}
