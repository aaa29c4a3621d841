package engines

import (
	"encoding/binary"
	"unsafe"

	"github.com/everheap/everheap/bench/peers/model"
)

// table is a kind of record: engines with trees use one for each.
type table int

const (
	tUser table = iota
	tPost
	tThread
	tPart
	tEmail
	nTables
)

var tableNames = [nTables]string{"user", "post", "thread", "part", "email"}

// KV is a store of bytes under bytes; kvEngine makes it an Engine.
type KV interface {
	Info() Info
	Open(o Options) error
	Close() error
	Session() (KVSession, error)
}

// KVSession is the handle of one goroutine.
type KVSession interface {
	View(fn func(tx KVTx) error) error
	Update(fn func(tx KVTx) error) error // read-write, serialisable
	Put1(t table, key, val []byte) error // blind single write
	Close() error
}

// KVTx is a transaction.
type KVTx interface {
	// Get's result is only valid until the next call on tx.
	Get(t table, key []byte) ([]byte, error)
	Put(t table, key, val []byte) error
	// Scan visits the keys that start with prefix, ascending, from a key on. It ends
	// with the first error of fn.
	Scan(t table, prefix, from []byte, fn func(k, v []byte) error) error
	// Newest visits at most n keys that start with prefix, descending.
	Newest(t table, prefix []byte, n int, fn func(k, v []byte)) error
}

// snapshotter is a KVSession whose View does not pin one version.
type snapshotter interface {
	Snapshot(fn func(tx KVTx) error) error
}

// kvEngine is a KV with the codec of package model.
type kvEngine struct {
	kv      KV
	indexed bool
}

func registerKV(name string, f func() KV) {
	register(name, func() Engine { return &kvEngine{kv: f()} })
}

func (e *kvEngine) Info() Info { return e.kv.Info() }
func (e *kvEngine) Open(o Options) error {
	e.indexed = o.Indexed
	return e.kv.Open(o)
}

func (e *kvEngine) Close() error { return e.kv.Close() }
func (e *kvEngine) Session() (Session, error) {
	s, err := e.kv.Session()
	if err != nil {
		return nil, err
	}
	ks := &kvSession{s: s, indexed: e.indexed}
	// closures are built once, so that a call costs no allocation of ours
	ks.getFn = func(tx KVTx) error {
		b, err := tx.Get(tUser, ks.key)
		if err != nil {
			return err
		}
		return model.DecodeUser(b, ks.u)
	}
	ks.zcFn = func(tx KVTx) error {
		b, err := tx.Get(tUser, ks.key)
		if err != nil {
			return err
		}
		ks.zc = model.PeekUser(b)
		return nil
	}
	ks.updFn = func(tx KVTx) error {
		b, err := tx.Get(tUser, ks.key)
		if err != nil {
			return err
		}
		var u model.User
		if err := model.DecodeUser(b, &u); err != nil {
			return err
		}
		ks.mod(&u)
		ks.buf = model.EncodeUser(ks.buf[:0], &u)
		return tx.Put(tUser, ks.key, ks.buf)
	}
	return ks, nil
}

type kvSession struct {
	s       KVSession
	indexed bool
	key     []byte
	u       *model.User
	zc      uint64
	buf     []byte
	buf2    []byte
	mod     func(*model.User)
	getFn   func(KVTx) error
	zcFn    func(KVTx) error
	updFn   func(KVTx) error
}

func asBytes(s string) []byte { return unsafe.Slice(unsafe.StringData(s), len(s)) }
func asString(b []byte) string {
	return unsafe.String(unsafe.SliceData(b), len(b))
}

func (s *kvSession) Close() error { return s.s.Close() }

func (s *kvSession) Load(lo, hi int, gen func(int, *model.User)) error {
	return s.s.Update(func(tx KVTx) error {
		var u model.User
		k := model.NewKeyBuf()
		for i := lo; i < hi; i++ {
			gen(i, &u)
			s.buf = model.EncodeUser(s.buf[:0], &u)
			if err := tx.Put(tUser, asBytes(k.Key(i)), s.buf); err != nil {
				return err
			}
			if s.indexed {
				if err := tx.Put(tEmail, emailKey(u.Email), asBytes(k.Key(i))); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

func (s *kvSession) Get(key string, u *model.User) error {
	s.key, s.u = asBytes(key), u
	return s.s.View(s.getFn)
}

func (s *kvSession) GetTx(n int, key func() string, u *model.User) error {
	return s.s.View(func(tx KVTx) error {
		for ; n > 0; n-- {
			b, err := tx.Get(tUser, asBytes(key()))
			if err != nil {
				return err
			}
			if err := model.DecodeUser(b, u); err != nil {
				return err
			}
		}
		return nil
	})
}

func (s *kvSession) GetZC(key string) (uint64, error) {
	s.key = asBytes(key)
	err := s.s.View(s.zcFn)
	return s.zc, err
}

func (s *kvSession) GetZCTx(n int, key func() string) (sum uint64, err error) {
	err = s.s.View(func(tx KVTx) error {
		for ; n > 0; n-- {
			b, err := tx.Get(tUser, asBytes(key()))
			if err != nil {
				return err
			}
			sum += model.PeekUser(b)
		}
		return nil
	})
	return
}

func (s *kvSession) Put(key string, u *model.User) error {
	s.buf = model.EncodeUser(s.buf[:0], u)
	return s.s.Put1(tUser, asBytes(key), s.buf)
}

func (s *kvSession) Update(key string, fn func(*model.User)) error {
	s.key, s.mod = asBytes(key), fn
	return s.s.Update(s.updFn)
}

func (s *kvSession) Scan(fn func(*model.User)) error {
	return s.s.View(func(tx KVTx) error {
		var u model.User
		return tx.Scan(tUser, []byte("user:"), []byte("user:"), func(k, v []byte) error {
			if err := model.DecodeUser(v, &u); err != nil {
				return err
			}
			fn(&u)
			return nil
		})
	})
}

// Range implements Ranger.
func (s *kvSession) Range(from string, n int, fn func(u *model.User)) error {
	err := s.s.View(func(tx KVTx) error {
		var u model.User
		return tx.Scan(tUser, []byte("user:"), asBytes(from), func(k, v []byte) error {
			if err := model.DecodeUser(v, &u); err != nil {
				return err
			}
			fn(&u)
			if n--; n == 0 {
				return errStop
			}
			return nil
		})
	})
	if err == errStop {
		return nil
	}
	return err
}

// Hold implements Holder.
func (s *kvSession) Hold(key string, first, second *model.User, during func() error) error {
	view := s.s.View
	if sn, ok := s.s.(snapshotter); ok {
		view = sn.Snapshot
	}
	return view(func(tx KVTx) error {
		for i, u := range []*model.User{first, second} {
			b, err := tx.Get(tUser, asBytes(key))
			if err != nil {
				return err
			}
			if err := model.DecodeUser(b, u); err != nil {
				return err
			}
			if i == 0 {
				if err := during(); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// The forum: posts under post:<id>, headers under thrd:<thread><id>

func postKey(b []byte, id uint64) []byte {
	return binary.BigEndian.AppendUint64(append(b, "post:"...), id)
}

func threadKey(b []byte, th uint64) []byte {
	return binary.BigEndian.AppendUint64(append(b, "thrd:"...), th)
}

func (s *kvSession) putPost(tx KVTx, p *model.Post) error {
	s.buf = model.EncodeHeader(s.buf[:0], &p.PostHeader)
	s.buf2 = binary.BigEndian.AppendUint64(threadKey(s.buf2[:0], p.Thread), p.ID)
	if err := tx.Put(tThread, s.buf2, s.buf); err != nil {
		return err
	}
	s.buf = model.AppendString(s.buf, p.Body)
	s.buf2 = postKey(s.buf2[:0], p.ID)
	return tx.Put(tPost, s.buf2, s.buf)
}

func (s *kvSession) LoadForum(users, threads, per int, mk func(th, i int) *model.Post) error {
	for lo := 0; lo < users; lo += 1000 {
		if err := s.Load(lo, min(lo+1000, users), func(i int, u *model.User) { model.FillUser(u, i, 0) }); err != nil {
			return err
		}
	}
	for th := 0; th < threads; th++ {
		err := s.s.Update(func(tx KVTx) error {
			for i := 0; i < per; i++ {
				if err := s.putPost(tx, mk(th, i)); err != nil {
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

func (s *kvSession) Login(key string, now int64) error {
	return s.Update(key, func(u *model.User) { u.Created = now; u.Karma++ })
}

func (s *kvSession) Post(p *model.Post, authorKey string) error {
	s.key, s.mod = asBytes(authorKey), func(u *model.User) { u.Karma++ }
	return s.s.Update(func(tx KVTx) error {
		if err := s.putPost(tx, p); err != nil {
			return err
		}
		return s.updFn(tx)
	})
}

func (s *kvSession) Page(th uint64, hs []model.PostHeader) (n int, err error) {
	s.buf2 = threadKey(s.buf2[:0], th)
	err = s.s.View(func(tx KVTx) error {
		return tx.Newest(tThread, s.buf2, len(hs), func(k, v []byte) {
			model.DecodeHeader(v, &hs[n])
			n++
		})
	})
	return
}

func partKey(b []byte, id int64) []byte {
	return binary.BigEndian.AppendUint64(b, uint64(id))
}

func (s *kvSession) LoadGraph(g []model.Part) error {
	for lo := 0; lo < len(g); lo += 1000 {
		err := s.s.Update(func(tx KVTx) error {
			for i := lo; i < min(lo+1000, len(g)); i++ {
				s.buf = model.EncodePart(s.buf[:0], &g[i])
				s.buf2 = partKey(s.buf2[:0], g[i].ID)
				if err := tx.Put(tPart, s.buf2, s.buf); err != nil {
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

func (s *kvSession) Traverse(n int) (visited int, sum int64, err error) {
	err = s.s.View(func(tx KVTx) error {
		var kb []byte
		visited, sum, err = dfs(n, func(id int64, a *model.Part) error {
			kb = partKey(kb[:0], id)
			b, err := tx.Get(tPart, kb)
			if err != nil {
				return err
			}
			model.DecodePart(b, a)
			return nil
		})
		return err
	})
	return
}

// dfs walks everything reachable from part 0, fetching parts by id. Visited
// ids are kept in a bitmap, which is checked before a part is fetched.
func dfs(n int, fetch func(id int64, a *model.Part) error) (visited int, sum int64, err error) {
	seen := make([]uint64, (n+63)/64)
	stack := make([]int64, 1, 1024)
	var a model.Part
	for len(stack) > 0 {
		id := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		if seen[id>>6]&(1<<(id&63)) != 0 {
			continue
		}
		seen[id>>6] |= 1 << (id & 63)
		if err = fetch(id, &a); err != nil {
			return
		}
		visited++
		sum += a.X + a.Y
		for _, t := range a.To {
			if seen[t>>6]&(1<<(t&63)) == 0 {
				stack = append(stack, t)
			}
		}
	}
	return
}

// prefixEnd returns the first key after all keys with the prefix.
func prefixEnd(p []byte) []byte {
	e := append([]byte(nil), p...)
	for i := len(e) - 1; i >= 0; i-- {
		e[i]++
		if e[i] != 0 {
			return e[:i+1]
		}
	}
	return nil
}
