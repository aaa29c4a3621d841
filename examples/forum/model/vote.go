package model

import (
	"context"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/examples/forum/page"
)

// Vote is the key of what somebody thinks of a post: a struct can be one. So nobody
// moderates anything twice.
type Vote struct {
	Voter everheap.Ref[User]
	Post  Post
}

// Moderate changes the points of a post. Four objects change, or none of them: the post, its
// author's karma, the voter's points, and the vote itself.
func (f *Forum) Moderate(voter string, story uint32, comment, by int) error {
	return outdated(f.space.Update(context.Background(), func(tx *everheap.Tx) error {
		who, err := f.user(tx, voter)
		if err != nil {
			return err
		}
		s := f.stories.Peek(tx, story)
		if s == nil || comment < 0 || comment > s.Count {
			return page.ErrNone
		}
		vote := Vote{who, Post{story, uint32(comment)}}
		if f.votes.Peek(tx, vote) != nil {
			return page.ErrVoted
		}
		author := s.Author
		if comment > 0 {
			author = s.Comments.Peek(tx, comment-1).Author
		}
		if author == who {
			return page.ErrOwn
		}
		// An error of the function undoes all that the transaction has changed.
		err = who.Modify(tx, func(u *User) error {
			left := u.points(today())
			if left == 0 {
				return page.ErrNoPoints
			}
			u.Points, u.Day = left-1, today()
			return nil
		})
		if err != nil {
			return err
		}
		if err := f.votes.Set(tx, vote, int8(by)); err != nil {
			return err
		}
		if err := author.Modify(tx, func(u *User) error { u.Karma += by; return nil }); err != nil {
			return err
		}
		if comment == 0 {
			return f.stories.Modify(tx, story, func(s *Story) error { s.Points += by; return nil })
		}
		return s.Comments.Modify(tx, comment-1, func(c *Comment) error { c.Points += by; return nil })
	}))
}
