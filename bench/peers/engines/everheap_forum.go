package engines

import (
	"context"
	"strings"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/bench/peers/model"
)

func (s *everheapSession[M]) LoadForum(users, threads, per int, mk func(th, i int) *model.Post) error {
	for lo := 0; lo < users; lo += 1000 {
		if err := s.Load(lo, lo+1000, func(i int, u *model.User) { model.FillUser(u, i, 0) }); err != nil {
			return err
		}
	}
	for th := 0; th < threads; th++ {
		err := s.e.sp.Update(context.Background(), func(tx *everheap.Tx) error {
			for i := 0; i < per; i++ {
				if err := s.add(tx, mk(th, i)); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *everheapSession[M]) add(tx *everheap.Tx, p *model.Post) error {
	if err := s.e.posts.Set(tx, p.ID, *p); err != nil {
		return err
	}
	var l everheap.List[model.PostHeader]
	if q := s.e.threads.Peek(tx, p.Thread); q != nil {
		l = *q
	} else {
		var err error
		if l, err = everheap.NewList[model.PostHeader](tx); err != nil {
			return err
		}
		if err = s.e.threads.Set(tx, p.Thread, l); err != nil {
			return err
		}
	}
	return l.Append(tx, p.PostHeader)
}

func (s *everheapSession[M]) Login(key string, now int64) error {
	return s.e.users.Modify(s.e.sp, key, func(u *model.User) error { u.Created = now; u.Karma++; return nil })
}

func (s *everheapSession[M]) Post(p *model.Post, author string) error {
	return s.e.sp.Update(context.Background(), func(tx *everheap.Tx) error {
		if err := s.add(tx, p); err != nil {
			return err
		}
		return s.e.users.Modify(tx, author, func(u *model.User) error { u.Karma++; return nil })
	})
}

func (s *everheapSession[M]) Page(th uint64, hs []model.PostHeader) (n int, err error) {
	err = s.e.sp.View(func(tx *everheap.Tx) error {
		q := s.e.threads.Peek(tx, th)
		if q == nil {
			return ErrNotFound
		}
		n = 0
		for _, h := range q.Backward(tx) {
			if n == len(hs) {
				break
			}
			hs[n] = *h
			hs[n].Title = strings.Clone(h.Title) // ours after the transaction, as the byte stores make it
			n++
		}
		return nil
	})
	return n, err
}

func (s *everheapSession[M]) LoadGraph(g []model.Part) error {
	refs := make([]everheap.Ref[ehPart], len(g))
	const batch = 1000
	for lo := 0; lo < len(g); lo += batch {
		err := s.e.sp.Update(context.Background(), func(tx *everheap.Tx) (err error) {
			for i := lo; i < min(lo+batch, len(g)); i++ {
				a := &g[i]
				if refs[i], err = everheap.New(tx, ehPart{ID: a.ID, X: a.X, Y: a.Y, DocID: a.DocID}); err != nil {
					return err
				}
			}
			return s.e.graph.Append(tx, refs[lo:min(lo+batch, len(g))]...)
		})
		if err != nil {
			return err
		}
	}
	for lo := 0; lo < len(g); lo += batch {
		err := s.e.sp.Update(context.Background(), func(tx *everheap.Tx) error {
			for i := lo; i < min(lo+batch, len(g)); i++ {
				a := &g[i]
				p := ehPart{ID: a.ID, X: a.X, Y: a.Y, DocID: a.DocID}
				for k, t := range a.To {
					p.To[k] = refs[t]
				}
				if err := refs[i].Set(tx, p); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *everheapSession[M]) Traverse(n int) (visited int, sum int64, err error) {
	err = s.e.sp.View(func(tx *everheap.Tx) error {
		seen := make([]bool, n)
		stack := []everheap.Ref[ehPart]{*s.e.graph.Peek(tx, 0)}
		visited, sum = 0, 0
		for len(stack) > 0 {
			r := stack[len(stack)-1]
			stack = stack[:len(stack)-1]
			p := r.Peek(tx)
			if seen[p.ID] {
				continue
			}
			seen[p.ID] = true
			visited++
			sum += p.X + p.Y
			for k := len(p.To) - 1; k >= 0; k-- {
				stack = append(stack, p.To[k])
			}
		}
		return nil
	})
	return visited, sum, err
}
