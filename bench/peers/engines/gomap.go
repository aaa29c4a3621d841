package engines

import (
	"bufio"
	"encoding/gob"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"

	"github.com/everheap/everheap/bench/peers/model"
)

func init() { register("go-map", func() Engine { return &goMap{} }) }

type goThread struct{ posts []*model.Post }

// goMap is the reference: plain Go memory. Its only transaction is a lock, and its data outlive the
// process in a gob file that Save writes, as many programs do.
type goMap struct {
	mu      sync.RWMutex
	m       map[string]*model.User
	emails  map[string]*model.User // nil: no index
	posts   map[uint64]*model.Post
	threads map[uint64]*goThread
	parts   map[int64]*model.Part
	dir     string
}

func (e *goMap) Info() Info {
	return Info{Version: runtime.Version(), Persistent: true, Snapshot: "snapshot.gob", InMemory: true, Forum: true, ZeroCopy: true, Indexed: true,
		Notes: "map[string]*User and a sync.RWMutex; get copies the struct; durable only as a gob file of everything, written on request"}
}

func (e *goMap) Open(o Options) error {
	e.m = map[string]*model.User{}
	e.emails = nil
	if o.Indexed {
		e.emails = map[string]*model.User{}
	}
	e.posts = map[uint64]*model.Post{}
	e.threads = map[uint64]*goThread{}
	e.parts = map[int64]*model.Part{}
	e.dir = o.Dir
	f, err := os.Open(filepath.Join(o.Dir, "snapshot.gob"))
	if err != nil {
		return nil
	}
	defer f.Close()
	return gob.NewDecoder(bufio.NewReaderSize(f, 1<<20)).Decode(&e.m)
}

// Save implements Saver.
func (e *goMap) Save() error {
	f, err := os.Create(filepath.Join(e.dir, "snapshot.gob"))
	if err != nil {
		return err
	}
	w := bufio.NewWriterSize(f, 1<<20)
	if err := gob.NewEncoder(w).Encode(e.m); err != nil {
		return err
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return f.Close()
}

func (e *goMap) Close() error {
	e.m, e.posts, e.threads, e.parts = nil, nil, nil, nil
	runtime.GC()
	return nil
}

func (e *goMap) Session() (Session, error) { return &goMapSession{e: e}, nil }

type goMapSession struct{ e *goMap }

func (s *goMapSession) Close() error { return nil }

func (s *goMapSession) Load(lo, hi int, gen func(int, *model.User)) error {
	e := s.e
	e.mu.Lock()
	defer e.mu.Unlock()
	for i := lo; i < hi; i++ {
		u := new(model.User)
		gen(i, u)
		e.m[model.UserKey(i)] = u
		if e.emails != nil {
			e.emails[u.Email] = u
		}
	}
	return nil
}

func (s *goMapSession) Get(key string, u *model.User) error {
	e := s.e
	e.mu.RLock()
	p := e.m[key]
	if p == nil {
		e.mu.RUnlock()
		return ErrNotFound
	}
	*u = *p
	e.mu.RUnlock()
	return nil
}

func (s *goMapSession) GetTx(n int, key func() string, u *model.User) error {
	e := s.e
	e.mu.RLock()
	defer e.mu.RUnlock()
	for ; n > 0; n-- {
		p := e.m[key()]
		if p == nil {
			return ErrNotFound
		}
		*u = *p
	}
	return nil
}

func (s *goMapSession) GetZC(key string) (uint64, error) {
	e := s.e
	e.mu.RLock()
	p := e.m[key]
	if p == nil {
		e.mu.RUnlock()
		return 0, ErrNotFound
	}
	r := p.ID + uint64(p.Karma) + uint64(len(p.Name))
	e.mu.RUnlock()
	return r, nil
}

func (s *goMapSession) GetZCTx(n int, key func() string) (r uint64, err error) {
	e := s.e
	e.mu.RLock()
	defer e.mu.RUnlock()
	for ; n > 0; n-- {
		p := e.m[key()]
		if p == nil {
			return 0, ErrNotFound
		}
		r += p.ID + uint64(p.Karma) + uint64(len(p.Name))
	}
	return r, nil
}

func (s *goMapSession) Put(key string, u *model.User) error {
	n := new(model.User)
	*n = *u
	n.Tags = append([]string(nil), u.Tags...)
	e := s.e
	e.mu.Lock()
	// the stored key is kept: assigning through it avoids cloning the key
	if p, ok := e.m[key]; ok {
		*p = *n
	} else {
		e.m[strings.Clone(key)] = n
	}
	e.mu.Unlock()
	return nil
}

// PutIndexed implements Indexer.
func (s *goMapSession) PutIndexed(key string, u *model.User) error {
	tags := append([]string(nil), u.Tags...)
	e := s.e
	e.mu.Lock()
	defer e.mu.Unlock()
	p := e.m[key]
	if p == nil {
		return ErrNotFound
	}
	if other := e.emails[u.Email]; other != p {
		if other != nil {
			return ErrDuplicate
		}
		delete(e.emails, p.Email)
		e.emails[u.Email] = p
	}
	*p = *u
	p.Tags = tags
	return nil
}

// ByEmail implements Indexer.
func (s *goMapSession) ByEmail(email string) (uint64, error) {
	e := s.e
	e.mu.RLock()
	p := e.emails[email]
	if p == nil {
		e.mu.RUnlock()
		return 0, ErrNotFound
	}
	r := p.ID + uint64(p.Karma) + uint64(len(p.Name))
	e.mu.RUnlock()
	return r, nil
}

func (s *goMapSession) Update(key string, fn func(*model.User)) error {
	e := s.e
	e.mu.Lock()
	defer e.mu.Unlock()
	p := e.m[key]
	if p == nil {
		return ErrNotFound
	}
	fn(p)
	return nil
}

func (s *goMapSession) Scan(fn func(*model.User)) error {
	e := s.e
	e.mu.RLock()
	defer e.mu.RUnlock()
	for _, p := range e.m {
		u := *p
		fn(&u)
	}
	return nil
}

func (s *goMapSession) LoadForum(users, threads, per int, mk func(th, i int) *model.Post) error {
	s.Load(0, users, func(i int, u *model.User) { model.FillUser(u, i, 0) })
	for th := 0; th < threads; th++ {
		for i := 0; i < per; i++ {
			s.e.addPost(mk(th, i))
		}
	}
	return nil
}

func (e *goMap) addPost(p *model.Post) {
	e.posts[p.ID] = p
	t := e.threads[p.Thread]
	if t == nil {
		t = &goThread{}
		e.threads[p.Thread] = t
	}
	t.posts = append(t.posts, p)
}

func (s *goMapSession) Login(key string, now int64) error {
	return s.Update(key, func(u *model.User) { u.Created = now; u.Karma++ })
}

func (s *goMapSession) Post(p *model.Post, author string) error {
	c := *p
	c.Body = strings.Clone(p.Body) // the byte stores copy it too
	e := s.e
	e.mu.Lock()
	defer e.mu.Unlock()
	u := e.m[author]
	if u == nil {
		return ErrNotFound
	}
	e.addPost(&c)
	u.Karma++
	return nil
}

func (s *goMapSession) Page(th uint64, hs []model.PostHeader) (n int, err error) {
	e := s.e
	e.mu.RLock()
	defer e.mu.RUnlock()
	return e.page(th, hs)
}

func (e *goMap) page(th uint64, hs []model.PostHeader) (n int, err error) {
	t := e.threads[th]
	if t == nil {
		return 0, ErrNotFound
	}
	for i := len(t.posts) - 1; i >= 0 && n < len(hs); i-- {
		hs[n] = t.posts[i].PostHeader
		n++
	}
	return n, nil
}

func (s *goMapSession) LoadGraph(g []model.Part) error {
	for i := range g {
		a := g[i]
		s.e.parts[a.ID] = &a
	}
	return nil
}

func (s *goMapSession) Traverse(n int) (int, int64, error) {
	return dfs(n, func(id int64, a *model.Part) error {
		p := s.e.parts[id]
		if p == nil {
			return ErrNotFound
		}
		*a = *p
		return nil
	})
}
