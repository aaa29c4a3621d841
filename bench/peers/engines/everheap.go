package engines

import (
	"context"
	"errors"
	"iter"
	"path/filepath"

	"github.com/everheap/everheap"

	"github.com/everheap/everheap/bench/peers/model"
)

func init() {
	register("everheap", func() Engine {
		return &everheapEngine[everheap.Map[string, model.User]]{openUsers: func(sp *everheap.Space, opts ...everheap.TypeOption) (everheap.Map[string, model.User], error) {
			return everheap.OpenMap[string, model.User](sp, "users", opts...)
		}}
	})
	register("everheap-sorted", func() Engine {
		return &everheapEngine[everheap.Sorted[string, model.User]]{sorted: true, openUsers: func(sp *everheap.Space, opts ...everheap.TypeOption) (everheap.Sorted[string, model.User], error) {
			return everheap.OpenSorted[string, model.User](sp, "users", opts...)
		}}
	})
}

// userMap is the common interface of a Map and a Sorted.
type userMap interface {
	Get(sc everheap.Scope, key string) (model.User, error)
	Peek(tx *everheap.Tx, key string) *model.User
	Set(sc everheap.Scope, key string, u model.User) error
	Modify(sc everheap.Scope, key string, fn func(u *model.User) error) error
	All(tx *everheap.Tx) iter.Seq2[string, *model.User]
}

// everheapEngine is Everheap used as its README says: users in a Map or a Sorted, posts in
// a Map, and for each thread a List of headers. Each method of a Session is one transaction.
type everheapEngine[M userMap] struct {
	sp        *everheap.Space
	openUsers func(sp *everheap.Space, opts ...everheap.TypeOption) (M, error)
	sorted    bool
	users     M
	posts     everheap.Map[uint64, model.Post]
	threads   everheap.Map[uint64, everheap.List[model.PostHeader]]
	graph     everheap.List[everheap.Ref[ehPart]]
}

type ehPart struct {
	ID, X, Y, DocID int64
	To              [3]everheap.Ref[ehPart]
}

func (e *everheapEngine[M]) Info() Info {
	notes := "a Map; async = Periodic (flushed every 100 ms), sync = Durable; get = Get (a private copy), get-zc = Peek in a View"
	if e.sorted {
		notes = "a Sorted; otherwise the same"
	}
	return Info{Version: "this tree", Persistent: true, Forum: !e.sorted, Durable: !e.sorted, MultiProcess: !e.sorted, Indexed: !e.sorted, ZeroCopy: true,
		Versions: true, Ordered: e.sorted, NoGraph: e.sorted, Notes: notes}
}

func (e *everheapEngine[M]) Open(o Options) (err error) {
	var opts []everheap.Option
	if o.Durability == Sync {
		opts = append(opts, everheap.WithDurability(everheap.Durable))
	}
	if o.ReadOnly {
		opts = append(opts, everheap.WithReadOnly())
	}
	if e.sp, err = everheap.Open(filepath.Join(o.Dir, "space"), opts...); err != nil {
		return err
	}
	var types []everheap.TypeOption
	if o.Indexed {
		types = append(types, everheap.WithIndex("email", "Email", everheap.Unique))
	}
	if e.users, err = e.openUsers(e.sp, types...); err != nil {
		return err
	}
	if o.ReadOnly {
		return nil
	}
	if e.posts, err = everheap.OpenMap[uint64, model.Post](e.sp, "posts"); err != nil {
		return err
	}
	if e.threads, err = everheap.OpenMap[uint64, everheap.List[model.PostHeader]](e.sp, "threads"); err != nil {
		return err
	}
	e.graph, err = everheap.OpenList[everheap.Ref[ehPart]](e.sp, "graph")
	return err
}

func (e *everheapEngine[M]) Close() error              { return e.sp.Close() }
func (e *everheapEngine[M]) Session() (Session, error) { return e.session(), nil }

func (e *everheapEngine[M]) session() Session {
	s := everheapSession[M]{e: e}
	if m, ok := any(e.users).(everheap.Sorted[string, model.User]); ok {
		return &sortedSession{everheapSession[everheap.Sorted[string, model.User]]{e: any(e).(*everheapEngine[everheap.Sorted[string, model.User]])}, m}
	}
	return &s
}

type everheapSession[M userMap] struct{ e *everheapEngine[M] }

// sortedSession has ranges besides.
type sortedSession struct {
	everheapSession[everheap.Sorted[string, model.User]]
	users everheap.Sorted[string, model.User]
}

// Range implements Ranger.
func (s *sortedSession) Range(from string, n int, fn func(u *model.User)) error {
	return s.e.sp.View(func(tx *everheap.Tx) error {
		for _, p := range s.users.Range(tx, everheap.Including(from), everheap.Unbounded[string]()) {
			u := *everheap.Clone(p) // decoded and kept, as with the others
			fn(&u)
			if n--; n == 0 {
				break
			}
		}
		return nil
	})
}

func (s *everheapSession[M]) Close() error { return nil }

func (s *everheapSession[M]) Load(lo, hi int, gen func(int, *model.User)) error {
	return s.e.sp.Update(context.Background(), func(tx *everheap.Tx) error {
		var u model.User
		for i := lo; i < hi; i++ {
			gen(i, &u)
			if err := s.e.users.Set(tx, model.UserKey(i), u); err != nil {
				return err
			}
		}
		return nil
	})
}

func (s *everheapSession[M]) Get(key string, u *model.User) (err error) {
	*u, err = s.e.users.Get(s.e.sp, key)
	return err
}

func (s *everheapSession[M]) GetTx(n int, key func() string, u *model.User) error {
	return s.e.sp.View(func(tx *everheap.Tx) (err error) {
		for ; n > 0 && err == nil; n-- {
			*u, err = s.e.users.Get(tx, key())
		}
		return err
	})
}

func (s *everheapSession[M]) GetZC(key string) (r uint64, err error) {
	err = s.e.sp.View(func(tx *everheap.Tx) error {
		p := s.e.users.Peek(tx, key)
		if p == nil {
			return ErrNotFound
		}
		r = p.ID + uint64(p.Karma) + uint64(len(p.Name))
		return nil
	})
	return r, err
}

func (s *everheapSession[M]) GetZCTx(n int, key func() string) (r uint64, err error) {
	err = s.e.sp.View(func(tx *everheap.Tx) error {
		for ; n > 0; n-- {
			p := s.e.users.Peek(tx, key())
			if p == nil {
				return ErrNotFound
			}
			r += p.ID + uint64(p.Karma) + uint64(len(p.Name))
		}
		return nil
	})
	return r, err
}

func (s *everheapSession[M]) Put(key string, u *model.User) error {
	return s.e.users.Set(s.e.sp, key, *u)
}

func (s *everheapSession[M]) Update(key string, fn func(*model.User)) error {
	return s.e.users.Modify(s.e.sp, key, func(u *model.User) error { fn(u); return nil })
}

func (s *everheapSession[M]) Scan(fn func(*model.User)) error {
	return s.e.sp.View(func(tx *everheap.Tx) error {
		for _, p := range s.e.users.All(tx) {
			u := *p
			fn(&u)
		}
		return nil
	})
}

// PutIndexed implements Indexer: a Set keeps the indexes.
func (s *everheapSession[M]) PutIndexed(key string, u *model.User) error {
	err := s.Put(key, u)
	if errors.Is(err, everheap.ErrDuplicate) {
		return ErrDuplicate
	}
	return err
}

// ByEmail implements Indexer.
func (s *everheapSession[M]) ByEmail(email string) (r uint64, err error) {
	m, ok := any(s.e.users).(everheap.Map[string, model.User])
	if !ok {
		return 0, errors.ErrUnsupported
	}
	byEmail := everheap.IndexOf[model.User, string](m, "email")
	err = s.e.sp.View(func(tx *everheap.Tx) error {
		_, p := byEmail.Peek(tx, email)
		if p == nil {
			return ErrNotFound
		}
		r = p.ID + uint64(p.Karma) + uint64(len(p.Name))
		return nil
	})
	return r, err
}

// Hold implements Holder.
func (s *everheapSession[M]) Hold(key string, first, second *model.User, during func() error) error {
	return s.e.sp.View(func(tx *everheap.Tx) (err error) {
		if *first, err = s.e.users.Get(tx, key); err != nil {
			return err
		}
		if err = during(); err != nil {
			return err
		}
		*second, err = s.e.users.Get(tx, key)
		return err
	})
}
