package model

import (
	"context"
	"iter"
	"time"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/examples/forum/page"
)

// row makes a row of the front page of a story.
func (s *Story) row(tx *everheap.Tx, id uint32, row *page.Story) {
	*row = page.Story{ID: id, Title: s.Title, Link: s.Link, Author: s.Author.Peek(tx).Name, At: s.At, Active: s.Active,
		Points: s.Points, Comments: s.Count, Tags: s.tags()}
}

// Front passes all stories in an order: that of the keys backward, or of an index.
func (f *Forum) Front(order page.Order, show func(n int, stories iter.Seq[*page.Story]) error) error {
	return outdated(f.space.View(func(tx *everheap.Tx) error {
		n, err := f.stories.Len(tx)
		if err != nil {
			return err
		}
		return show(n, func(yield func(*page.Story) bool) {
			var row page.Story
			for id, s := range f.ordered(tx, order) {
				if s.row(tx, id, &row); !yield(&row) {
					return
				}
			}
		})
	}))
}

func (f *Forum) ordered(tx *everheap.Tx, order page.Order) iter.Seq2[uint32, *Story] {
	switch order {
	case page.Top:
		return f.byPoints.Backward(tx, everheap.Unbounded[int](), everheap.Unbounded[int]())
	case page.Active:
		return f.byActive.Backward(tx, everheap.Unbounded[int64](), everheap.Unbounded[int64]())
	}
	return f.stories.Backward(tx, everheap.Unbounded[uint32](), everheap.Unbounded[uint32]())
}

// Tagged passes the stories with a tag, newest first.
func (f *Forum) Tagged(tag string, show func(n int, stories iter.Seq[*page.Story]) error) error {
	return outdated(f.space.View(func(tx *everheap.Tx) error {
		var rows []page.Story
		err := f.tagged(tx, tag, func(id uint32, s *Story) bool {
			rows = append(rows, page.Story{})
			s.row(tx, id, &rows[len(rows)-1])
			return true
		})
		if err != nil {
			return err
		}
		return show(len(rows), func(yield func(*page.Story) bool) {
			for i := range rows {
				if !yield(&rows[i]) {
					return
				}
			}
		})
	}))
}

// Submit adds a story. Everything about it changes in one transaction: the story with an empty
// list of comments, the list of the author, the number of the post, and the words by
// which it is found.
func (f *Forum) Submit(author, key string, new page.Story) (id uint32, err error) {
	err = f.space.Update(context.Background(), func(tx *everheap.Tx) error {
		if was := f.sent.Peek(tx, key); was != nil {
			id = was.Post.Story
			return nil
		}
		by, err := f.user(tx, author)
		if err != nil {
			return err
		}
		new.At = time.Now().Unix()
		if id, err = f.addStory(tx, by, new); err != nil {
			return err
		}
		post := Post{Story: id}
		if err := f.wrote(tx, by, post, new.Title+"\n"+new.Text); err != nil {
			return err
		}
		return f.sent.Set(tx, key, newSent(post))
	})
	return id, outdated(err)
}

// addStory adds a story under the next number.
func (f *Forum) addStory(tx *everheap.Tx, by everheap.Ref[User], new page.Story) (id uint32, err error) {
	last, _, _ := f.stories.Last(tx)
	comments, err := everheap.NewList[Comment](tx)
	if err != nil {
		return 0, err
	}
	s := Story{Title: new.Title, Link: new.Link, Text: new.Text, Author: by, At: new.At, Active: max(new.At, new.Active),
		Points: max(new.Points, 1), Comments: comments}
	s.setTags(new.Tags)
	return last + 1, f.stories.Set(tx, last+1, s)
}

// wrote enters a new post where it is found: in the list of its author, in that of all
// posts, and under its words.
func (f *Forum) wrote(tx *everheap.Tx, by everheap.Ref[User], p Post, text string) error {
	if err := by.Peek(tx).Wrote.Append(tx, p); err != nil {
		return err
	}
	doc, err := f.posts.Len(tx)
	if err != nil {
		return err
	}
	if err := f.posts.Append(tx, p); err != nil {
		return err
	}
	for _, w := range page.Words(text) {
		if err := f.index(tx, w, Doc(doc)); err != nil {
			return err
		}
	}
	return nil
}
