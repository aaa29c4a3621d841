package model

import (
	"context"
	"iter"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/examples/forum/page"
)

// Watch returns the stories that change, whatever process changes them. Watch of the library
// compares versions: two comments between two looks are one change.
func (f *Forum) Watch(ctx context.Context) iter.Seq2[page.Change, error] {
	return func(yield func(page.Change, error) bool) {
		for c, err := range f.stories.Watch(ctx, f.space) {
			if err != nil {
				yield(page.Change{}, outdated(err))
				return
			}
			if c.Kind() == everheap.Removed {
				continue
			}
			if !yield(page.Change{Story: c.Key, Comments: c.New.Count, Points: c.New.Points, New: c.Kind() == everheap.Added}, nil) {
				return
			}
		}
	}
}
