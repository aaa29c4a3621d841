// Package page says what the pages of the forum show, and what they ask of a store: the site
// knows no more than this. The package model keeps the forum in an Everheap space; the
// module examples/forum/sqlite keeps the same one in SQLite.
//
// Texts in these structs may be borrowed: they are valid while the function runs that a store
// passes them to, and nobody may change them.
package page

import (
	"context"
	"errors"
	"iter"
	"time"
)

// Bounds of what is written, in bytes.
const (
	MaxName     = 20
	MaxPassword = 200
	MaxTitle    = 150
	MaxLink     = 500
	MaxText     = 20_000
	MaxKey      = 64
)

// Errors of stores that a page tells its reader.
var (
	ErrNone     = errors.New("there is no such thing here")
	ErrTaken    = errors.New("somebody else has that name already")
	ErrVoted    = errors.New("you have moderated that one already")
	ErrOwn      = errors.New("nobody moderates what is their own")
	ErrNoPoints = errors.New("you have no moderation points left for today")
	ErrOutdated = errors.New("this server is older than the data") // another one can answer
)

// A Story is one row of the front page, and the head of its own page.
type Story struct {
	ID       uint32
	Title    string
	Link     string // "" if it has none
	Text     string // in lists of stories ""
	Author   string
	At       int64 // seconds since 1970, as all times here
	Active   int64 // of the newest comment
	Points   int
	Comments int
	Tags     []string // of the second version of the types
}

// A Comment is one of a story, as its page shows it. Comments of a story have the numbers 1, 2,
// 3…, in the order in which they were written.
type Comment struct {
	Parent int // number of the comment that it answers; 0: the story
	Points int
	Karma  int // of the author, now
	Author string
	HTML   HTML // all the rest
}

// A User is the head of a user's page.
type User struct {
	Name   string
	Joined int64
	Karma  int
	Points int // left for moderation today
	Wrote  int // stories and comments
}

// A Post is a story or a comment, away from its page.
type Post struct {
	Story   uint32
	Comment int // 0: the story itself
	Title   string
	Author  string
	Text    string
	At      int64
	Points  int
}

// Order is how the front page is sorted.
type Order string

// The orders of the front page.
const (
	Newest Order = "new"
	Active Order = "active"
	Top    Order = "top"
)

// Password is what is kept of one.
type Password struct {
	Salt, Hash []byte
	Rounds     int
}

// Server is one process that serves the site.
type Server struct {
	PID      int
	Started  time.Time
	Requests uint64  // since then
	Rate     float64 // requests a second, of late
	Memory   uint64  // bytes that are its own, and not the data that all share
	Version  int     // of the types
}

// Size is what the data take, in bytes.
type Size struct {
	Data, Disk uint64
	Version    uint64 // of the data, as far as the store numbers it
}

// Change is a story of which something is new.
type Change struct {
	Story    uint32
	Comments int // that it has now
	Points   int
	New      bool // the story itself
}

// A Store keeps a forum. Any number of goroutines and processes use it at once.
//
// A key is a random text that the form of a post carries. A store takes each key once: a
// browser that sends a form again, since the server died before it answered, gets the answer
// that it missed.
type Store interface {
	// Front passes all stories in an order.
	Front(order Order, show func(n int, stories iter.Seq[*Story]) error) error
	// Story passes a story and all its comments, or those after the first ones.
	Story(id uint32, after int, show func(s *Story, comments []Comment) error) error
	// Post passes a comment of a story, or the story itself (comment 0).
	Post(story uint32, comment int, show func(p *Post) error) error
	// Tagged passes the stories with a tag, newest first.
	Tagged(tag string, show func(n int, stories iter.Seq[*Story]) error) error
	// User passes a user and all that they wrote, newest first.
	User(name string, show func(u *User, posts iter.Seq[*Post]) error) error
	// Search passes the posts that contain all the words, newest first: at most most of them,
	// and how many there are.
	Search(words []string, most int, show func(n int, posts iter.Seq[*Post]) error) error

	// Submit adds a story and returns its number.
	Submit(author, key string, s Story) (id uint32, err error)
	// Reply adds a comment and returns its number.
	Reply(author, key string, story uint32, parent int, text string) (comment int, err error)
	// Moderate adds 1 or -1 to the points of a story (comment 0) or a comment.
	Moderate(voter string, story uint32, comment, by int) error

	// Register adds a user.
	Register(name string, p Password) error
	// Password returns that of a user.
	Password(name string) (Password, error)
	// Login begins a session.
	Login(name string, token [32]byte, until time.Time) error
	// Session returns the user of a session, and their moderation points.
	Session(token [32]byte) (name string, points int, err error)
	// Logout ends a session.
	Logout(token [32]byte) error

	// Watch returns what changes from now on, by whatever process.
	Watch(ctx context.Context) iter.Seq2[Change, error]
	// Beat tells that this process serves; Servers returns those that have lately.
	Beat(s Server) error
	Servers() ([]Server, error)
	Size() (Size, error)
	Close() error
}

// A Loader is a store that takes much at once.
type Loader interface {
	LoadUsers(users []NewUser) error
	// LoadStory adds a story with its comments, of which the oldest comes first.
	LoadStory(s Story, comments []NewComment) error
	// Loaded is called at the end.
	Loaded() error
}

// NewUser is one to be loaded.
type NewUser struct {
	Name     string
	Password Password
	Joined   int64
	Karma    int
}

// NewComment is one to be loaded, with the number of the one that it answers.
type NewComment struct {
	Parent int
	Points int
	At     int64
	Author string
	Text   string
}
