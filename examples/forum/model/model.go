// Package model keeps a forum in a space of Everheap. It is the part to read for who wants to
// model with Everheap: each file has one noun.
//
//	user.go      a value with an identity (Ref), found by name (Map)
//	story.go     entries in order (Sorted), indexes declared by tags, a List in a value
//	comment.go   one change of several collections (Update)
//	search.go    an inverted index, kept in the transactions that write
//	vote.go      a rule over several objects: all or nothing
//	session.go   entries that expire
//	sent.go      each form counts once, although servers are killed
//	watch.go     what other processes change
//	load.go      much at once
//
// A second version of the types is in story_next.go: see there how a program changes them
// while older ones run.
//
//	"users"    Map name -> Ref[User] ----> User{Name, Karma, …, Wrote List[Post]}
//	                                        ^                     |
//	"stories"  Sorted id -> Story{Author ---+  Comments List[Comment{Author, …}]}
//	                           |  indexes: Points, Active
//	"posts"    List of all that was ever written: its index is the number of a document
//	"words"    Map word -> List of runs of documents
//	"votes", "sessions", "sent", "servers": Maps; entries of the last three expire
package model

import (
	"errors"
	"fmt"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/examples/forum/page"
)

// Forum is a forum in an open space. The handles in it are 8 bytes each, and any number of
// goroutines use them at once.
type Forum struct {
	space    *everheap.Space
	users    everheap.Map[string, everheap.Ref[User]]
	stories  everheap.Sorted[uint32, Story]
	posts    everheap.List[Post]
	words    everheap.Map[string, everheap.List[Run]]
	votes    everheap.Map[Vote, int8]
	sessions everheap.Map[Token, Session]
	sent     everheap.Map[string, Sent]
	servers  everheap.Map[int, Server]

	byPoints everheap.Index[uint32, Story, int]
	byActive everheap.Index[uint32, Story, int64]
}

var (
	_ page.Store  = (*Forum)(nil)
	_ page.Loader = (*Forum)(nil)
)

// Open opens the forum in the space with a name, and creates what is not there.
func Open(name string, opts ...everheap.Option) (*Forum, error) {
	space, err := everheap.Open(name, opts...)
	if err != nil {
		return nil, err
	}
	f := &Forum{space: space}
	if err := f.open(); err != nil {
		space.Close()
		return nil, outdated(err)
	}
	f.byPoints = everheap.IndexOf[Story, int](f.stories, "Points")
	f.byActive = everheap.IndexOf[Story, int64](f.stories, "Active")
	return f, nil
}

// open opens the collections: the types are checked here, once, and not at each access.
func (f *Forum) open() (err error) {
	if f.users, err = everheap.OpenMap[string, everheap.Ref[User]](f.space, "users"); err != nil {
		return err
	}
	if f.stories, err = everheap.OpenSorted[uint32, Story](f.space, "stories", storyOptions...); err != nil {
		return err
	}
	if f.posts, err = everheap.OpenList[Post](f.space, "posts"); err != nil {
		return err
	}
	if f.words, err = everheap.OpenMap[string, everheap.List[Run]](f.space, "words"); err != nil {
		return err
	}
	if f.votes, err = everheap.OpenMap[Vote, int8](f.space, "votes"); err != nil {
		return err
	}
	if f.sessions, err = everheap.OpenMap[Token, Session](f.space, "sessions"); err != nil {
		return err
	}
	if f.sent, err = everheap.OpenMap[string, Sent](f.space, "sent"); err != nil {
		return err
	}
	f.servers, err = everheap.OpenMap[int, Server](f.space, "servers")
	return err
}

// Close ends the use of the space.
func (f *Forum) Close() error { return f.space.Close() }

// Size returns what the forum takes.
func (f *Forum) Size() (page.Size, error) {
	s := f.space.Stats()
	return page.Size{Data: s.Live, Disk: s.Disk, Version: uint64(s.Version)}, nil
}

// outdated tells the site of a change of the types, after which this program is the old one.
func outdated(err error) error {
	if errors.Is(err, everheap.ErrTypeChanged) {
		return fmt.Errorf("%w: %w", page.ErrOutdated, err)
	}
	return err
}
