//go:build cgo

package engines

import (
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"

	sqlite3 "github.com/mattn/go-sqlite3"

	"github.com/everheap/everheap/bench/peers/model"
)

func init() { register("sqlite", func() Engine { return &sqliteEng{} }) }

// sqliteEng: typed columns, WAL, prepared statements, one connection per
// session for reads; writers of one process take turns on a Go mutex (which
// beats SQLite's busy handler), writers of other processes on busy_timeout.
type sqliteEng struct {
	db  *sql.DB
	wmu sync.Mutex
	opt Options
}

func (e *sqliteEng) Info() Info {
	v, _, _ := sqlite3.Version()
	return Info{Version: moduleVersion("github.com/mattn/go-sqlite3") + " (SQLite " + v + ")", Persistent: true, Indexed: true, Ordered: true, Forum: true,
		Durable: true, MultiProcess: true, Versions: true,
		Notes: "database/sql, WAL, 256 MiB page cache, mmap_size 1 GiB, prepared statements; async = synchronous NORMAL, sync = FULL, load = OFF"}
}

var sqliteSchema = []string{
	`CREATE TABLE IF NOT EXISTS users(key TEXT PRIMARY KEY, id INTEGER, karma INTEGER, created INTEGER, name TEXT, email TEXT, bio TEXT, tags TEXT) WITHOUT ROWID`,
	`CREATE TABLE IF NOT EXISTS posts(id INTEGER PRIMARY KEY, thread INTEGER, author INTEGER, created INTEGER, title TEXT, body TEXT)`,
	`CREATE INDEX IF NOT EXISTS posts_thread ON posts(thread, id DESC, author, created, title)`,
	`CREATE TABLE IF NOT EXISTS parts(id INTEGER PRIMARY KEY, x INTEGER, y INTEGER, doc INTEGER, a INTEGER, b INTEGER, c INTEGER)`,
}

func (e *sqliteEng) Open(o Options) (err error) {
	e.opt = o
	syn := [...]string{"OFF", "NORMAL", "FULL"}[o.Durability]
	dsn := fmt.Sprintf("file:%s?_journal_mode=WAL&_synchronous=%s&_busy_timeout=20000&_cache_size=-%d&_mutex=no",
		filepath.Join(o.Dir, "sqlite.db"), syn, o.cache(256<<20)>>10)
	e.db, err = sql.Open("sqlite3", dsn)
	if err != nil {
		return err
	}
	e.db.SetMaxIdleConns(64)
	if o.ReadOnly {
		return e.db.Ping()
	}
	for _, s := range sqliteSchema {
		if _, err := e.db.Exec(s); err != nil {
			return err
		}
	}
	if o.Indexed {
		_, err = e.db.Exec("CREATE UNIQUE INDEX IF NOT EXISTS users_email ON users(email)")
	}
	return err
}

func (e *sqliteEng) Close() error { return e.db.Close() }

type sqliteSession struct {
	e                                                            *sqliteEng
	c                                                            *sql.Conn
	begin, commit, rollback                                      *sql.Stmt
	get, put, ins, login, bump, insPost, page, prt, rng, byEmail *sql.Stmt
}

func (e *sqliteEng) Session() (Session, error) {
	c, err := e.db.Conn(bg)
	if err != nil {
		return nil, err
	}
	if _, err := c.ExecContext(bg, "PRAGMA mmap_size=1073741824"); err != nil {
		return nil, err
	}
	s := &sqliteSession{e: e, c: c}
	for _, p := range []struct {
		st **sql.Stmt
		q  string
	}{
		{&s.begin, "BEGIN IMMEDIATE"}, {&s.commit, "COMMIT"}, {&s.rollback, "ROLLBACK"},
		{&s.get, "SELECT id,karma,created,name,email,bio,tags FROM users WHERE key=?"},
		{&s.rng, "SELECT id,karma,created,name,email,bio,tags FROM users WHERE key>=? ORDER BY key LIMIT ?"},
		{&s.byEmail, "SELECT id,karma,name FROM users WHERE email=?"},
		{&s.put, "UPDATE users SET id=?,karma=?,created=?,name=?,email=?,bio=?,tags=? WHERE key=?"},
		{&s.ins, "INSERT INTO users(id,karma,created,name,email,bio,tags,key) VALUES(?,?,?,?,?,?,?,?)"},
		{&s.login, "UPDATE users SET created=?, karma=karma+1 WHERE key=?"},
		{&s.bump, "UPDATE users SET karma=karma+1 WHERE key=?"},
		{&s.insPost, "INSERT INTO posts(id,thread,author,created,title,body) VALUES(?,?,?,?,?,?)"},
		{&s.page, "SELECT id,author,created,title FROM posts WHERE thread=? ORDER BY id DESC LIMIT ?"},
		{&s.prt, "SELECT x,y,doc,a,b,c FROM parts WHERE id=?"},
	} {
		if *p.st, err = c.PrepareContext(bg, p.q); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func (s *sqliteSession) Close() error { return s.c.Close() }

// tx runs fn in BEGIN IMMEDIATE .. COMMIT on this session's connection.
func (s *sqliteSession) tx(fn func() error) error {
	s.e.wmu.Lock()
	defer s.e.wmu.Unlock()
	if _, err := s.begin.Exec(); err != nil {
		return err
	}
	if err := fn(); err != nil {
		s.rollback.Exec()
		return err
	}
	_, err := s.commit.Exec()
	return err
}

func (s *sqliteSession) Load(lo, hi int, gen func(int, *model.User)) error {
	return s.tx(func() error {
		var u model.User
		for i := lo; i < hi; i++ {
			gen(i, &u)
			if _, err := s.ins.Exec(int64(u.ID), u.Karma, u.Created, u.Name, u.Email, u.Bio, joinTags(u.Tags), model.UserKey(i)); err != nil {
				return err
			}
		}
		return nil
	})
}

func (s *sqliteSession) Get(key string, u *model.User) error {
	var tags string
	if err := s.get.QueryRow(key).Scan(&u.ID, &u.Karma, &u.Created, &u.Name, &u.Email, &u.Bio, &tags); err != nil {
		return err
	}
	u.Tags = strings.Split(tags, ",")
	return nil
}

func (s *sqliteSession) GetTx(n int, key func() string, u *model.User) error {
	if _, err := s.c.ExecContext(bg, "BEGIN"); err != nil {
		return err
	}
	for ; n > 0; n-- {
		if err := s.Get(key(), u); err != nil {
			s.rollback.Exec()
			return err
		}
	}
	_, err := s.commit.Exec()
	return err
}

func (s *sqliteSession) Put(key string, u *model.User) error {
	s.e.wmu.Lock()
	defer s.e.wmu.Unlock()
	_, err := s.put.Exec(int64(u.ID), u.Karma, u.Created, u.Name, u.Email, u.Bio, joinTags(u.Tags), key)
	return err
}

// PutIndexed implements Indexer: SQLite keeps the index.
func (s *sqliteSession) PutIndexed(key string, u *model.User) error {
	err := s.Put(key, u)
	if e := (sqlite3.Error{}); errors.As(err, &e) && e.ExtendedCode == sqlite3.ErrConstraintUnique {
		return ErrDuplicate
	}
	return err
}

// ByEmail implements Indexer.
func (s *sqliteSession) ByEmail(email string) (uint64, error) {
	var id, karma int64
	var name sql.RawBytes
	rows, err := s.byEmail.Query(email)
	if err != nil {
		return 0, err
	}
	defer rows.Close()
	if !rows.Next() {
		return 0, errors.Join(ErrNotFound, rows.Err())
	}
	if err := rows.Scan(&id, &karma, &name); err != nil {
		return 0, err
	}
	return uint64(id) + uint64(karma) + uint64(len(name)), nil
}

func (s *sqliteSession) Update(key string, fn func(*model.User)) error {
	return s.tx(func() error {
		var u model.User
		if err := s.Get(key, &u); err != nil {
			return err
		}
		fn(&u)
		_, err := s.put.Exec(int64(u.ID), u.Karma, u.Created, u.Name, u.Email, u.Bio, joinTags(u.Tags), key)
		return err
	})
}

func (s *sqliteSession) Scan(fn func(*model.User)) error {
	rows, err := s.c.QueryContext(bg, "SELECT id,karma,created,name,email,bio,tags FROM users")
	return each(rows, err, fn)
}

// Range implements Ranger.
func (s *sqliteSession) Range(from string, n int, fn func(u *model.User)) error {
	rows, err := s.rng.Query(from, n)
	return each(rows, err, fn)
}

// each decodes the rows of a query.
func each(rows *sql.Rows, err error, fn func(*model.User)) error {
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var u model.User
		var tags string
		if err := rows.Scan(&u.ID, &u.Karma, &u.Created, &u.Name, &u.Email, &u.Bio, &tags); err != nil {
			return err
		}
		u.Tags = strings.Split(tags, ",")
		fn(&u)
	}
	return rows.Err()
}

// Hold implements Holder.
func (s *sqliteSession) Hold(key string, first, second *model.User, during func() error) error {
	if _, err := s.c.ExecContext(bg, "BEGIN"); err != nil {
		return err
	}
	defer s.rollback.Exec()
	if err := s.Get(key, first); err != nil {
		return err
	}
	if err := during(); err != nil {
		return err
	}
	return s.Get(key, second)
}

func (s *sqliteSession) insertPost(p *model.Post) error {
	_, err := s.insPost.Exec(int64(p.ID), int64(p.Thread), int64(p.Author), p.Created, p.Title, p.Body)
	return err
}

func (s *sqliteSession) LoadForum(users, threads, per int, mk func(th, i int) *model.Post) error {
	for lo := 0; lo < users; lo += 1000 {
		if err := s.Load(lo, min(lo+1000, users), func(i int, u *model.User) { model.FillUser(u, i, 0) }); err != nil {
			return err
		}
	}
	for th := 0; th < threads; th++ {
		err := s.tx(func() error {
			for i := 0; i < per; i++ {
				if err := s.insertPost(mk(th, i)); err != nil {
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

// Login is the SQL way: one UPDATE after one SELECT, in one transaction.
func (s *sqliteSession) Login(key string, now int64) error {
	return s.tx(func() error {
		var u model.User
		if err := s.Get(key, &u); err != nil {
			return err
		}
		_, err := s.login.Exec(now, key)
		return err
	})
}

func (s *sqliteSession) Post(p *model.Post, author string) error {
	return s.tx(func() error {
		if err := s.insertPost(p); err != nil {
			return err
		}
		_, err := s.bump.Exec(author)
		return err
	})
}

func (s *sqliteSession) Page(th uint64, hs []model.PostHeader) (n int, err error) {
	rows, err := s.page.Query(int64(th), len(hs))
	if err != nil {
		return 0, err
	}
	defer rows.Close()
	for rows.Next() && n < len(hs) {
		h := &hs[n]
		if err := rows.Scan(&h.ID, &h.Author, &h.Created, &h.Title); err != nil {
			return n, err
		}
		n++
	}
	return n, rows.Err()
}

func (s *sqliteSession) LoadGraph(g []model.Part) error {
	return s.tx(func() error {
		st, err := s.c.PrepareContext(bg, "INSERT INTO parts VALUES(?,?,?,?,?,?,?)")
		if err != nil {
			return err
		}
		defer st.Close()
		for _, a := range g {
			if _, err := st.Exec(a.ID, a.X, a.Y, a.DocID, a.To[0], a.To[1], a.To[2]); err != nil {
				return err
			}
		}
		return nil
	})
}

func (s *sqliteSession) Traverse(n int) (int, int64, error) {
	if _, err := s.c.ExecContext(bg, "BEGIN"); err != nil {
		return 0, 0, err
	}
	defer s.commit.Exec()
	return dfs(n, func(id int64, a *model.Part) error {
		a.ID = id
		return s.prt.QueryRow(id).Scan(&a.X, &a.Y, &a.DocID, &a.To[0], &a.To[1], &a.To[2])
	})
}
