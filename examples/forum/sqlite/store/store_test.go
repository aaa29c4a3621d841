package store

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/everheap/everheap/examples/forum/page"
	"github.com/everheap/everheap/examples/forum/seed"
	"github.com/everheap/everheap/examples/forum/storetest"
)

func TestForum(t *testing.T) {
	storetest.Test(t, func(t *testing.T, dir string) seed.Store {
		f, err := Open(filepath.Join(dir, "forum"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := f.Close(); err != nil {
				t.Error(err)
			}
		})
		return f
	})
}

// HT2: comments with HTML of another design, or without, look as if they had that of this one.
func TestForum_HTMLOfAnotherVersion(t *testing.T) {
	f, err := Open(filepath.Join(t.TempDir(), "forum"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Register("ada", page.Password{Salt: []byte{1}, Hash: []byte{2}, Rounds: 1}); err != nil {
		t.Fatal(err)
	}
	id, err := f.Submit("ada", "story", page.Story{Title: "Old"})
	if err != nil {
		t.Fatal(err)
	}
	for _, html := range []string{"", "0<script>another design</script>"} {
		n, err := f.Reply("ada", "comment "+html, id, 0, "<script>")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.db.Exec("UPDATE comments SET html = ? WHERE story = ? AND n = ?", html, id, n); err != nil {
			t.Fatal(err)
		}
		err = f.Story(id, n-1, func(_ *page.Story, list []page.Comment) error {
			if len(list) != 1 || !list[0].HTML.Current() {
				t.Fatalf("the comments are %+v", list)
			}
			if by, _, text := list[0].HTML.Pieces(); !strings.HasPrefix(by, fmt.Sprintf(`<li id="c%d">`, n)) || text != "</p><p>&lt;script></p>" {
				t.Errorf("comment %d is %s", n, list[0].HTML)
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	}
}
