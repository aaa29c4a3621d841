package engines

import (
	"bytes"
	"errors"
	"runtime"
	"sync"
)

func init() { registerKV("go-map-strings", func() KV { return &stringMap{} }) }

// errUnordered: the store has no order of keys.
var errUnordered = errors.New("the store has no order of keys")

// stringMap is a map[string]string under a sync.RWMutex, with the codec of the byte
// stores: the reference of stores of bytes.
type stringMap struct {
	mu     sync.RWMutex
	tables [nTables]map[string]string
}

func (e *stringMap) Info() Info {
	return Info{Version: runtime.Version(), InMemory: true, ZeroCopy: true,
		Notes: "map[string]string of encoded records and a sync.RWMutex; not durable"}
}

func (e *stringMap) Open(Options) error {
	for i := range e.tables {
		e.tables[i] = map[string]string{}
	}
	return nil
}

func (e *stringMap) Close() error { return nil }

func (e *stringMap) Session() (KVSession, error) { return stringMapSession{e}, nil }

type stringMapSession struct{ e *stringMap }

func (s stringMapSession) Close() error { return nil }

func (s stringMapSession) View(fn func(tx KVTx) error) error {
	s.e.mu.RLock()
	defer s.e.mu.RUnlock()
	return fn((*stringMapTx)(s.e))
}

func (s stringMapSession) Update(fn func(tx KVTx) error) error {
	s.e.mu.Lock()
	defer s.e.mu.Unlock()
	return fn((*stringMapTx)(s.e))
}

func (s stringMapSession) Put1(t table, key, val []byte) error {
	v := string(val)
	s.e.mu.Lock()
	defer s.e.mu.Unlock()
	s.e.tables[t][string(key)] = v
	return nil
}

type stringMapTx stringMap

func (t *stringMapTx) Get(x table, key []byte) ([]byte, error) {
	v, ok := t.tables[x][string(key)]
	if !ok {
		return nil, ErrNotFound
	}
	return asBytes(v), nil
}

func (t *stringMapTx) Put(x table, key, val []byte) error {
	t.tables[x][string(key)] = string(val)
	return nil
}

func (t *stringMapTx) Scan(x table, p, _ []byte, fn func(k, v []byte) error) error {
	for k, v := range t.tables[x] {
		if !bytes.HasPrefix(asBytes(k), p) {
			continue
		}
		if err := fn(asBytes(k), asBytes(v)); err != nil {
			return err
		}
	}
	return nil
}

func (t *stringMapTx) Newest(table, []byte, int, func(k, v []byte)) error { return errUnordered }
