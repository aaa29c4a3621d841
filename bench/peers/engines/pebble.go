package engines

import (
	"io"
	"path/filepath"
	"sync"

	"github.com/cockroachdb/pebble/v2"
)

func init() { registerKV("pebble", func() KV { return &pebbleKV{} }) }

type pebbleKV struct {
	db    *pebble.DB
	cache *pebble.Cache
	mu    sync.Mutex // pebble has atomic batches, no transactions: writers that read first take this
	wo    *pebble.WriteOptions
	sync  bool
}

type pebbleSilent struct{}

func (pebbleSilent) Infof(string, ...interface{})  {}
func (pebbleSilent) Errorf(string, ...interface{}) {}
func (pebbleSilent) Fatalf(f string, a ...interface{}) {
	panic(f)
}

func (e *pebbleKV) Info() Info {
	return Info{Version: moduleVersion("github.com/cockroachdb/pebble/v2"), Persistent: true, Indexed: true, Versions: true, Ordered: true, Forum: true, Durable: true,
		Notes: "256 MiB cache, 64 MiB memtable, default compression; async = NoSync (the log is written by a background goroutine: the last commits may not survive kill -9); read-modify-write under a Go mutex, the wait for the sync outside"}
}

func (e *pebbleKV) Open(o Options) (err error) {
	e.cache = pebble.NewCache(o.cache(256 << 20))
	opt := &pebble.Options{Cache: e.cache, MemTableSize: uint64(o.cache(64 << 20)), Logger: pebbleSilent{}}
	e.sync = o.Durability == Sync
	e.wo = pebble.NoSync
	if e.sync {
		e.wo = pebble.Sync
	}
	e.db, err = pebble.Open(filepath.Join(o.Dir, "pebble"), opt)
	return err
}

func (e *pebbleKV) Close() error {
	err := e.db.Close()
	e.cache.Unref()
	return err
}

func (e *pebbleKV) Session() (KVSession, error) {
	s := &pebbleSession{e: e}
	s.ro = pebbleTx{r: e.db}
	return s, nil
}

type pebbleSession struct {
	e  *pebbleKV
	ro pebbleTx
}

func (s *pebbleSession) Close() error { return nil }

// View reads straight from the DB: each Get or iterator is consistent in
// itself, which is all the workloads need.
func (s *pebbleSession) View(fn func(KVTx) error) error {
	defer s.ro.done()
	return fn(&s.ro)
}

func (s *pebbleSession) Update(fn func(KVTx) error) error {
	e := s.e
	b := e.db.NewBatch()
	tx := pebbleTx{r: e.db, b: b}
	e.mu.Lock()
	err := fn(&tx)
	tx.done()
	if err != nil {
		e.mu.Unlock()
		b.Close()
		return err
	}
	if e.sync {
		err = e.db.ApplyNoSyncWait(b, pebble.Sync)
		e.mu.Unlock()
		if err == nil {
			err = b.SyncWait()
		}
	} else {
		err = e.db.Apply(b, pebble.NoSync)
		e.mu.Unlock()
	}
	b.Close()
	return err
}

func (s *pebbleSession) Put1(_ table, key, val []byte) error {
	return s.e.db.Set(key, val, s.e.wo)
}

type pebbleTx struct {
	r pebble.Reader
	b *pebble.Batch
	c io.Closer
}

func (t *pebbleTx) done() {
	if t.c != nil {
		t.c.Close()
		t.c = nil
	}
}

func (t *pebbleTx) Get(_ table, key []byte) ([]byte, error) {
	t.done()
	v, c, err := t.r.Get(key)
	if err == pebble.ErrNotFound {
		return nil, ErrNotFound
	}
	if err != nil {
		return nil, err
	}
	t.c = c
	return v, nil
}

func (t *pebbleTx) Put(_ table, key, val []byte) error { return t.b.Set(key, val, nil) }

func (t *pebbleTx) Delete(_ table, key []byte) error { return t.b.Delete(key, nil) }

func (t *pebbleTx) Scan(_ table, p, from []byte, fn func(k, v []byte) error) error {
	it, err := t.r.NewIter(&pebble.IterOptions{LowerBound: from, UpperBound: prefixEnd(p)})
	if err != nil {
		return err
	}
	defer it.Close()
	for ok := it.First(); ok; ok = it.Next() {
		v, err := it.ValueAndErr()
		if err != nil {
			return err
		}
		if err := fn(it.Key(), v); err != nil {
			return err
		}
	}
	return it.Error()
}

func (t *pebbleTx) Newest(_ table, p []byte, n int, fn func(k, v []byte)) error {
	it, err := t.r.NewIter(&pebble.IterOptions{LowerBound: p, UpperBound: prefixEnd(p)})
	if err != nil {
		return err
	}
	defer it.Close()
	for ok := it.Last(); ok && n > 0; ok = it.Prev() {
		v, err := it.ValueAndErr()
		if err != nil {
			return err
		}
		fn(it.Key(), v)
		n--
	}
	return it.Error()
}

// Snapshot implements snapshotter: View does not pin a version, and a snapshot does.
func (s *pebbleSession) Snapshot(fn func(KVTx) error) error {
	snapshot := s.e.db.NewSnapshot()
	defer snapshot.Close()
	tx := pebbleTx{r: snapshot}
	defer tx.done()
	return fn(&tx)
}
