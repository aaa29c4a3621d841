package model

import (
	"context"
	"errors"
	"iter"
	"time"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/examples/forum/page"
)

// User is one who writes here. Stories and comments refer to their author by a
// Ref, 8 bytes: what changes in the user, such as the karma, is seen through all of them.
type User struct {
	Name     string
	Password page.Password
	Joined   int64
	Karma    int   // what others gave for posts of this user
	Points   int   // left for moderation on the Day
	Day      int64 // since 1970
	Wrote    everheap.List[Post]
}

// Post leads to a story, or to a comment of one.
type Post struct {
	Story   uint32
	Comment uint32 // 0: the story itself
}

// points returns how many moderation points a user has left on a day.
func (u *User) points(day int64) int {
	if u.Day != day {
		return pointsADay
	}
	return u.Points
}

const pointsADay = 10

func today() int64 { return time.Now().Unix() / (24 * 60 * 60) }

// Register adds a user.
func (f *Forum) Register(name string, p page.Password) error {
	return outdated(f.space.Update(context.Background(), func(tx *everheap.Tx) error {
		if f.users.Peek(tx, name) != nil {
			return page.ErrTaken
		}
		return f.addUser(tx, User{Name: name, Password: p, Joined: time.Now().Unix()})
	}))
}

// addUser makes the objects of a user, and the name that leads to them. What no
// name leads to when the transaction ends would be collected.
func (f *Forum) addUser(tx *everheap.Tx, u User) (err error) {
	if u.Wrote, err = everheap.NewList[Post](tx); err != nil {
		return err
	}
	ref, err := everheap.New(tx, u)
	if err != nil {
		return err
	}
	return f.users.Set(tx, u.Name, ref)
}

// user returns the reference to a user.
func (f *Forum) user(tx *everheap.Tx, name string) (everheap.Ref[User], error) {
	if ref := f.users.Peek(tx, name); ref != nil {
		return *ref, nil
	}
	return everheap.Ref[User]{}, page.ErrNone
}

// Password returns the password of a user, as a copy: it is used after the transaction.
func (f *Forum) Password(name string) (p page.Password, err error) {
	err = f.space.View(func(tx *everheap.Tx) error {
		ref, err := f.user(tx, name)
		if err != nil {
			return err
		}
		u, err := ref.Get(tx)
		p = u.Password
		return err
	})
	return p, outdated(err)
}

// User passes a user and all that they wrote, newest first.
func (f *Forum) User(name string, show func(u *page.User, posts iter.Seq[*page.Post]) error) error {
	return outdated(f.space.View(func(tx *everheap.Tx) error {
		ref, err := f.user(tx, name)
		if err != nil {
			return err
		}
		u := ref.Peek(tx) // in the space: nothing is copied, and nothing may be changed
		n, err := u.Wrote.Len(tx)
		if err != nil {
			return err
		}
		head := page.User{Name: u.Name, Joined: u.Joined, Karma: u.Karma, Points: u.points(today()), Wrote: n}
		return show(&head, func(yield func(*page.Post) bool) {
			var row page.Post
			for _, p := range u.Wrote.Backward(tx) {
				if f.fill(tx, p, &row) && !yield(&row) {
					return
				}
			}
		})
	}))
}

// Post passes a comment of a story, or the story itself.
func (f *Forum) Post(story uint32, comment int, show func(p *page.Post) error) error {
	return outdated(f.space.View(func(tx *everheap.Tx) error {
		var row page.Post
		if comment < 0 || !f.fill(tx, &Post{Story: story, Comment: uint32(comment)}, &row) {
			return page.ErrNone
		}
		return show(&row)
	}))
}

// fill makes a row of a post: it follows the post to its story and its comment.
func (f *Forum) fill(tx *everheap.Tx, p *Post, row *page.Post) bool {
	s := f.stories.Peek(tx, p.Story)
	if s == nil {
		return false
	}
	*row = page.Post{Story: p.Story, Comment: int(p.Comment), Title: s.Title}
	if p.Comment == 0 {
		row.Author, row.Text, row.At, row.Points = s.Author.Peek(tx).Name, s.Text, s.At, s.Points
		return true
	}
	c := s.Comments.Peek(tx, int(p.Comment)-1)
	if c == nil {
		return false
	}
	row.Author, row.Text, row.At, row.Points = c.Author.Peek(tx).Name, c.Text, c.At, c.Points
	return true
}

// missing reports whether a store lacks what was asked for.
func missing(err error) bool { return errors.Is(err, everheap.ErrNotFound) }
