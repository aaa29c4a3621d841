package engines

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/everheap/everheap/bench/peers/model"
)

func init() {
	if _, err := exec.LookPath("redis-server"); err == nil {
		register("redis", func() Engine { return &redisEng{} })
	}
}

// redisEng starts its own redis-server on a unix socket in Options.Dir (no
// TCP port). If one already answers there, it attaches to it.
type redisEng struct {
	c    *redis.Client
	cmd  *exec.Cmd // nil when attached
	sock string
	pid  int
}

func (e *redisEng) Info() Info {
	v := "?"
	if b, err := exec.Command("redis-server", "--version").Output(); err == nil {
		if f := strings.Fields(string(b)); len(f) > 2 {
			v = f[2]
		}
	}
	return Info{Version: "server " + v + ", go-redis " + moduleVersion("github.com/redis/go-redis/v9"), Persistent: true, InMemory: true, NoGraph: true, Forum: true, Durable: true, MultiProcess: true,
		Notes: "a server of its own on a unix socket; appendonly yes; load = appendfsync no, async = everysec, sync = always; users are encoded blobs (of the forum: hashes); get-tx1000 = MGET of 1000"}
}

func (e *redisEng) PIDs() []int {
	if e.pid == 0 {
		return nil
	}
	return []int{e.pid}
}

func (e *redisEng) Open(o Options) error {
	dir, err := filepath.Abs(o.Dir)
	if err != nil {
		return err
	}
	e.sock = filepath.Join(dir, "r.sock")
	if e.connect() == nil {
		return nil
	}
	fs := [...]string{"no", "everysec", "always"}[o.Durability]
	e.cmd = exec.Command("redis-server", "--port", "0", "--unixsocket", e.sock, "--dir", dir, "--save", "",
		"--appendonly", "yes", "--appendfsync", fs, "--daemonize", "no", "--logfile", filepath.Join(dir, "redis.log"),
		"--auto-aof-rewrite-percentage", "0")
	e.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	if err := e.cmd.Start(); err != nil {
		return err
	}
	e.pid = e.cmd.Process.Pid
	os.WriteFile(filepath.Join(dir, "redis.pid"), []byte(strconv.Itoa(e.pid)), 0o600)
	for i := 0; i < 60000; i++ {
		if e.connect() == nil {
			return nil
		}
		time.Sleep(time.Millisecond)
	}
	return fmt.Errorf("redis-server did not come up")
}

func (e *redisEng) connect() error {
	if c, err := net.Dial("unix", e.sock); err != nil {
		return err
	} else {
		c.Close()
	}
	c := redis.NewClient(&redis.Options{Network: "unix", Addr: e.sock, PoolSize: 64, DisableIdentity: true, Protocol: 2,
		MaxRetries: -1, ReadTimeout: 60 * time.Second, WriteTimeout: 60 * time.Second})
	if err := c.Ping(bg).Err(); err != nil { // LOADING counts as not up
		c.Close()
		return err
	}
	e.c = c
	return nil
}

func (e *redisEng) Close() error {
	err := e.c.Close()
	if e.cmd != nil {
		e.cmd.Process.Signal(syscall.SIGTERM)
		e.cmd.Wait()
		e.cmd = nil
		e.pid = 0
	}
	return err
}

func (e *redisEng) Session() (Session, error) { return &redisSession{e: e, c: e.c}, nil }

type redisSession struct {
	e   *redisEng
	c   *redis.Client
	buf []byte
}

func (s *redisSession) Close() error { return nil }

func (s *redisSession) Load(lo, hi int, gen func(int, *model.User)) error {
	_, err := s.c.TxPipelined(bg, func(p redis.Pipeliner) error {
		var u model.User
		for i := lo; i < hi; i++ {
			gen(i, &u)
			p.Set(bg, model.UserKey(i), model.EncodeUser(nil, &u), 0)
		}
		return nil
	})
	return err
}

func (s *redisSession) Get(key string, u *model.User) error {
	b, err := s.c.Get(bg, key).Bytes()
	if err != nil {
		return err
	}
	return model.DecodeUser(b, u)
}

func (s *redisSession) GetTx(n int, key func() string, u *model.User) error {
	ks := make([]string, n)
	for i := range ks {
		ks[i] = strings.Clone(key())
	}
	vs, err := s.c.MGet(bg, ks...).Result()
	if err != nil {
		return err
	}
	for _, v := range vs {
		b, ok := v.(string)
		if !ok {
			return ErrNotFound
		}
		if err := model.DecodeUser(asBytes(b), u); err != nil {
			return err
		}
	}
	return nil
}

func (s *redisSession) Put(key string, u *model.User) error {
	s.buf = model.EncodeUser(s.buf[:0], u)
	return s.c.Set(bg, key, s.buf, 0).Err()
}

// Update is Redis's optimistic transaction: WATCH, GET, MULTI/SET/EXEC.
func (s *redisSession) Update(key string, fn func(*model.User)) error {
	for {
		err := s.c.Watch(bg, func(tx *redis.Tx) error {
			b, err := tx.Get(bg, key).Bytes()
			if err != nil {
				return err
			}
			var u model.User
			if err := model.DecodeUser(b, &u); err != nil {
				return err
			}
			fn(&u)
			s.buf = model.EncodeUser(s.buf[:0], &u)
			_, err = tx.TxPipelined(bg, func(p redis.Pipeliner) error {
				p.Set(bg, key, s.buf, 0)
				return nil
			})
			return err
		}, key)
		if err != redis.TxFailedErr {
			return err
		}
	}
}

func (s *redisSession) Scan(fn func(*model.User)) error {
	var cur uint64
	for {
		ks, c, err := s.c.Scan(bg, cur, "user:*", 1000).Result()
		if err != nil {
			return err
		}
		if len(ks) > 0 {
			vs, err := s.c.MGet(bg, ks...).Result()
			if err != nil {
				return err
			}
			for _, v := range vs {
				var u model.User
				if err := model.DecodeUser(asBytes(v.(string)), &u); err != nil {
					return err
				}
				fn(&u)
			}
		}
		if cur = c; cur == 0 {
			return nil
		}
	}
}

// The forum: users are hashes (HINCRBY), a thread is a list of encoded headers

func (s *redisSession) addPost(p redis.Pipeliner, q *model.Post) {
	h := model.EncodeHeader(nil, &q.PostHeader)
	p.LPush(bg, "thrd:"+strconv.FormatUint(q.Thread, 10), h)
	p.Set(bg, "post:"+strconv.FormatUint(q.ID, 10), model.AppendString(h, q.Body), 0)
}

func (s *redisSession) LoadForum(users, threads, per int, mk func(th, i int) *model.Post) error {
	var u model.User
	for lo := 0; lo < users; lo += 1000 {
		_, err := s.c.TxPipelined(bg, func(p redis.Pipeliner) error {
			for i := lo; i < min(lo+1000, users); i++ {
				model.FillUser(&u, i, 0)
				p.HSet(bg, model.UserKey(i), "id", u.ID, "karma", u.Karma, "created", u.Created, "name", u.Name, "email", u.Email, "bio", u.Bio, "tags", joinTags(u.Tags))
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	for th := 0; th < threads; th++ {
		_, err := s.c.TxPipelined(bg, func(p redis.Pipeliner) error {
			for i := 0; i < per; i++ {
				s.addPost(p, mk(th, i))
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *redisSession) Login(key string, now int64) error {
	key = strings.Clone(key)
	_, err := s.c.TxPipelined(bg, func(p redis.Pipeliner) error {
		p.HGetAll(bg, key)
		p.HSet(bg, key, "created", now)
		p.HIncrBy(bg, key, "karma", 1)
		return nil
	})
	return err
}

func (s *redisSession) Post(q *model.Post, author string) error {
	_, err := s.c.TxPipelined(bg, func(p redis.Pipeliner) error {
		s.addPost(p, q)
		p.HIncrBy(bg, author, "karma", 1)
		return nil
	})
	return err
}

func (s *redisSession) Page(th uint64, hs []model.PostHeader) (n int, err error) {
	vs, err := s.c.LRange(bg, "thrd:"+strconv.FormatUint(th, 10), 0, int64(len(hs)-1)).Result()
	for _, v := range vs {
		model.DecodeHeader(asBytes(v), &hs[n])
		n++
	}
	return n, err
}
