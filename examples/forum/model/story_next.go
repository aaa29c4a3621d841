//go:build forum2

package model

import (
	"github.com/everheap/everheap"
)

// Types is the version of the types of this program.
const Types = 2

// Story is a story with its comments, as the second version of the site has it:
// stories have tags, points have a better name, and the text stands elsewhere. Evolve converts
// what the first version stored, in one transaction, when the first server of the second
// version opens the space:
//
//	go build -tags forum2 ./examples/forum
//
// Servers of the first version that still run get ErrTypeChanged from then on, never a wrong
// value. They pass the request on which they notice to a new server, and end: see
// site.Drain. A View that is open when the types change goes on in its version.
type Story struct {
	Title    string
	Text     string
	Link     string
	Tags     []string `everheap:"index"` // new: one place in the index for each tag
	Author   everheap.Ref[User]
	At       int64
	Active   int64 `everheap:"index"`
	Points   int   `everheap:"index"`
	Count    int
	Comments everheap.List[Comment]
}

// storyOptions are those of OpenSorted: this version takes what the first one stored.
var storyOptions = []everheap.TypeOption{everheap.Evolve()}

func (s *Story) setTags(tags []string) { s.Tags = tags }
func (s *Story) tags() []string        { return s.Tags }

// tagged passes the stories with a tag to fn, newest first: entries with the same value in an
// index come in the order of their keys.
func (f *Forum) tagged(tx *everheap.Tx, tag string, fn func(id uint32, s *Story) bool) error {
	byTag := everheap.IndexOf[Story, string](f.stories, "Tags")
	for id, s := range byTag.Backward(tx, everheap.Including(tag), everheap.Including(tag)) {
		if !fn(id, s) {
			break
		}
	}
	return nil
}
