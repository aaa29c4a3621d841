//go:build linux && !forum2

package model

import (
	"context"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/examples/forum/page"
	"github.com/everheap/everheap/examples/forum/site"
)

// Types of a version of the site that stored no HTML.
type (
	bareComment struct {
		Author everheap.Ref[User]
		Parent uint32
		Points int
		At     int64
		Text   string
	}
	bareStory struct {
		Title    string
		Link     string
		Text     string
		Author   everheap.Ref[User]
		At       int64
		Active   int64 `everheap:"index"`
		Points   int   `everheap:"index"`
		Count    int
		Comments everheap.List[bareComment]
	}
)

const hostile = `<script>alert("1")</script>&amp;`

// HT2: comments that were stored without HTML, by servers of before, look as if they had it; so do
// those with HTML of another design, whatever that is.
func TestForum_HTMLOfAnotherVersion(t *testing.T) {
	path := filepath.Join(t.TempDir(), "space")
	space, err := everheap.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	f := &Forum{space: space}
	if f.users, err = everheap.OpenMap[string, everheap.Ref[User]](space, "users"); err != nil {
		t.Fatal(err)
	}
	stories, err := everheap.OpenSorted[uint32, bareStory](space, "stories")
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Register("ada", page.Password{Salt: []byte{1}, Hash: []byte{2}, Rounds: 1}); err != nil {
		t.Fatal(err)
	}
	err = space.Update(context.Background(), func(tx *everheap.Tx) error {
		by, err := f.user(tx, "ada")
		if err != nil {
			return err
		}
		list, err := everheap.NewList[bareComment](tx)
		if err != nil {
			return err
		}
		c := bareComment{Author: by, Points: 1, At: 1, Text: hostile}
		if err := list.Append(tx, c, c); err != nil {
			return err
		}
		return stories.Set(tx, 1, bareStory{Title: "Old", Author: by, At: 1, Active: 1, Points: 1, Count: 2, Comments: list})
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := space.Close(); err != nil {
		t.Fatal(err)
	}

	was := storyOptions
	storyOptions = []everheap.TypeOption{everheap.Evolve()}
	defer func() { storyOptions = was }()
	if f, err = Open(path); err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	err = f.space.Update(context.Background(), func(tx *everheap.Tx) error {
		list := f.stories.Peek(tx, 1).Comments
		if html := list.Peek(tx, 0).HTML; html != "" {
			t.Errorf("the first comment has the HTML %q: the test proves nothing", html)
		}
		return list.Modify(tx, 1, func(c *Comment) error { c.HTML = "0<script>another design</script>"; return nil })
	})
	if err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	site.New(f, site.Options{Address: "127.0.0.1:80", Rounds: 1}).ServeHTTP(w, httptest.NewRequest("GET", "http://127.0.0.1:80/s/1", nil))
	for _, n := range []string{"1", "2"} {
		want := `<li id="c` + n + `"><p class="by"><a href="/u/ada">ada</a> <i>0</i> <a href="#c` + n +
			`"><time>1970-01-01 00:00</time></a> <b>+1</b></p><p>&lt;script>alert("1")&lt;/script>&amp;amp;</p></li>`
		if !strings.Contains(w.Body.String(), want) {
			t.Errorf("the page lacks %s:\n%s", want, w.Body)
		}
	}
}
