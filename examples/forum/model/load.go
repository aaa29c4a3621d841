package model

import (
	"context"
	"fmt"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/examples/forum/page"
)

// loading is how much is loaded in one transaction: others wait for their turn to write while
// one lasts.
const loading = 1000

// LoadUsers adds many users.
func (f *Forum) LoadUsers(users []page.NewUser) error {
	for len(users) > 0 {
		n := min(loading, len(users))
		err := f.space.Update(context.Background(), func(tx *everheap.Tx) error {
			for _, u := range users[:n] {
				if err := f.addUser(tx, User{Name: u.Name, Password: u.Password, Joined: u.Joined, Karma: u.Karma}); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		users = users[n:]
	}
	return nil
}

// LoadStory adds a story with its comments, in one transaction. It collects the documents of
// each word, and enters them at once.
func (f *Forum) LoadStory(new page.Story, comments []page.NewComment) error {
	return f.space.Update(context.Background(), func(tx *everheap.Tx) error {
		by, err := f.user(tx, new.Author)
		if err != nil {
			return fmt.Errorf("%s: %w", new.Author, err)
		}
		if n := len(comments); n > 0 {
			new.Active = comments[n-1].At
		}
		id, err := f.addStory(tx, by, new)
		if err != nil {
			return err
		}
		s, err := f.stories.Get(tx, id)
		if err != nil {
			return err
		}
		s.Count = len(comments)
		if err := f.stories.Set(tx, id, s); err != nil {
			return err
		}
		first, err := f.posts.Len(tx)
		if err != nil {
			return err
		}
		posts := []Post{{Story: id}}
		wrote := map[everheap.Ref[User]][]Post{by: {{Story: id}}}
		found := map[string][]Doc{}
		for _, w := range page.Words(new.Title + "\n" + new.Text) {
			found[w] = append(found[w], Doc(first))
		}
		list := make([]Comment, 0, len(comments))
		for i, c := range comments {
			by, err := f.user(tx, c.Author)
			if err != nil {
				return fmt.Errorf("%s: %w", c.Author, err)
			}
			list = append(list, Comment{Author: by, Parent: uint32(c.Parent), Points: c.Points, At: c.At, Text: c.Text,
				HTML: page.Markup(i+1, c.Author, c.At, c.Text)})
			p := Post{Story: id, Comment: uint32(i + 1)}
			posts, wrote[by] = append(posts, p), append(wrote[by], p)
			for _, w := range page.Words(c.Text) {
				found[w] = append(found[w], Doc(first+1+i))
			}
		}
		if err := s.Comments.Append(tx, list...); err != nil {
			return err
		}
		return f.loaded(tx, posts, wrote, found)
	})
}

// loaded enters posts where they are found.
func (f *Forum) loaded(tx *everheap.Tx, posts []Post, wrote map[everheap.Ref[User]][]Post, found map[string][]Doc) error {
	if err := f.posts.Append(tx, posts...); err != nil {
		return err
	}
	for by, posts := range wrote {
		if err := by.Peek(tx).Wrote.Append(tx, posts...); err != nil {
			return err
		}
	}
	for word, docs := range found {
		if err := f.index(tx, word, docs...); err != nil {
			return err
		}
	}
	return nil
}

// Loaded returns when what was loaded is on disk.
func (f *Forum) Loaded() error { return f.space.Sync(context.Background()) }
