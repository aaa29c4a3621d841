package model

import (
	"time"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/examples/forum/page"
)

// Token is the hash of what the browser has: who reads the space cannot log in with it.
type Token [32]byte

// Session is a log-in. From the instant Until on it is not there: no transaction sees it, and
// some process removes it later.
type Session struct {
	User  everheap.Ref[User]
	Until time.Time `everheap:"expires"`
}

// Login begins a session.
func (f *Forum) Login(name string, token [32]byte, until time.Time) error {
	ref, err := f.users.Get(f.space, name)
	if missing(err) {
		return page.ErrNone
	} else if err != nil {
		return outdated(err)
	}
	return outdated(f.sessions.Set(f.space, token, Session{ref, until}))
}

// Session returns the user of a session that has not expired.
func (f *Forum) Session(token [32]byte) (name string, points int, err error) {
	err = f.space.View(func(tx *everheap.Tx) error {
		s := f.sessions.Peek(tx, token)
		if s == nil {
			return page.ErrNone
		}
		u := s.User.Peek(tx)
		// The name is used after the transaction: a copy is ours.
		name, points = string([]byte(u.Name)), u.points(today())
		return nil
	})
	return name, points, outdated(err)
}

// Logout ends a session.
func (f *Forum) Logout(token [32]byte) error {
	_, err := f.sessions.Delete(f.space, token)
	return outdated(err)
}
