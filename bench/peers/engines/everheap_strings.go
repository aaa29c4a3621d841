package engines

import (
	"bytes"
	"context"
	"path/filepath"

	"github.com/everheap/everheap"
)

func init() { registerKV("everheap-strings", func() KV { return &everheapKV{} }) }

// everheapKV uses Everheap as a store of bytes: a Map[string, string] for each kind of
// record, with the codec that all byte stores have.
type everheapKV struct {
	sp     *everheap.Space
	tables [nTables]everheap.Map[string, string]
}

func (e *everheapKV) Info() Info {
	return Info{Version: "this tree", Persistent: true, Durable: true, MultiProcess: true, ZeroCopy: true, Versions: true,
		Notes: "Map[string, string] of encoded records, like the byte stores; reads by Peek"}
}

func (e *everheapKV) Open(o Options) (err error) {
	var opts []everheap.Option
	if o.Durability == Sync {
		opts = append(opts, everheap.WithDurability(everheap.Durable))
	}
	if o.ReadOnly {
		opts = append(opts, everheap.WithReadOnly())
	}
	if e.sp, err = everheap.Open(filepath.Join(o.Dir, "space"), opts...); err != nil {
		return err
	}
	for i, name := range tableNames {
		if e.tables[i], err = everheap.OpenMap[string, string](e.sp, name); err != nil {
			return err
		}
	}
	return nil
}

func (e *everheapKV) Close() error { return e.sp.Close() }

func (e *everheapKV) Session() (KVSession, error) { return everheapKVSession{e}, nil }

type everheapKVSession struct{ e *everheapKV }

func (s everheapKVSession) Close() error { return nil }

func (s everheapKVSession) View(fn func(tx KVTx) error) error {
	return s.e.sp.View(func(tx *everheap.Tx) error { return fn(&everheapKVTx{s.e, tx}) })
}

func (s everheapKVSession) Update(fn func(tx KVTx) error) error {
	return s.e.sp.Update(context.Background(), func(tx *everheap.Tx) error { return fn(&everheapKVTx{s.e, tx}) })
}

func (s everheapKVSession) Put1(t table, key, val []byte) error {
	return s.e.tables[t].Set(s.e.sp, asString(key), asString(val)) // Set copies both
}

type everheapKVTx struct {
	e  *everheapKV
	tx *everheap.Tx
}

func (t *everheapKVTx) Get(x table, key []byte) ([]byte, error) {
	p := t.e.tables[x].Peek(t.tx, asString(key))
	if p == nil {
		return nil, ErrNotFound
	}
	return asBytes(*p), nil
}

func (t *everheapKVTx) Put(x table, key, val []byte) error {
	return t.e.tables[x].Set(t.tx, asString(key), asString(val))
}

// Scan has no order: a Map is a hash map.
func (t *everheapKVTx) Scan(x table, p, _ []byte, fn func(k, v []byte) error) error {
	for k, v := range t.e.tables[x].All(t.tx) {
		if !bytes.HasPrefix(asBytes(k), p) {
			continue
		}
		if err := fn(asBytes(k), asBytes(*v)); err != nil {
			return err
		}
	}
	return nil
}

// Newest returns errUnordered: a Map has no order. The forum does not use this engine.
func (t *everheapKVTx) Newest(table, []byte, int, func(k, v []byte)) error { return errUnordered }
