package engines

import (
	"encoding/binary"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/everheap/everheap/bench/peers/model"
)

func init() { register("go-map-log", func() Engine { return &goMapWal{} }) }

const walChunk = 64 << 20

// goMapWal is what an experienced Go programmer builds by hand in a day: goMap plus an append-only log, written before the map changes, with
// group commit for fdatasync. It is the realistic bound for "all in memory,
// durable by log": one small write per commit, shared syncs. Its price is
// reopening: the whole log is replayed.
type goMapWal struct {
	goMap
	f    *os.File
	off  int64 // end of the log
	size int64 // end of the zero-filled file
	dur  Durability

	gmu     sync.Mutex // group commit
	gcond   *sync.Cond
	synced  int64
	syncing bool
	gerr    error
}

func (e *goMapWal) Info() Info {
	return Info{Version: runtime.Version(), Persistent: true, InMemory: true, ZeroCopy: true, Forum: true, Durable: true,
		Notes: "the map with a hand-written log: one pwrite per commit, CRC32C; sync = fdatasync of a zero-filled file, shared by the waiting"}
}

var crcTab = crc32.MakeTable(crc32.Castagnoli)

func (e *goMapWal) Open(o Options) error {
	if err := e.goMap.Open(Options{Dir: o.Dir}); err != nil {
		return err
	}
	e.dur = o.Durability
	e.gcond = sync.NewCond(&e.gmu)
	f, err := os.OpenFile(filepath.Join(o.Dir, "map.wal"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	e.f = f
	st, err := f.Stat()
	if err != nil {
		return err
	}
	e.size = st.Size()
	if err := e.replay(); err != nil {
		return err
	}
	if e.dur == Sync {
		return e.grow(walChunk)
	}
	return nil
}

// grow zero-fills ahead, so that fdatasync has no metadata to write.
func (e *goMapWal) grow(n int64) error {
	z := make([]byte, 1<<20)
	for e.size < e.off+n {
		if _, err := e.f.WriteAt(z, e.size); err != nil {
			return err
		}
		e.size += int64(len(z))
	}
	return unix.Fdatasync(int(e.f.Fd()))
}

func (e *goMapWal) replay() error {
	r := &bufReader{f: e.f, buf: make([]byte, 4<<20)}
	for {
		h, err := r.next(8)
		if err == io.EOF || (err == nil && binary.LittleEndian.Uint32(h) == 0) {
			break
		}
		if err != nil {
			return err
		}
		n, sum := int(binary.LittleEndian.Uint32(h)), binary.LittleEndian.Uint32(h[4:])
		b, err := r.next(n)
		if err != nil || crc32.Checksum(b, crcTab) != sum {
			break // torn tail
		}
		e.off += int64(8 + n)
		for len(b) > 0 {
			op := b[0]
			l := int(binary.LittleEndian.Uint32(b[1:]))
			rec := b[5 : 5+l]
			b = b[5+l:]
			switch op {
			case 'u':
				key := rec[:model.KeyLen]
				u := new(model.User)
				if err := model.DecodeUser(rec[model.KeyLen:], u); err != nil {
					return err
				}
				if p := e.m[string(key)]; p != nil {
					*p = *u
				} else {
					e.m[string(key)] = u
				}
			case 'p':
				p := &model.Post{}
				p.Thread = binary.LittleEndian.Uint64(rec)
				hl := int(binary.LittleEndian.Uint32(rec[8:]))
				model.DecodeHeader(rec[12:12+hl], &p.PostHeader)
				p.Body = string(rec[12+hl:])
				e.addPost(p)
			}
		}
	}
	return nil
}

type bufReader struct {
	f    *os.File
	buf  []byte
	r, w int
}

func (b *bufReader) next(n int) ([]byte, error) {
	if b.w-b.r < n {
		if n > len(b.buf) {
			b.buf = append(make([]byte, 0, 2*n), b.buf[b.r:b.w]...)[:2*n]
			b.w -= b.r
			b.r = 0
		} else {
			copy(b.buf, b.buf[b.r:b.w])
			b.w -= b.r
			b.r = 0
		}
		for b.w < n {
			k, err := b.f.Read(b.buf[b.w:])
			b.w += k
			if err != nil && b.w < n {
				return nil, io.EOF
			}
		}
	}
	p := b.buf[b.r : b.r+n]
	b.r += n
	return p, nil
}

func (e *goMapWal) Close() error {
	e.goMap.Close()
	return e.f.Close()
}

func (e *goMapWal) Session() (Session, error) {
	return &goMapWalSession{goMapSession: goMapSession{e: &e.goMap}, w: e}, nil
}

type goMapWalSession struct {
	goMapSession
	w   *goMapWal
	buf []byte
	tmp model.User
}

func (s *goMapWalSession) begin() { s.buf = append(s.buf[:0], 0, 0, 0, 0, 0, 0, 0, 0) }

func (s *goMapWalSession) addUser(key string, u *model.User) {
	p := len(s.buf)
	s.buf = append(s.buf, 'u', 0, 0, 0, 0)
	s.buf = append(s.buf, key...)
	s.buf = model.EncodeUser(s.buf, u)
	binary.LittleEndian.PutUint32(s.buf[p+1:], uint32(len(s.buf)-p-5))
}

func (s *goMapWalSession) addPostRec(q *model.Post) {
	p := len(s.buf)
	s.buf = append(s.buf, 'p', 0, 0, 0, 0)
	s.buf = binary.LittleEndian.AppendUint64(s.buf, q.Thread)
	h := len(s.buf)
	s.buf = append(s.buf, 0, 0, 0, 0)
	s.buf = model.EncodeHeader(s.buf, &q.PostHeader)
	binary.LittleEndian.PutUint32(s.buf[h:], uint32(len(s.buf)-h-4))
	s.buf = append(s.buf, q.Body...)
	binary.LittleEndian.PutUint32(s.buf[p+1:], uint32(len(s.buf)-p-5))
}

// write appends the record; called with the map's lock held, so log order is
// map order. It returns the log position to wait for.
func (s *goMapWalSession) write() (int64, error) {
	e := s.w
	binary.LittleEndian.PutUint32(s.buf, uint32(len(s.buf)-8))
	binary.LittleEndian.PutUint32(s.buf[4:], crc32.Checksum(s.buf[8:], crcTab))
	if e.dur == Sync && e.off+int64(len(s.buf)) > e.size {
		if err := e.grow(walChunk); err != nil {
			return 0, err
		}
	}
	_, err := e.f.WriteAt(s.buf, e.off)
	e.off += int64(len(s.buf))
	return e.off, err
}

// wait returns when the log is on disk up to pos: the first waiter syncs for all.
func (e *goMapWal) wait(pos int64) error {
	if e.dur != Sync {
		return nil
	}
	e.gmu.Lock()
	defer e.gmu.Unlock()
	for e.synced < pos && e.gerr == nil {
		if e.syncing {
			e.gcond.Wait()
			continue
		}
		e.syncing = true
		e.gmu.Unlock()
		e.mu.RLock()
		end := e.off
		e.mu.RUnlock()
		err := unix.Fdatasync(int(e.f.Fd()))
		e.gmu.Lock()
		e.syncing = false
		e.gerr = err
		e.synced = end
		e.gcond.Broadcast()
	}
	return e.gerr
}

func (s *goMapWalSession) Load(lo, hi int, gen func(int, *model.User)) error {
	e := s.w
	s.begin()
	e.mu.Lock()
	for i := lo; i < hi; i++ {
		u := new(model.User)
		gen(i, u)
		k := model.UserKey(i)
		s.addUser(k, u)
		e.m[k] = u
	}
	pos, err := s.write()
	e.mu.Unlock()
	if err != nil {
		return err
	}
	return e.wait(pos)
}

func (s *goMapWalSession) Put(key string, u *model.User) error {
	e := s.w
	n := new(model.User)
	*n = *u
	n.Tags = append([]string(nil), u.Tags...)
	s.begin()
	s.addUser(key, n)
	e.mu.Lock()
	pos, err := s.write()
	if err != nil {
		e.mu.Unlock()
		return err
	}
	if p := e.m[key]; p != nil {
		*p = *n
	} else {
		e.m[strings.Clone(key)] = n
	}
	e.mu.Unlock()
	return e.wait(pos)
}

func (s *goMapWalSession) Update(key string, fn func(*model.User)) error {
	e := s.w
	s.begin()
	e.mu.Lock()
	p := e.m[key]
	if p == nil {
		e.mu.Unlock()
		return ErrNotFound
	}
	s.tmp = *p
	fn(&s.tmp)
	s.addUser(key, &s.tmp)
	pos, err := s.write()
	if err == nil {
		*p = s.tmp
	}
	e.mu.Unlock()
	if err != nil {
		return err
	}
	return e.wait(pos)
}

func (s *goMapWalSession) Login(key string, now int64) error {
	return s.Update(key, func(u *model.User) { u.Created = now; u.Karma++ })
}

func (s *goMapWalSession) LoadForum(users, threads, per int, mk func(th, i int) *model.Post) error {
	for lo := 0; lo < users; lo += 1000 {
		if err := s.Load(lo, min(lo+1000, users), func(i int, u *model.User) { model.FillUser(u, i, 0) }); err != nil {
			return err
		}
	}
	e := s.w
	for th := 0; th < threads; th++ {
		s.begin()
		e.mu.Lock()
		for i := 0; i < per; i++ {
			p := mk(th, i)
			s.addPostRec(p)
			e.addPost(p)
		}
		pos, err := s.write()
		e.mu.Unlock()
		if err == nil {
			err = e.wait(pos)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *goMapWalSession) Post(p *model.Post, author string) error {
	e := s.w
	c := *p
	c.Body = strings.Clone(p.Body)
	s.begin()
	s.addPostRec(&c)
	e.mu.Lock()
	u := e.m[author]
	if u == nil {
		e.mu.Unlock()
		return ErrNotFound
	}
	s.tmp = *u
	s.tmp.Karma++
	s.addUser(author, &s.tmp)
	pos, err := s.write()
	if err == nil {
		e.addPost(&c)
		*u = s.tmp
	}
	e.mu.Unlock()
	if err != nil {
		return err
	}
	return e.wait(pos)
}
