//go:build linux

package store

import (
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/everheap/everheap/examples/forum/model"
	"github.com/everheap/everheap/examples/forum/page"
	"github.com/everheap/everheap/examples/forum/seed"
	"github.com/everheap/everheap/examples/forum/site"
)

// Both stores, with the same data in them, give the same pages to the byte: what is measured of
// the one is what is measured of the other.
func TestForum_PagesAreThoseOfEverheap(t *testing.T) {
	here, err := Open(filepath.Join(t.TempDir(), "forum"))
	if err != nil {
		t.Fatal(err)
	}
	defer here.Close()
	there, err := model.Open(filepath.Join(t.TempDir(), "space"))
	if err != nil {
		t.Fatal(err)
	}
	defer there.Close()
	plan := seed.Plan{Users: 100, Stories: 40, Comments: 1500}
	get := func(s seed.Store, path string) string {
		w := httptest.NewRecorder()
		site.New(s, site.Options{Address: "127.0.0.1:80", Rounds: 1}).ServeHTTP(w, httptest.NewRequest("GET", "http://127.0.0.1:80"+path, nil))
		return w.Body.String()
	}
	for _, s := range []seed.Store{here, there} {
		hash := func(string) (page.Password, error) {
			return page.Password{Salt: []byte{1}, Hash: []byte{2}, Rounds: 1}, nil
		}
		if err := plan.Load(s, hash, func(int, int) {}); err != nil {
			t.Fatal(err)
		}
	}
	for _, path := range []string{"/", "/?sort=top", "/?sort=active", "/s/1", "/s/2", "/s/40", "/u/ada", "/u/grace", "/search?q=memory", "/search?q=the+kernel", "/s/41", "/u/nobody"} {
		a, b := get(here, path), get(there, path)
		if a != b || !strings.HasSuffix(a, "</html>\n") {
			at := 0
			for at < min(len(a), len(b)) && a[at] == b[at] {
				at++
			}
			t.Errorf("%s differs at byte %d: %.80q, and %.80q", path, at, a[at:], b[at:])
		}
	}
}
