package engines

import (
	"runtime"
	"strings"
	"sync"

	"github.com/everheap/everheap/bench/peers/model"
)

func init() { register("sync-map", func() Engine { return &syncMap{} }) }

// syncMap is a sync.Map of pointers to users, which are replaced and never changed.
type syncMap struct{ m sync.Map }

func (e *syncMap) Info() Info {
	return Info{Version: runtime.Version(), Notes: "sync.Map of string to *User; put stores a new *User; no transactions, no durability", InMemory: true, NoGraph: true}
}
func (e *syncMap) Open(Options) error        { return nil }
func (e *syncMap) Close() error              { e.m.Clear(); runtime.GC(); return nil }
func (e *syncMap) Session() (Session, error) { return &syncMapSession{e}, nil }

type syncMapSession struct{ e *syncMap }

func (s *syncMapSession) Close() error { return nil }
func (s *syncMapSession) Load(lo, hi int, gen func(int, *model.User)) error {
	for i := lo; i < hi; i++ {
		u := new(model.User)
		gen(i, u)
		s.e.m.Store(model.UserKey(i), u)
	}
	return nil
}

func (s *syncMapSession) Get(key string, u *model.User) error {
	p, ok := s.e.m.Load(key)
	if !ok {
		return ErrNotFound
	}
	*u = *p.(*model.User)
	return nil
}

func (s *syncMapSession) Put(key string, u *model.User) error {
	n := new(model.User)
	*n = *u
	n.Tags = append([]string(nil), u.Tags...)
	s.e.m.Store(strings.Clone(key), n)
	return nil
}

func (s *syncMapSession) Update(key string, fn func(*model.User)) error {
	for {
		p, ok := s.e.m.Load(key)
		if !ok {
			return ErrNotFound
		}
		n := new(model.User)
		*n = *p.(*model.User)
		fn(n)
		if s.e.m.CompareAndSwap(strings.Clone(key), p, n) {
			return nil
		}
	}
}

func (s *syncMapSession) Scan(fn func(*model.User)) error {
	s.e.m.Range(func(_, v any) bool {
		u := *v.(*model.User)
		fn(&u)
		return true
	})
	return nil
}
