package engines

import (
	"encoding/binary"
	"fmt"

	"github.com/hashicorp/go-memdb"

	"github.com/everheap/everheap/bench/peers/model"
)

func init() { register("go-memdb", func() Engine { return &memdbEng{} }) }

// memdbEng: immutable radix trees, MVCC snapshots, in memory only. Records are
// pointers that must not be modified: an update inserts a changed copy.
type memdbEng struct{ db *memdb.MemDB }

type memUser struct {
	Key string
	model.User
}

type memPost struct{ model.Post }

// threadIdx indexes posts by (thread, id), big-endian.
type threadIdx struct{}

func (threadIdx) FromArgs(args ...interface{}) ([]byte, error) {
	var b []byte
	for _, a := range args {
		u, ok := a.(uint64)
		if !ok {
			return nil, fmt.Errorf("want uint64")
		}
		b = binary.BigEndian.AppendUint64(b, u)
	}
	return b, nil
}

func (threadIdx) FromObject(o interface{}) (bool, []byte, error) {
	p := o.(*memPost)
	return true, binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, p.Thread), p.ID), nil
}

type postIdx struct{}

func (postIdx) FromArgs(args ...interface{}) ([]byte, error) { return threadIdx{}.FromArgs(args...) }
func (postIdx) FromObject(o interface{}) (bool, []byte, error) {
	return true, binary.BigEndian.AppendUint64(nil, o.(*memPost).ID), nil
}

func (e *memdbEng) Info() Info {
	return Info{Version: moduleVersion("github.com/hashicorp/go-memdb"), InMemory: true, Versions: true, NoGraph: true, Ordered: true, Forum: true,
		Notes: "users by StringFieldIndex, posts by a custom (thread, id) indexer"}
}

func (e *memdbEng) Open(Options) (err error) {
	e.db, err = memdb.NewMemDB(&memdb.DBSchema{Tables: map[string]*memdb.TableSchema{
		"user": {Name: "user", Indexes: map[string]*memdb.IndexSchema{
			"id": {Name: "id", Unique: true, Indexer: &memdb.StringFieldIndex{Field: "Key"}}}},
		"post": {Name: "post", Indexes: map[string]*memdb.IndexSchema{
			"id":     {Name: "id", Unique: true, Indexer: postIdx{}},
			"thread": {Name: "thread", Unique: true, Indexer: threadIdx{}}}},
	}})
	return err
}

func (e *memdbEng) Close() error              { e.db = nil; return nil }
func (e *memdbEng) Session() (Session, error) { return &memdbSession{e}, nil }

type memdbSession struct{ e *memdbEng }

func (s *memdbSession) Close() error { return nil }

func (s *memdbSession) Load(lo, hi int, gen func(int, *model.User)) error {
	tx := s.e.db.Txn(true)
	defer tx.Abort()
	for i := lo; i < hi; i++ {
		u := &memUser{Key: model.UserKey(i)}
		gen(i, &u.User)
		if err := tx.Insert("user", u); err != nil {
			return err
		}
	}
	tx.Commit()
	return nil
}

func find(tx *memdb.Txn, key string) (*memUser, error) {
	r, err := tx.First("user", "id", key)
	if err != nil {
		return nil, err
	}
	if r == nil {
		return nil, ErrNotFound
	}
	return r.(*memUser), nil
}

func (s *memdbSession) Get(key string, u *model.User) error {
	p, err := find(s.e.db.Txn(false), key)
	if err != nil {
		return err
	}
	*u = p.User
	return nil
}

func (s *memdbSession) GetTx(n int, key func() string, u *model.User) error {
	tx := s.e.db.Txn(false)
	for ; n > 0; n-- {
		p, err := find(tx, key())
		if err != nil {
			return err
		}
		*u = p.User
	}
	return nil
}

func (s *memdbSession) Put(key string, u *model.User) error {
	n := &memUser{Key: string(append([]byte(nil), key...)), User: *u}
	n.Tags = append([]string(nil), u.Tags...)
	tx := s.e.db.Txn(true)
	defer tx.Abort()
	if err := tx.Insert("user", n); err != nil {
		return err
	}
	tx.Commit()
	return nil
}

func (s *memdbSession) upd(tx *memdb.Txn, key string, fn func(*model.User)) error {
	p, err := find(tx, key)
	if err != nil {
		return err
	}
	n := *p
	fn(&n.User)
	return tx.Insert("user", &n)
}

func (s *memdbSession) Update(key string, fn func(*model.User)) error {
	tx := s.e.db.Txn(true)
	defer tx.Abort()
	if err := s.upd(tx, key, fn); err != nil {
		return err
	}
	tx.Commit()
	return nil
}

func (s *memdbSession) Scan(fn func(*model.User)) error {
	it, err := s.e.db.Txn(false).Get("user", "id")
	if err != nil {
		return err
	}
	for o := it.Next(); o != nil; o = it.Next() {
		u := o.(*memUser).User
		fn(&u)
	}
	return nil
}

func (s *memdbSession) LoadForum(users, threads, per int, mk func(th, i int) *model.Post) error {
	for lo := 0; lo < users; lo += 1000 {
		if err := s.Load(lo, min(lo+1000, users), func(i int, u *model.User) { model.FillUser(u, i, 0) }); err != nil {
			return err
		}
	}
	for th := 0; th < threads; th++ {
		tx := s.e.db.Txn(true)
		for i := 0; i < per; i++ {
			if err := tx.Insert("post", &memPost{*mk(th, i)}); err != nil {
				return err
			}
		}
		tx.Commit()
	}
	return nil
}

func (s *memdbSession) Login(key string, now int64) error {
	return s.Update(key, func(u *model.User) { u.Created = now; u.Karma++ })
}

func (s *memdbSession) Post(p *model.Post, author string) error {
	q := &memPost{*p}
	q.Body = string(append([]byte(nil), p.Body...))
	tx := s.e.db.Txn(true)
	defer tx.Abort()
	if err := tx.Insert("post", q); err != nil {
		return err
	}
	if err := s.upd(tx, author, func(u *model.User) { u.Karma++ }); err != nil {
		return err
	}
	tx.Commit()
	return nil
}

func (s *memdbSession) Page(th uint64, hs []model.PostHeader) (n int, err error) {
	it, err := s.e.db.Txn(false).ReverseLowerBound("post", "thread", th, ^uint64(0))
	if err != nil {
		return 0, err
	}
	for o := it.Next(); o != nil && n < len(hs); o = it.Next() {
		p := o.(*memPost)
		if p.Thread != th {
			break
		}
		hs[n] = p.PostHeader
		n++
	}
	return n, nil
}

// Range implements Ranger.
func (s *memdbSession) Range(from string, n int, fn func(u *model.User)) error {
	it, err := s.e.db.Txn(false).LowerBound("user", "id", from)
	if err != nil {
		return err
	}
	for o := it.Next(); o != nil && n > 0; o = it.Next() {
		u := o.(*memUser).User
		fn(&u)
		n--
	}
	return nil
}

// Hold implements Holder.
func (s *memdbSession) Hold(key string, first, second *model.User, during func() error) error {
	tx := s.e.db.Txn(false)
	for i, u := range []*model.User{first, second} {
		p, err := find(tx, key)
		if err != nil {
			return err
		}
		*u = p.User
		if i == 0 {
			if err := during(); err != nil {
				return err
			}
		}
	}
	return nil
}
