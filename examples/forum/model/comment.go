package model

import (
	"context"
	"sync"
	"time"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/examples/forum/page"
)

// Comment is an element of the list of its story. Its number is its place in the
// list, and answers name that: a tree needs no more.
type Comment struct {
	Author everheap.Ref[User]
	Parent uint32 // number of the comment that it answers, from 1; 0: the story
	Points int
	At     int64
	Text   string
	HTML   page.HTML // of the comment, for pages that show a thousand: made when it was written
}

// rows are buffers for the comments of one page.
var rows = sync.Pool{New: func() any { return new([]page.Comment) }}

// Story passes a story and its comments after the first ones. It walks along pointers into
// the space: texts and names are where they were stored, and only their addresses
// come into the rows.
func (f *Forum) Story(id uint32, after int, show func(s *page.Story, comments []page.Comment) error) error {
	buf := rows.Get().(*[]page.Comment)
	defer func() {
		clear(*buf) // what they borrowed ends here
		rows.Put(buf)
	}()
	return outdated(f.space.View(func(tx *everheap.Tx) error {
		s := f.stories.Peek(tx, id)
		if s == nil {
			return page.ErrNone
		}
		var head page.Story
		s.row(tx, id, &head)
		head.Text = s.Text
		list := (*buf)[:0]
		if after == 0 {
			for i, c := range s.Comments.All(tx) {
				list = append(list, c.row(tx, i+1))
			}
		} else {
			for i := after; i < s.Count; i++ {
				list = append(list, s.Comments.Peek(tx, i).row(tx, i+1))
			}
		}
		*buf = list
		return show(&head, list)
	}))
}

// row makes a row of comment n. HTML that another version of the site has stored, or none, is
// not passed on (HT2).
func (c *Comment) row(tx *everheap.Tx, n int) page.Comment {
	by := c.Author.Peek(tx)
	html := c.HTML
	if !html.Current() {
		html = page.Markup(n, by.Name, c.At, c.Text)
	}
	return page.Comment{Parent: int(c.Parent), Points: c.Points, Karma: by.Karma, Author: by.Name, HTML: html}
}

// Reply adds a comment, in one transaction with all that leads to it.
func (f *Forum) Reply(author, key string, story uint32, parent int, text string) (comment int, err error) {
	err = f.space.Update(context.Background(), func(tx *everheap.Tx) error {
		if was := f.sent.Peek(tx, key); was != nil {
			comment = int(was.Post.Comment)
			return nil
		}
		by, err := f.user(tx, author)
		if err != nil {
			return err
		}
		s := f.stories.Peek(tx, story)
		if s == nil || parent < 0 || parent > s.Count {
			return page.ErrNone
		}
		comment = s.Count + 1
		now := time.Now().Unix()
		html := page.Markup(comment, by.Peek(tx).Name, now, text)
		if err := s.Comments.Append(tx, Comment{Author: by, Parent: uint32(parent), Points: 1, At: now, Text: text, HTML: html}); err != nil {
			return err
		}
		err = f.stories.Modify(tx, story, func(s *Story) error {
			s.Count, s.Active = comment, now // the index by Active follows
			return nil
		})
		if err != nil {
			return err
		}
		post := Post{Story: story, Comment: uint32(comment)}
		if err := f.wrote(tx, by, post, text); err != nil {
			return err
		}
		return f.sent.Set(tx, key, newSent(post))
	})
	return comment, outdated(err)
}
