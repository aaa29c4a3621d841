package seed

import (
	"errors"
	"iter"

	"github.com/everheap/everheap/examples/forum/page"
)

// Store is one that can be loaded.
type Store interface {
	page.Store
	page.Loader
}

// Load brings a store to what the plan says. It goes on where it was if it was killed: each
// story is there with all its comments, or not at all. all tells how far it is.
func (p Plan) Load(store Store, hash func(password string) (page.Password, error), all func(done, of int)) error {
	have := 0
	err := store.Front(page.Newest, func(n int, _ iter.Seq[*page.Story]) error { have = n; return nil })
	if err != nil || have >= p.Stories {
		return err
	}
	// They share a password, and what is kept of it: to hash ten thousand takes long.
	password, err := hash(Password)
	if err != nil {
		return err
	}
	var users []page.NewUser
	for i := range p.Users {
		_, err := store.Password(Name(i))
		if errors.Is(err, page.ErrNone) {
			r := p.random("user", i)
			users = append(users, page.NewUser{Name: Name(i), Password: password, Joined: start - r.Int64N(3*365*86_400), Karma: int(r.ExpFloat64() * 150)})
		} else if err != nil {
			return err
		}
	}
	if err := store.LoadUsers(users); err != nil {
		return err
	}
	done := 0
	for i := range p.Stories {
		if done += p.Count(i); i < have {
			continue
		}
		if err := store.LoadStory(p.Story(i), p.Thread(i)); err != nil {
			return err
		}
		if i%20 == 0 {
			all(done, p.Comments)
		}
	}
	all(done, done)
	return store.Loaded()
}
