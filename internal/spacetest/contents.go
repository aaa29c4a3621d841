//go:build unix

package spacetest

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/everheap/everheap"
)

// post has a field of most kinds that can be stored.
type post struct {
	Title   string
	Votes   int32
	Score   float64
	Tags    []string
	Times   [2]time.Time
	Body    []byte
	Replies []*post
	Parent  *post
	Comment everheap.Map[uint64, string]
}

// forumDay is a key that is a struct.
type forumDay struct {
	Forum string
	Day   uint16
}

// thread returns a post with replies that refer to it: shared and cyclic.
func thread(i int) *post {
	at := time.Date(2025, 1, 2, 3, 4, 5, i, time.UTC)
	p := &post{Title: fmt.Sprintf("post %d", i), Votes: int32(i) - 50, Score: float64(i) / 4, Times: [2]time.Time{at, at.Add(time.Hour)}}
	for n := range i % 4 {
		p.Tags = append(p.Tags, fmt.Sprint("tag", n))
		p.Replies = append(p.Replies, &post{Title: fmt.Sprintf("re %d: post %d", n, i), Parent: p, Body: bytes.Repeat([]byte{byte(n)}, 10*n)})
	}
	return p
}

const (
	ContentWords = 300 // entries: enough that inner nodes split twice
	contentPosts = 40
	contentLarge = 100_000 // bytes of one value, which needs a run
)

// WriteContents fills a space.
func WriteContents(t *testing.T, s *everheap.Space) {
	t.Helper()
	words, err := everheap.OpenMap[string, int](s, "words")
	Must(t, err)
	posts, err := everheap.OpenMap[forumDay, post](s, "posts")
	Must(t, err)
	large, err := everheap.OpenMap[uint64, []byte](s, "large")
	Must(t, err)
	for i := range ContentWords + 50 {
		Must(t, words.Set(s, fmt.Sprint("word", i), i))
	}
	for i := range 50 {
		_, err := words.Delete(s, fmt.Sprint("word", ContentWords+i))
		Must(t, err)
	}
	Update(t, s, func(tx *everheap.Tx) error {
		for i := range contentPosts {
			p := thread(i)
			comments, err := everheap.NewMap[uint64, string](tx)
			if err != nil {
				return err
			}
			if err := comments.Set(tx, uint64(i), "first"); err != nil {
				return err
			}
			p.Comment = comments
			if err := posts.Set(tx, forumDay{"go", uint16(i)}, *p); err != nil {
				return err
			}
		}
		return nil
	})
	Must(t, large.Set(s, 1, bytes.Repeat([]byte("everheap"), contentLarge/8)))
	w := OpenWorld(t, s) // an object of each kind, and many that they refer to
	w.Fill(t, s, 2)
	w.Upset(t, s)
	seen, err := everheap.OpenMap[string, string](s, "seen")
	Must(t, err)
	all := w.LookAt(t, s, "")
	Update(t, s, func(tx *everheap.Tx) (err error) {
		for path, v := range all {
			err = errors.Join(err, seen.Set(tx, path, v))
		}
		return err
	})
}

// VerifyContents compares a space with the contents of WriteContents.
func VerifyContents(t *testing.T, s *everheap.Space) {
	t.Helper()
	words, err := everheap.OpenMap[string, int](s, "words")
	Must(t, err)
	posts, err := everheap.OpenMap[forumDay, post](s, "posts")
	Must(t, err)
	large, err := everheap.OpenMap[uint64, []byte](s, "large")
	Must(t, err)
	if n, err := words.Len(s); n != ContentWords || err != nil {
		t.Fatalf("%d words, %v", n, err)
	}
	for i := range ContentWords {
		if got, err := words.Get(s, fmt.Sprint("word", i)); got != i || err != nil {
			t.Fatalf("word %d is %d, %v", i, got, err)
		}
	}
	for i := range contentPosts {
		got, err := posts.Get(s, forumDay{"go", uint16(i)})
		Must(t, err)
		if text, err := got.Comment.Get(s, uint64(i)); text != "first" || err != nil {
			t.Fatalf("comment of post %d is %q, %v", i, text, err)
		}
		want := thread(i)
		want.Comment = got.Comment
		if !reflect.DeepEqual(&got, want) {
			t.Fatalf("post %d is %+v, want %+v", i, &got, want)
		}
	}
	b, err := large.Get(s, 1)
	if Must(t, err); !bytes.Equal(b, bytes.Repeat([]byte("everheap"), contentLarge/8)) {
		t.Fatalf("the large value, of %d bytes, is wrong", len(b))
	}
	seen, err := everheap.OpenMap[string, string](s, "seen")
	Must(t, err)
	want := map[string]string{}
	Must(t, s.View(func(tx *everheap.Tx) error {
		for path, v := range seen.All(tx) {
			want[path] = *v
		}
		return nil
	}))
	if len(want) < 100 {
		t.Fatalf("the world has only %d things", len(want))
	}
	Agree(t, "golden", OpenWorld(t, s).LookAt(t, s, ""), want)
}

// DurableFiles has the files of a space that survive a power loss.
var DurableFiles = []string{"heap", "journal"}

// PinContents creates a checkpoint of the golden contents, and changes some of them and
// back. So the checkpoint and the newest version share most blocks but not all.
func PinContents(t *testing.T, s *everheap.Space) {
	t.Helper()
	words, err := everheap.OpenMap[string, int](s, "words")
	Must(t, err)
	Must(t, s.Checkpoint("golden"))
	for i := range ContentWords {
		_, err := words.Delete(s, fmt.Sprint("word", i))
		Must(t, err)
	}
	Must(t, s.Checkpoint("without words"))
	for i := range ContentWords {
		Must(t, words.Set(s, fmt.Sprint("word", i), i))
	}
	Must(t, s.Checkpoint("dropped"))
	Must(t, s.DropCheckpoint("dropped"))
}

// VerifyPinned verifies the checkpoints of PinContents.
func VerifyPinned(t *testing.T, s *everheap.Space) {
	t.Helper()
	list, err := s.Checkpoints()
	Must(t, err)
	if len(list) != 2 {
		t.Fatalf("the checkpoints are %v", list)
	}
	for name, want := range map[string]int{"golden": ContentWords, "without words": 0} {
		err := s.ViewAt(name, func(tx *everheap.Tx) error {
			words, err := everheap.OpenMap[string, int](tx, "words")
			if err != nil {
				return err
			}
			n := 0
			for key, v := range words.All(tx) {
				if key != fmt.Sprint("word", *v) {
					t.Errorf("%s is %d", key, *v)
				}
				n++
			}
			if n != want {
				t.Errorf("the checkpoint %q has %d words", name, n)
			}
			return nil
		})
		Must(t, err)
	}
}
