package store

import (
	"path/filepath"
	"testing"

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
