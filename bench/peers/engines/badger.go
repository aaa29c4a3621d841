package engines

import (
	"bytes"
	"path/filepath"

	"github.com/dgraph-io/badger/v4"
)

func init() { registerKV("badger", func() KV { return &badgerKV{} }) }

type badgerKV struct{ db *badger.DB }

func (e *badgerKV) Info() Info {
	return Info{Version: moduleVersion("github.com/dgraph-io/badger/v4"), Persistent: true, Indexed: true, Versions: true, Ordered: true, Forum: true, Durable: true,
		Notes: "DefaultOptions, no logger; async = SyncWrites false (a mapped log), sync = SyncWrites true; Update retries on ErrConflict"}
}

func (e *badgerKV) Open(o Options) (err error) {
	opt := badger.DefaultOptions(filepath.Join(o.Dir, "badger")).WithLogger(nil).WithSyncWrites(o.Durability == Sync).WithMetricsEnabled(false)
	if o.Memory > 0 {
		opt = opt.WithMemTableSize(o.cache(64 << 20)).WithBlockCacheSize(o.cache(256 << 20)).WithNumMemtables(2)
	}
	e.db, err = badger.Open(opt)
	return err
}

func (e *badgerKV) Close() error { return e.db.Close() }
func (e *badgerKV) Session() (KVSession, error) {
	s := &badgerSession{e: e}
	s.run = func(tx *badger.Txn) error {
		s.tx.tx = tx
		return s.fn(&s.tx)
	}
	return s, nil
}

type badgerSession struct {
	e   *badgerKV
	fn  func(KVTx) error
	run func(*badger.Txn) error
	tx  badgerTx
}

func (s *badgerSession) Close() error { return nil }
func (s *badgerSession) View(fn func(KVTx) error) error {
	s.fn = fn
	return s.e.db.View(s.run)
}

func (s *badgerSession) Update(fn func(KVTx) error) error {
	s.fn = fn
	for {
		if err := s.e.db.Update(s.run); err != badger.ErrConflict {
			return err
		}
	}
}

func (s *badgerSession) Put1(t table, key, val []byte) error {
	return s.Update(func(tx KVTx) error { return tx.Put(t, key, val) })
}

type badgerTx struct {
	tx  *badger.Txn
	buf []byte
}

func (t *badgerTx) Get(_ table, key []byte) ([]byte, error) {
	it, err := t.tx.Get(key)
	if err == badger.ErrKeyNotFound {
		return nil, ErrNotFound
	}
	if err != nil {
		return nil, err
	}
	t.buf, err = it.ValueCopy(t.buf)
	return t.buf, err
}

func (t *badgerTx) Put(_ table, key, val []byte) error {
	return t.tx.Set(bytes.Clone(key), bytes.Clone(val)) // badger keeps both
}

func (t *badgerTx) Delete(_ table, key []byte) error { return t.tx.Delete(bytes.Clone(key)) }

func (t *badgerTx) Scan(_ table, p, from []byte, fn func(k, v []byte) error) error {
	o := badger.DefaultIteratorOptions
	o.Prefix = p
	it := t.tx.NewIterator(o)
	defer it.Close()
	for it.Seek(from); it.ValidForPrefix(p); it.Next() {
		i := it.Item()
		if err := i.Value(func(v []byte) error { return fn(i.Key(), v) }); err != nil {
			return err
		}
	}
	return nil
}

func (t *badgerTx) Newest(_ table, p []byte, n int, fn func(k, v []byte)) error {
	o := badger.DefaultIteratorOptions
	o.Reverse = true
	o.PrefetchSize = n
	o.Prefix = p
	it := t.tx.NewIterator(o)
	defer it.Close()
	seek := append(append([]byte(nil), p...), 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff)
	for it.Seek(seek); n > 0 && it.ValidForPrefix(p); it.Next() {
		i := it.Item()
		if err := i.Value(func(v []byte) error { fn(i.Key(), v); return nil }); err != nil {
			return err
		}
		n--
	}
	return nil
}
