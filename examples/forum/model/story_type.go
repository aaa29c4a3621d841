//go:build !forum2

package model

import (
	"github.com/everheap/everheap"
	"github.com/everheap/everheap/examples/forum/page"
)

// Types is the version of the types of this program. The second one is in story_next.go.
const Types = 1

// Story is a story with its comments. The tags declare indexes: every writer
// keeps them, in the transaction that changes the story.
type Story struct {
	Title    string
	Link     string
	Text     string
	Author   everheap.Ref[User]
	At       int64
	Active   int64 `everheap:"index"` // when the newest comment was written
	Points   int   `everheap:"index"`
	Count    int   // of the comments: the front page need not look at each list
	Comments everheap.List[Comment]
}

// storyOptions are those of OpenSorted. This version does not evolve what it finds: if that is
// newer, this program is the old one, and ends.
var storyOptions []everheap.TypeOption

// setTags and tags are about what this version does not have.
func (s *Story) setTags([]string) {}
func (s *Story) tags() []string   { return nil }

// tagged passes the stories with a tag to fn.
func (f *Forum) tagged(*everheap.Tx, string, func(id uint32, s *Story) bool) error {
	return page.ErrNone
}
