package engines

import (
	"errors"
	"reflect"
	"testing"

	"github.com/everheap/everheap/bench/peers/model"
)

const n = 200 // users and parts

// everyEngine runs a test with every available engine.
func everyEngine(t *testing.T, test func(t *testing.T, name string, info Info)) {
	for _, name := range Names() {
		t.Run(name, func(t *testing.T) { test(t, name, New(name).Info()) })
	}
	t.Log("not there:", Missing())
}

// opened opens an engine, and a session of it, until the test ends.
func opened(t *testing.T, name, dir string, d Durability) (Engine, Session) {
	t.Helper()
	e := New(name)
	must(t, e.Open(Options{Dir: dir, Durability: d, Writers: 1}))
	s, err := e.Session()
	must(t, err)
	return e, s
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func closed(t *testing.T, e Engine, s Session) {
	t.Helper()
	must(t, s.Close())
	must(t, e.Close())
}

func loadUsers(s Session) error {
	return s.Load(0, n, func(i int, u *model.User) { model.FillUser(u, i, 0) })
}

// verify compares all users with the expected ones.
func verify(t *testing.T, s Session, want map[string]model.User) {
	t.Helper()
	for key, w := range want {
		var u model.User
		must(t, s.Get(key, &u))
		if !reflect.DeepEqual(u, w) {
			t.Fatalf("%s is %+v, want %+v", key, u, w)
		}
	}
	count, karma := 0, int64(0)
	must(t, s.Scan(func(u *model.User) { count++; karma += u.Karma }))
	for _, w := range want {
		karma -= w.Karma
	}
	if count != len(want) || karma != 0 {
		t.Fatalf("the scan has %d users, want %d; the sum of Karma differs by %d", count, len(want), karma)
	}
}

// Stored users are read back, by each way of reading, and after the engine was closed.
func TestEngines_ReadBack(t *testing.T) {
	everyEngine(t, func(t *testing.T, name string, info Info) {
		if info.GraphOnly {
			t.Skip("it has the graph only")
		}
		for _, d := range []Durability{Async, Sync} {
			if d == Sync && !info.Durable {
				continue
			}
			dir := t.TempDir()
			e, s := opened(t, name, dir, d)
			must(t, loadUsers(s))
			want := map[string]model.User{}
			for i := range n {
				var u model.User
				model.FillUser(&u, i, 0)
				want[model.UserKey(i)] = u
			}
			verify(t, s, want)
			var u model.User
			model.FillUser(&u, 7, 1)
			must(t, s.Put(model.UserKey(7), &u))
			want[model.UserKey(7)] = u
			must(t, s.Update(model.UserKey(8), func(u *model.User) { u.Karma = 88 }))
			w := want[model.UserKey(8)]
			w.Karma = 88
			want[model.UserKey(8)] = w
			must(t, s.Load(n, n+1, func(i int, u *model.User) { model.FillUser(u, i, 0) }))
			model.FillUser(&u, n, 0)
			want[model.UserKey(n)] = u
			verify(t, s, want)
			readers(t, s, info, want)
			if saver, ok := e.(Saver); ok {
				must(t, saver.Save())
			}
			closed(t, e, s)
			if info.Persistent {
				e, s = opened(t, name, dir, d)
				verify(t, s, want)
				closed(t, e, s)
			}
		}
	})
}

// readers tests the other ways of reading that a session has.
func readers(t *testing.T, s Session, info Info, want map[string]model.User) {
	t.Helper()
	i, sum := 0, uint64(0)
	next := func() string { i++; return model.UserKey(i - 1) }
	if g, ok := s.(TxGetter); ok {
		var u model.User
		must(t, g.GetTx(n, next, &u))
		if w := want[model.UserKey(n-1)]; !reflect.DeepEqual(u, w) {
			t.Fatalf("the last of a transaction is %+v, want %+v", u, w)
		}
	}
	if info.ZeroCopy {
		w := want[model.UserKey(8)]
		sum = w.ID + uint64(w.Karma) + uint64(len(w.Name))
		got, err := s.(ZeroCopier).GetZC(model.UserKey(8))
		i = 8
		again, err2 := s.(ZeroCopier).GetZCTx(1, next)
		if got != sum || again != sum || err != nil || err2 != nil {
			t.Fatalf("in place: %d %d, want %d: %v %v", got, again, sum, err, err2)
		}
	}
	if info.Ordered {
		var ids []uint64
		must(t, s.(Ranger).Range(model.UserKey(5), 4, func(u *model.User) { ids = append(ids, u.ID) }))
		if !reflect.DeepEqual(ids, []uint64{5, 6, 7, 8}) {
			t.Fatalf("the range has %v", ids)
		}
	}
}

// A reader sees its version while another session writes.
func TestEngines_HoldVersions(t *testing.T) {
	everyEngine(t, func(t *testing.T, name string, info Info) {
		if !info.Versions {
			t.Skip("its readers hold no version while others write")
		}
		e, s := opened(t, name, t.TempDir(), Async)
		defer closed(t, e, s)
		must(t, loadUsers(s))
		other, err := e.Session()
		must(t, err)
		defer other.Close()
		var first, second, now model.User
		must(t, s.(Holder).Hold(model.UserKey(3), &first, &second, func() error {
			return other.Update(model.UserKey(3), func(u *model.User) { u.Karma = -1 })
		}))
		must(t, s.Get(model.UserKey(3), &now))
		if !reflect.DeepEqual(first, second) || now.Karma != -1 {
			t.Fatalf("the reader saw %+v, then %+v; now it is %+v", first, second, now)
		}
	})
}

// A page has the newest posts of its thread, and authors gain Karma.
func TestEngines_Forum(t *testing.T) {
	everyEngine(t, func(t *testing.T, name string, info Info) {
		if !info.Forum {
			t.Skip("it takes no part in the forum")
		}
		e, s := opened(t, name, t.TempDir(), Async)
		defer closed(t, e, s)
		f := s.(Forum)
		const threads, per = 3, 5
		must(t, f.LoadForum(1000, threads, per, func(th, i int) *model.Post {
			return model.NewPost(uint64(i*threads+th+1), th, 1, 100)
		}))
		must(t, f.Login(model.UserKey(4), 1234))
		p := model.NewPost(100, 1, 4, 200)
		must(t, f.Post(p, model.UserKey(4)))
		hs := make([]model.PostHeader, 4)
		count, err := f.Page(1, hs)
		must(t, err)
		if count != 4 || hs[0] != p.PostHeader || hs[1].ID != 14 || hs[3].ID != 8 {
			t.Fatalf("a page of %d: %+v", count, hs)
		}
		if name == "redis" {
			return // its users are hashes, which Get does not read
		}
		var u, w model.User
		must(t, s.Get(model.UserKey(4), &u))
		model.FillUser(&w, 4, 0)
		if w.Created, w.Karma = 1234, w.Karma+2; !reflect.DeepEqual(u, w) {
			t.Fatalf("the author is %+v, want %+v", u, w)
		}
	})
}

// The traversal reaches every part.
func TestEngines_Graph(t *testing.T) {
	everyEngine(t, func(t *testing.T, name string, info Info) {
		if info.NoGraph {
			t.Skip("it takes no part in the graph")
		}
		e, s := opened(t, name, t.TempDir(), Async)
		defer closed(t, e, s)
		parts := model.DrawGraph(n)
		want := int64(0)
		for _, p := range parts {
			want += p.X + p.Y
		}
		must(t, s.(Graph).LoadGraph(parts))
		visited, sum, err := s.(Graph).Traverse(n)
		if visited != n || sum != want || err != nil {
			t.Fatalf("visited %d with the sum %d, want %d and %d: %v", visited, sum, n, want, err)
		}
	})
}

// An index finds exactly the users with the present addresses.
func TestEngines_Indexed(t *testing.T) {
	everyEngine(t, func(t *testing.T, name string, info Info) {
		if !info.Indexed {
			t.Skip("it keeps no index")
		}
		dir := t.TempDir()
		e := New(name)
		must(t, e.Open(Options{Dir: dir, Durability: Async, Writers: 1, Indexed: true}))
		s, err := e.Session()
		must(t, err)
		defer closed(t, e, s)
		must(t, loadUsers(s))
		x := s.(Indexer)
		find := func(email string, u *model.User) {
			t.Helper()
			sum, err := x.ByEmail(email)
			if u == nil && !errors.Is(err, ErrNotFound) || u != nil && (err != nil || sum != u.ID+uint64(u.Karma)+uint64(len(u.Name))) {
				t.Fatalf("%s finds %d, %v; want %+v", email, sum, err, u)
			}
		}
		var u, other model.User
		model.FillUser(&u, 7, 0)
		model.FillUser(&other, 8, 0)
		find(u.Email, &u)
		u.Karma = 700
		must(t, x.PutIndexed(model.UserKey(7), &u))
		find(u.Email, &u)
		old := u.Email
		u.Email = "new@example.org"
		must(t, x.PutIndexed(model.UserKey(7), &u))
		find(old, nil)
		find(u.Email, &u)
		other.Email = "new@example.org"
		if err := x.PutIndexed(model.UserKey(8), &other); !errors.Is(err, ErrDuplicate) {
			t.Fatalf("an address that another user has: %v", err)
		}
		model.FillUser(&other, 8, 0)
		find(other.Email, &other)
		find("new@example.org", &u)
	})
}
