package engines

import (
	"bytes"
	"path/filepath"
	"time"

	"go.etcd.io/bbolt"
)

func init() { registerKV("bbolt", func() KV { return &boltKV{} }) }

type boltKV struct {
	db    *bbolt.DB
	batch bool
}

func (e *boltKV) Info() Info {
	return Info{Version: moduleVersion("go.etcd.io/bbolt"), Persistent: true, Indexed: true, Versions: true, Ordered: true, Forum: true, Durable: true, ZeroCopy: true,
		Notes: "FreelistMapType; async = NoSync; 16 durable writers use DB.Batch (MaxBatchSize = writers, MaxBatchDelay 1 ms)"}
}

func (e *boltKV) Open(o Options) (err error) {
	opt := *bbolt.DefaultOptions
	opt.FreelistType = bbolt.FreelistMapType
	opt.NoSync = o.Durability != Sync
	opt.InitialMmapSize = 2 << 30 // spares remaps, which would stop the readers
	e.db, err = bbolt.Open(filepath.Join(o.Dir, "bolt.db"), 0o600, &opt)
	if err != nil {
		return err
	}
	e.db.NoSync = opt.NoSync
	if o.Writers > 1 && o.Durability == Sync {
		e.batch = true
		e.db.MaxBatchSize = o.Writers
		e.db.MaxBatchDelay = time.Millisecond
	}
	return e.db.Update(func(tx *bbolt.Tx) error {
		for _, n := range tableNames {
			if _, err := tx.CreateBucketIfNotExists([]byte(n)); err != nil {
				return err
			}
		}
		return nil
	})
}

func (e *boltKV) Close() error { return e.db.Close() }

func (e *boltKV) Session() (KVSession, error) {
	s := &boltSession{e: e}
	s.run = func(tx *bbolt.Tx) error {
		s.tx = boltTx{tx: tx}
		return s.fn(&s.tx)
	}
	return s, nil
}

type boltSession struct {
	e   *boltKV
	fn  func(KVTx) error
	run func(*bbolt.Tx) error
	tx  boltTx
}

func (s *boltSession) Close() error { return nil }

func (s *boltSession) View(fn func(KVTx) error) error {
	s.fn = fn
	return s.e.db.View(s.run)
}

func (s *boltSession) Update(fn func(KVTx) error) error {
	s.fn = fn
	if s.e.batch {
		return s.e.db.Batch(s.run)
	}
	return s.e.db.Update(s.run)
}

func (s *boltSession) Put1(t table, key, val []byte) error {
	return s.Update(func(tx KVTx) error { return tx.Put(t, key, val) })
}

type boltTx struct {
	tx *bbolt.Tx
	b  [nTables]*bbolt.Bucket
}

var boltNames = func() (r [nTables][]byte) {
	for i, n := range tableNames {
		r[i] = []byte(n)
	}
	return
}()

func (t *boltTx) bucket(x table) *bbolt.Bucket {
	if t.b[x] == nil {
		t.b[x] = t.tx.Bucket(boltNames[x])
	}
	return t.b[x]
}

func (t *boltTx) Get(x table, key []byte) ([]byte, error) {
	v := t.bucket(x).Get(key)
	if v == nil {
		return nil, ErrNotFound
	}
	return v, nil
}

func (t *boltTx) Put(x table, key, val []byte) error {
	// bbolt keeps the value slice until commit: it needs a copy of its own
	return t.bucket(x).Put(key, bytes.Clone(val))
}

func (t *boltTx) Delete(x table, key []byte) error { return t.bucket(x).Delete(key) }

func (t *boltTx) Scan(x table, p, from []byte, fn func(k, v []byte) error) error {
	c := t.bucket(x).Cursor()
	for k, v := c.Seek(from); k != nil && bytes.HasPrefix(k, p); k, v = c.Next() {
		if err := fn(k, v); err != nil {
			return err
		}
	}
	return nil
}

func (t *boltTx) Newest(x table, p []byte, n int, fn func(k, v []byte)) error {
	c := t.bucket(x).Cursor()
	var v []byte
	k, _ := c.Seek(prefixEnd(p))
	if k == nil {
		k, v = c.Last()
	} else {
		k, v = c.Prev()
	}
	for ; n > 0 && k != nil && bytes.HasPrefix(k, p); k, v = c.Prev() {
		fn(k, v)
		n--
	}
	return nil
}
