package engines

import (
	"path/filepath"
	"strings"

	"github.com/tidwall/buntdb"
)

func init() { registerKV("buntdb", func() KV { return &buntKV{} }) }

type buntKV struct{ db *buntdb.DB }

func (e *buntKV) Info() Info {
	return Info{Version: moduleVersion("github.com/tidwall/buntdb"), Persistent: true, Indexed: true, InMemory: true, Ordered: true, Forum: true, Durable: true,
		Notes: "all data in memory + append-only file; async = SyncPolicy EverySecond, sync = Always, load = Never"}
}

func (e *buntKV) Open(o Options) (err error) {
	e.db, err = buntdb.Open(filepath.Join(o.Dir, "bunt.aof"))
	if err != nil {
		return err
	}
	var c buntdb.Config
	if err := e.db.ReadConfig(&c); err != nil {
		return err
	}
	c.SyncPolicy = [...]buntdb.SyncPolicy{buntdb.Never, buntdb.EverySecond, buntdb.Always}[o.Durability]
	return e.db.SetConfig(c)
}

func (e *buntKV) Close() error { return e.db.Close() }
func (e *buntKV) Session() (KVSession, error) {
	s := &buntSession{e: e}
	s.run = func(tx *buntdb.Tx) error { s.tx.tx = tx; return s.fn(&s.tx) }
	return s, nil
}

type buntSession struct {
	e   *buntKV
	fn  func(KVTx) error
	run func(*buntdb.Tx) error
	tx  buntTx
}

func (s *buntSession) Close() error                     { return nil }
func (s *buntSession) View(fn func(KVTx) error) error   { s.fn = fn; return s.e.db.View(s.run) }
func (s *buntSession) Update(fn func(KVTx) error) error { s.fn = fn; return s.e.db.Update(s.run) }
func (s *buntSession) Put1(t table, key, val []byte) error {
	return s.Update(func(tx KVTx) error { return tx.Put(t, key, val) })
}

type buntTx struct{ tx *buntdb.Tx }

func (t *buntTx) Get(_ table, key []byte) ([]byte, error) {
	v, err := t.tx.Get(asString(key), true)
	if err == buntdb.ErrNotFound {
		return nil, ErrNotFound
	}
	if err != nil {
		return nil, err
	}
	return asBytes(v), nil
}

func (t *buntTx) Put(_ table, key, val []byte) error {
	_, _, err := t.tx.Set(string(key), string(val), nil)
	return err
}

func (t *buntTx) Delete(_ table, key []byte) error {
	_, err := t.tx.Delete(string(key))
	return err
}

func (t *buntTx) Scan(_ table, p, from []byte, fn func(k, v []byte) error) (err error) {
	e := t.tx.AscendRange("", string(from), string(prefixEnd(p)), func(k, v string) bool {
		err = fn(asBytes(k), asBytes(v))
		return err == nil
	})
	if err == nil {
		err = e
	}
	return
}

func (t *buntTx) Newest(_ table, p []byte, n int, fn func(k, v []byte)) error {
	ps := string(p)
	return t.tx.DescendLessOrEqual("", ps+"\xff\xff\xff\xff\xff\xff\xff\xff\xff", func(k, v string) bool {
		if n == 0 || !strings.HasPrefix(k, ps) {
			return false
		}
		fn(asBytes(k), asBytes(v))
		n--
		return true
	})
}
