//go:build cgo && lmdb

package engines

// LMDB through a binding of our own to the liblmdb of the system, with the build tag lmdb.
// It is thinner than the usual modules: no finalizers, noescape and nocallback, one call of
// C a primitive. So it flatters LMDB a little.

/*
#cgo LDFLAGS: -llmdb
#cgo noescape h_get
#cgo nocallback h_get
#cgo noescape h_put
#cgo nocallback h_put
#cgo noescape h_del
#cgo nocallback h_del
#cgo noescape h_cget
#cgo nocallback h_cget
#cgo noescape mdb_txn_renew
#cgo nocallback mdb_txn_renew
#cgo noescape mdb_txn_reset
#cgo nocallback mdb_txn_reset
#include <lmdb.h>
#include <stdlib.h>

static int h_get(MDB_txn *t, MDB_dbi d, const void *k, size_t n, MDB_val *out) {
	MDB_val key = { n, (void*)k };
	return mdb_get(t, d, &key, out);
}
static int h_put(MDB_txn *t, MDB_dbi d, const void *k, size_t n, const void *v, size_t vn) {
	MDB_val key = { n, (void*)k }, val = { vn, (void*)v };
	return mdb_put(t, d, &key, &val, 0);
}
static int h_del(MDB_txn *t, MDB_dbi d, const void *k, size_t n) {
	MDB_val key = { n, (void*)k };
	return mdb_del(t, d, &key, NULL);
}
typedef struct { MDB_val k, v; } h_kv;
static int h_cget(MDB_cursor *c, const void *k, size_t n, h_kv *out, int op) {
	if (k) { out->k.mv_data = (void*)k; out->k.mv_size = n; }
	int rc = mdb_cursor_get(c, &out->k, &out->v, (MDB_cursor_op)op);
	return rc;
}
*/
import "C"

import (
	"bytes"
	"fmt"
	"path/filepath"
	"runtime"
	"unsafe"
)

func init() {
	registerKV("lmdb", func() KV { return &lmdbKV{} })
}

type lmdbKV struct {
	env *C.MDB_env
	dbi [nTables]C.MDB_dbi
}

func lmdbErr(rc C.int) error {
	switch rc {
	case 0:
		return nil
	case C.MDB_NOTFOUND:
		return ErrNotFound
	}
	return fmt.Errorf("lmdb: %s", C.GoString(C.mdb_strerror(rc)))
}

func (e *lmdbKV) Info() Info {
	var a, b, c C.int
	C.mdb_version(&a, &b, &c)
	return Info{Version: fmt.Sprintf("%d.%d.%d", a, b, c), Persistent: true, Indexed: true, Versions: true, Ordered: true, Forum: true, Durable: true, MultiProcess: true, ZeroCopy: true,
		Notes: "a thin cgo binding to the liblmdb of the system; async = MDB_NOSYNC"}
}

func (e *lmdbKV) Open(o Options) error {
	if rc := C.mdb_env_create(&e.env); rc != 0 {
		return lmdbErr(rc)
	}
	C.mdb_env_set_mapsize(e.env, 6<<30)
	C.mdb_env_set_maxdbs(e.env, 8)
	var f C.uint = C.MDB_NOTLS | C.MDB_NOSUBDIR
	if o.Memory > 0 { // as its documentation says for data larger than memory
		f |= C.MDB_NORDAHEAD
	}
	if o.Durability != Sync {
		f |= C.MDB_NOSYNC
	}
	p := C.CString(filepath.Join(o.Dir, "lmdb.mdb"))
	defer C.free(unsafe.Pointer(p))
	if rc := C.mdb_env_open(e.env, p, f, 0o600); rc != 0 {
		return lmdbErr(rc)
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var t *C.MDB_txn
	if rc := C.mdb_txn_begin(e.env, nil, 0, &t); rc != 0 {
		return lmdbErr(rc)
	}
	for i, n := range tableNames {
		cn := C.CString(n)
		rc := C.mdb_dbi_open(t, cn, C.MDB_CREATE, &e.dbi[i])
		C.free(unsafe.Pointer(cn))
		if rc != 0 {
			C.mdb_txn_abort(t)
			return lmdbErr(rc)
		}
	}
	return lmdbErr(C.mdb_txn_commit(t))
}

func (e *lmdbKV) Close() error {
	C.mdb_env_close(e.env)
	return nil
}

func (e *lmdbKV) Session() (KVSession, error) {
	s := &lmdbSession{e: e}
	if rc := C.mdb_txn_begin(e.env, nil, C.MDB_RDONLY, &s.ro); rc != 0 {
		return nil, lmdbErr(rc)
	}
	C.mdb_txn_reset(s.ro)
	s.rtx = lmdbTx{s: s, t: s.ro}
	return s, nil
}

type lmdbSession struct {
	e   *lmdbKV
	ro  *C.MDB_txn
	rtx lmdbTx
	wtx lmdbTx
}

func (s *lmdbSession) Close() error {
	C.mdb_txn_abort(s.ro)
	return nil
}

func (s *lmdbSession) View(fn func(KVTx) error) error {
	if rc := C.mdb_txn_renew(s.ro); rc != 0 {
		return lmdbErr(rc)
	}
	err := fn(&s.rtx)
	C.mdb_txn_reset(s.ro)
	return err
}

func (s *lmdbSession) Update(fn func(KVTx) error) error {
	runtime.LockOSThread() // the writer mutex belongs to the thread
	defer runtime.UnlockOSThread()
	var t *C.MDB_txn
	if rc := C.mdb_txn_begin(s.e.env, nil, 0, &t); rc != 0 {
		return lmdbErr(rc)
	}
	s.wtx = lmdbTx{s: s, t: t}
	if err := fn(&s.wtx); err != nil {
		C.mdb_txn_abort(t)
		return err
	}
	return lmdbErr(C.mdb_txn_commit(t))
}

func (s *lmdbSession) Put1(t table, key, val []byte) error {
	return s.Update(func(tx KVTx) error { return tx.Put(t, key, val) })
}

type lmdbTx struct {
	s   *lmdbSession
	t   *C.MDB_txn
	val C.MDB_val
	kv  C.h_kv
}

func cBytes(v *C.MDB_val) []byte { return unsafe.Slice((*byte)(v.mv_data), int(v.mv_size)) }

func (t *lmdbTx) Get(x table, key []byte) ([]byte, error) {
	rc := C.h_get(t.t, t.s.e.dbi[x], unsafe.Pointer(unsafe.SliceData(key)), C.size_t(len(key)), &t.val)
	if rc != 0 {
		return nil, lmdbErr(rc)
	}
	return cBytes(&t.val), nil
}

func (t *lmdbTx) Put(x table, key, val []byte) error {
	return lmdbErr(C.h_put(t.t, t.s.e.dbi[x], unsafe.Pointer(unsafe.SliceData(key)), C.size_t(len(key)), unsafe.Pointer(unsafe.SliceData(val)), C.size_t(len(val))))
}

func (t *lmdbTx) Delete(x table, key []byte) error {
	return lmdbErr(C.h_del(t.t, t.s.e.dbi[x], unsafe.Pointer(unsafe.SliceData(key)), C.size_t(len(key))))
}

func (t *lmdbTx) Scan(x table, p, from []byte, fn func(k, v []byte) error) error {
	var c *C.MDB_cursor
	if rc := C.mdb_cursor_open(t.t, t.s.e.dbi[x], &c); rc != 0 {
		return lmdbErr(rc)
	}
	defer C.mdb_cursor_close(c)
	kv := (*C.h_kv)(C.calloc(1, C.size_t(unsafe.Sizeof(C.h_kv{}))))
	ck := C.CBytes(from)
	defer C.free(unsafe.Pointer(kv))
	defer C.free(ck)
	rc := C.h_cget(c, ck, C.size_t(len(from)), kv, C.MDB_SET_RANGE)
	for ; rc == 0; rc = C.h_cget(c, nil, 0, kv, C.MDB_NEXT) {
		k := cBytes(&kv.k)
		if !bytes.HasPrefix(k, p) {
			return nil
		}
		if err := fn(k, cBytes(&kv.v)); err != nil {
			return err
		}
	}
	if rc == C.MDB_NOTFOUND {
		return nil
	}
	return lmdbErr(rc)
}

func (t *lmdbTx) Newest(x table, p []byte, n int, fn func(k, v []byte)) error {
	var c *C.MDB_cursor
	if rc := C.mdb_cursor_open(t.t, t.s.e.dbi[x], &c); rc != 0 {
		return lmdbErr(rc)
	}
	defer C.mdb_cursor_close(c)
	end := prefixEnd(p)
	kv := (*C.h_kv)(C.calloc(1, C.size_t(unsafe.Sizeof(C.h_kv{}))))
	ck := C.CBytes(end)
	defer C.free(unsafe.Pointer(kv))
	defer C.free(ck)
	rc := C.h_cget(c, ck, C.size_t(len(end)), kv, C.MDB_SET_RANGE)
	if rc == C.MDB_NOTFOUND {
		rc = C.h_cget(c, nil, 0, kv, C.MDB_LAST)
	} else {
		rc = C.h_cget(c, nil, 0, kv, C.MDB_PREV)
	}
	for ; rc == 0 && n > 0; rc = C.h_cget(c, nil, 0, kv, C.MDB_PREV) {
		k := cBytes(&kv.k)
		if !bytes.HasPrefix(k, p) {
			return nil
		}
		fn(k, cBytes(&kv.v))
		n--
	}
	if rc == C.MDB_NOTFOUND {
		return nil
	}
	return lmdbErr(rc)
}
