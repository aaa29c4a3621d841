//go:build linux

package model_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"

	"github.com/everheap/everheap/examples/forum/model"
	"github.com/everheap/everheap/examples/forum/page"
	"github.com/everheap/everheap/examples/forum/seed"
	"github.com/everheap/everheap/examples/forum/site"
)

// nowhere takes answers.
type nowhere struct{ header http.Header }

func (n *nowhere) Header() http.Header         { return n.header }
func (n *nowhere) Write(p []byte) (int, error) { return len(p), nil }
func (n *nowhere) WriteHeader(int)             {}

// What a page of a story takes without the connection: the walk through the space, and
// the rendering. The walk alone is beside it.
func BenchmarkStory(b *testing.B) {
	f, err := model.Open(filepath.Join(b.TempDir(), "space"))
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	plan := seed.Plan{Users: 10_000, Stories: 10, Comments: 22_000}
	err = plan.Load(f, func(p string) (page.Password, error) { return site.Hash(p, 1) }, func(int, int) {})
	if err != nil {
		b.Fatal(err)
	}
	s := site.New(f, site.Options{Address: "127.0.0.1:80"})
	for i, n := range seed.Sizes {
		b.Run(fmt.Sprint("page/", n), func(b *testing.B) {
			w := &nowhere{http.Header{}}
			for b.Loop() {
				clear(w.header)
				s.ServeHTTP(w, httptest.NewRequest("GET", fmt.Sprintf("http://127.0.0.1:80/s/%d", i+1), nil))
			}
		})
		b.Run(fmt.Sprint("walk/", n), func(b *testing.B) {
			for b.Loop() {
				f.Story(uint32(i+1), 0, func(*page.Story, []page.Comment) error { return nil })
			}
		})
	}
}
