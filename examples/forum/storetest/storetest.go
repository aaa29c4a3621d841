// Package storetest tests a store of the forum: both of them pass the same tests, so what is
// compared does the same.
package storetest

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/everheap/everheap/examples/forum/page"
	"github.com/everheap/everheap/examples/forum/seed"
)

// Test runs all tests. open opens the store of a directory, once more if it is there.
func Test(t *testing.T, open func(t *testing.T, dir string) seed.Store) {
	for name, test := range map[string]func(*testing.T, seed.Store){
		"posts": posts, "once": once, "moderation": moderation, "sessions": sessions, "search": search, "watch": watch, "seed": seeded,
	} {
		t.Run(name, func(t *testing.T) {
			s := open(t, t.TempDir())
			for _, name := range []string{"ada", "bob", "cid"} {
				if err := s.Register(name, page.Password{Salt: []byte{1}, Hash: []byte(name), Rounds: 3}); err != nil {
					t.Fatal(err)
				}
			}
			test(t, s)
		})
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// wants reports an error that is not the wanted one.
func wants(t *testing.T, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: %v, want %v", what, err, want)
	}
}

func posts(t *testing.T, s seed.Store) {
	id := must(s.Submit("ada", "k1", page.Story{Title: "First", Link: "https://a.example", Text: "of all"}))
	other := must(s.Submit("bob", "k2", page.Story{Title: "Second"}))
	if id == other || id == 0 {
		t.Fatalf("stories %d and %d", id, other)
	}
	one := must(s.Reply("bob", "k3", id, 0, "one"))
	two := must(s.Reply("ada", "k4", id, one, "two"))
	if one != 1 || two != 2 {
		t.Fatalf("comments %d and %d", one, two)
	}
	_, err := s.Reply("ada", "k5", id, 3, "of what is not there")
	wants(t, "an answer to nothing", err, page.ErrNone)
	_, err = s.Reply("ada", "k5", 77, 0, "nowhere")
	wants(t, "a comment in no story", err, page.ErrNone)
	_, err = s.Reply("eve", "k5", id, 0, "by nobody")
	wants(t, "a comment by nobody", err, page.ErrNone)
	err = s.Story(id, 0, func(st *page.Story, list []page.Comment) error {
		if st.Title != "First" || st.Text != "of all" || st.Author != "ada" || st.Comments != 2 || st.Points != 1 || st.At == 0 {
			t.Errorf("the story is %+v", *st)
		}
		if len(list) != 2 || list[0].Author != "bob" || !strings.Contains(string(list[0].HTML), ">one<") || list[1].Parent != 1 || list[1].Points != 1 {
			t.Errorf("the comments are %+v", list)
		}
		return nil
	})
	wants(t, "a story", err, nil)
	wants(t, "its end", s.Story(id, 1, func(st *page.Story, list []page.Comment) error {
		if len(list) != 1 || !strings.Contains(string(list[0].HTML), ">two<") || st.Comments != 2 {
			t.Errorf("after the first comment: %+v", list)
		}
		return nil
	}), nil)
	wants(t, "no story", s.Story(99, 0, nil), page.ErrNone)
	for comment, want := range []page.Post{{Text: "of all", Author: "ada"}, {Text: "one", Author: "bob"}, {Text: "two", Author: "ada"}} {
		wants(t, "a post", s.Post(id, comment, func(p *page.Post) error {
			if p.Story != id || p.Comment != comment || p.Title != "First" || p.Text != want.Text || p.Author != want.Author || p.At == 0 || p.Points != 1 {
				t.Errorf("post %d is %+v", comment, *p)
			}
			return nil
		}), nil)
	}
	for _, comment := range []int{-1, 3} {
		wants(t, "no post", s.Post(id, comment, nil), page.ErrNone)
	}
	wants(t, "a post of no story", s.Post(99, 0, nil), page.ErrNone)
	for order, want := range map[page.Order]uint32{page.Newest: other, page.Top: other} {
		first := uint32(0)
		wants(t, "the front page", s.Front(order, func(n int, list iter.Seq[*page.Story]) error {
			for st := range list {
				if first == 0 {
					first = st.ID
				}
				n--
			}
			if n != 0 {
				t.Errorf("%d more are said to be there", n)
			}
			return nil
		}), nil)
		if first != want {
			t.Errorf("%s begins with %d, want %d", order, first, want)
		}
	}
	var all []string
	wants(t, "a user", s.User("ada", func(u *page.User, list iter.Seq[*page.Post]) error {
		for p := range list {
			all = append(all, fmt.Sprint(p.Story, p.Comment, p.Title, p.Text))
		}
		if u.Wrote != 2 || u.Name != "ada" || u.Points != 10 {
			t.Errorf("the user is %+v", *u)
		}
		return nil
	}), nil)
	if want := []string{fmt.Sprint(id, 2, "First", "two"), fmt.Sprint(id, 0, "First", "of all")}; !slices.Equal(all, want) {
		t.Errorf("ada wrote %q, want %q", all, want)
	}
	wants(t, "no user", s.User("eve", nil), page.ErrNone)
	wants(t, "a name that is taken", s.Register("ada", page.Password{}), page.ErrTaken)
	if p := must(s.Password("bob")); string(p.Hash) != "bob" || p.Rounds != 3 {
		t.Errorf("the password is %+v", p)
	}
}

// once: a form that is sent again gets the first answer, and changes nothing.
func once(t *testing.T, s seed.Store) {
	id := must(s.Submit("ada", "story", page.Story{Title: "One"}))
	if again := must(s.Submit("ada", "story", page.Story{Title: "One"})); again != id {
		t.Errorf("sent again, story %d is %d", id, again)
	}
	c := must(s.Reply("bob", "comment", id, 0, "hello"))
	if again := must(s.Reply("bob", "comment", id, 0, "hello")); again != c {
		t.Errorf("sent again, comment %d is %d", c, again)
	}
	s.Story(id, 0, func(st *page.Story, list []page.Comment) error {
		if len(list) != 1 {
			t.Errorf("there are %d comments", len(list))
		}
		return nil
	})
}

func moderation(t *testing.T, s seed.Store) {
	id := must(s.Submit("ada", "k", page.Story{Title: "One"}))
	for i := range 12 {
		must(s.Reply("bob", fmt.Sprint("c", i), id, 0, "hello"))
	}
	wants(t, "one's own", s.Moderate("ada", id, 0, 1), page.ErrOwn)
	wants(t, "a story", s.Moderate("cid", id, 0, 1), nil)
	wants(t, "the same once more", s.Moderate("cid", id, 0, -1), page.ErrVoted)
	wants(t, "nothing", s.Moderate("cid", id, 13, 1), page.ErrNone)
	for n := 1; n <= 9; n++ {
		wants(t, "a comment", s.Moderate("cid", id, n, -1), nil)
	}
	wants(t, "an eleventh", s.Moderate("cid", id, 10, 1), page.ErrNoPoints)
	wants(t, "by another", s.Moderate("ada", id, 10, 1), nil)
	s.Story(id, 0, func(st *page.Story, list []page.Comment) error {
		if st.Points != 2 || list[0].Points != 0 || list[9].Points != 2 || list[10].Points != 1 || list[0].Karma != -8 {
			t.Errorf("points %d %d %d %d, karma %d", st.Points, list[0].Points, list[9].Points, list[10].Points, list[0].Karma)
		}
		return nil
	})
}

func sessions(t *testing.T, s seed.Store) {
	wants(t, "a log-in", s.Login("ada", [32]byte{1}, time.Now().Add(time.Hour)), nil)
	wants(t, "a log-in that is over", s.Login("bob", [32]byte{2}, time.Now().Add(-time.Hour)), nil)
	wants(t, "a log-in of nobody", s.Login("eve", [32]byte{3}, time.Now().Add(time.Hour)), page.ErrNone)
	if name, points, err := s.Session([32]byte{1}); name != "ada" || points != 10 || err != nil {
		t.Errorf("the session is of %q with %d points: %v", name, points, err)
	}
	_, _, err := s.Session([32]byte{2})
	wants(t, "a session that is over", err, page.ErrNone)
	wants(t, "a log-out", s.Logout([32]byte{1}), nil)
	_, _, err = s.Session([32]byte{1})
	wants(t, "a session that was ended", err, page.ErrNone)
}

func search(t *testing.T, s seed.Store) {
	id := must(s.Submit("ada", "k", page.Story{Title: "Kernel news", Text: "about Memory"}))
	for i := range 1000 {
		text := "filler"
		if i%2 == 0 {
			text += " even"
		}
		if i%7 == 0 {
			text += " SEVEN's"
		}
		must(s.Reply("bob", fmt.Sprint(i), id, 0, text))
	}
	for query, want := range map[string]int{"filler": 1000, "even": 500, "seven even": 72, "seven": 143, "kernel memory": 1, "kernel filler": 0, "none": 0, "": 0} {
		n, shown, last := 0, 0, 1<<30
		wants(t, "a search", s.Search(page.Words(query), 20, func(all int, list iter.Seq[*page.Post]) error {
			n = all
			for p := range list {
				if shown++; p.Comment > last {
					t.Errorf("%q: comment %d after %d", query, p.Comment, last)
				}
				last = p.Comment
				for _, w := range page.Words(query) {
					if !strings.Contains(strings.ToLower(p.Title+" "+p.Text), w) {
						t.Errorf("%q finds %q", query, p.Text)
					}
				}
			}
			return nil
		}), nil)
		if n != want || shown != min(n, 20) {
			t.Errorf("%q: %d posts, %d shown, want %d", query, n, shown, want)
		}
	}
}

func watch(t *testing.T, s seed.Store) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	changes := make(chan page.Change)
	ended := make(chan bool)
	go func() {
		defer close(ended)
		for c, err := range s.Watch(ctx) {
			if err != nil {
				return
			}
			select {
			case changes <- c:
			case <-ctx.Done():
				return
			}
		}
	}()
	// The watcher may not be there yet when the first comes: so there are more.
	id := uint32(0)
	var seen page.Change
	for i := 0; seen.Story == 0; i++ {
		id = must(s.Submit("ada", fmt.Sprint(i), page.Story{Title: "News"}))
		select {
		case seen = <-changes:
		case <-time.After(200 * time.Millisecond):
		}
	}
	if !seen.New {
		t.Errorf("the change is %+v, want a new story", seen)
	}
	must(s.Reply("bob", "c", id, 0, "hello"))
	for seen.Story != id || seen.Comments != 1 {
		seen = <-changes
	}
	cancel()
	<-ended
}

func seeded(t *testing.T, s seed.Store) {
	plan := seed.Plan{Users: 30, Stories: 12, Comments: 200}
	hash := func(string) (page.Password, error) {
		return page.Password{Salt: []byte{1}, Hash: []byte{2}, Rounds: 1}, nil
	}
	for range 2 { // the second time it is there
		wants(t, "loading", plan.Load(s, hash, func(int, int) {}), nil)
	}
	wants(t, "a server", s.Beat(page.Server{PID: 7, Started: time.Now(), Requests: 3}), nil)
	if list := must(s.Servers()); len(list) != 1 || list[0].PID != 7 || list[0].Requests != 3 {
		t.Errorf("the servers are %+v", list)
	}
	for i := range plan.Stories {
		want := plan.Thread(i)
		wants(t, "a story", s.Story(uint32(i+1), 0, func(st *page.Story, list []page.Comment) error {
			if st.Comments != len(want) || len(list) != len(want) || st.Title != plan.Story(i).Title {
				t.Errorf("story %d has %d and %d comments, want %d", i+1, st.Comments, len(list), len(want))
				return nil
			}
			for n := range list {
				if list[n].HTML != page.Markup(n+1, want[n].Author, want[n].At, want[n].Text) || list[n].Author != want[n].Author || list[n].Parent != want[n].Parent {
					t.Errorf("comment %d of story %d is %+v, want %+v", n+1, i+1, list[n], want[n])
				}
			}
			return nil
		}), nil)
	}
}
