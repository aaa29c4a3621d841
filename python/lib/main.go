// Command lib is the library as programs in other languages use it: a shared object, built with
// -buildmode=c-shared, with functions for C. The Python package everheap is made of it.
//
// Objects are known by handles, which are numbers: to a space, a collection, a transaction, an
// iteration, a watch, a call. Keys and values are in the binary form that VALUES.md describes.
//
// Rules of ownership, and of waiting:
//
//	PY1: No Go pointer leaves the library: handles are numbers, results are copied into the caller's buffer or into memory of malloc, which the caller frees (table, put).
//	PY2: No pointer of the caller is kept: the memory that an argument points at is read only while the call lasts (input).
//	PY3: Borrowed bytes lie in the space, and not in memory of Go or C: they are valid until the view that they were borrowed from ends, and only a view lends them (ehPeek).
//	PY4: A call that could wait for others waits for a moment only, and says EH_AGAIN: so its caller looks at its signals, and either calls again or cancels (slice, call).
//	PY5: A transaction has a goroutine of its own, in which it begins and ends; others use it while that one stands still, one at a time, and its iterations have ended when it ends (transaction).
//	PY6: No panic of Go reaches the caller: what is none of the library's errors is the error Internal, with the stack (guard).
//	PY7: In a fork no function is called, since the runtime of Go has no threads there: the caller looks for forks before each call, and frees nothing of the library's then (is_forked in the extension).
//
// Start reading at guard and table, then ehGet, transaction, iteration.
package main

// #include <stdlib.h>
// #include <string.h>
// #include "everheap.h"
import "C"

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/everheap/everheap"
)

func main() {}

// table gives objects numbers (PY1). Looking one up takes no lock.
type table[T any] struct {
	mu   sync.Mutex
	list atomic.Pointer[[]*T]
	free []int
}

// add returns the number of an object; it is not 0.
func (t *table[T]) add(v *T) C.long {
	t.mu.Lock()
	defer t.mu.Unlock()
	var list []*T
	if p := t.list.Load(); p != nil {
		list = *p
	}
	var i int
	if n := len(t.free); n > 0 {
		i, t.free = t.free[n-1], t.free[:n-1]
		list = append([]*T(nil), list...)
		list[i] = v
	} else {
		i = len(list)
		list = append(list[:len(list):len(list)], v)
	}
	t.list.Store(&list)
	return C.long(i + 1)
}

// get returns the object with a number; nil if there is none.
func (t *table[T]) get(n C.long) *T {
	list := t.list.Load()
	if list == nil || n <= 0 || int(n) > len(*list) {
		return nil
	}
	return (*list)[n-1]
}

// remove frees a number, and returns what had it.
func (t *table[T]) remove(n C.long) *T {
	v := t.get(n)
	if v == nil {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	list := append([]*T(nil), *t.list.Load()...)
	list[n-1] = nil
	t.list.Store(&list)
	t.free = append(t.free, int(n-1))
	return v
}

// space is an open space.
type space struct {
	*everheap.Space
	durable bool
	txs     sync.Map // *transaction that are in progress
	walks   sync.Map // *iteration outside of transactions
	watches sync.Map // *watch
}

// collection is one that was looked up.
type collection struct {
	space *space
	c     *everheap.Collection
	in    everheap.Encoded
}

var (
	spaces      table[space]
	collections table[collection]
)

// input returns the memory of an argument (PY2).
func input(p *C.char, n C.size_t) []byte {
	if p == nil {
		return nil
	}
	return unsafe.Slice((*byte)(unsafe.Pointer(p)), int(n))
}

// put copies a result into the caller's buffer (PY1).
func put(out *C.eh_buf, b []byte) C.int {
	n := C.size_t(len(b))
	if n > out.cap {
		out.data, out.cap = (*C.char)(C.malloc(n)), n
	}
	out.len = n
	if n > 0 {
		copy(unsafe.Slice((*byte)(unsafe.Pointer(out.data)), n), b)
	}
	return C.EH_OK
}

// room returns the caller's buffer as a slice to append a result to.
func room(out *C.eh_buf) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(out.data)), int(out.cap))[:0]
}

// give is put for a result that was appended to what room returned: it is there already, unless it
// was too long.
func give(out *C.eh_buf, b []byte) C.int {
	if unsafe.SliceData(b) != (*byte)(unsafe.Pointer(out.data)) {
		return put(out, b)
	}
	out.len = C.size_t(len(b))
	return C.EH_OK
}

// guard ends an exported function: it makes a result of a panic (PY6).
func guard(out *C.eh_buf, result *C.int) {
	if r := recover(); r != nil {
		*result = report(out, "Internal", fmt.Sprintf("%v\n%s", r, debug.Stack()))
	}
}

// sentinels are the errors that have names, the special ones before the general ones.
var sentinels = []struct {
	err  error
	name string
}{
	{everheap.ErrNotFound, "NotFound"}, {everheap.ErrExists, "Exists"}, {everheap.ErrNilHandle, "NilHandle"},
	{everheap.ErrDangling, "Dangling"}, {everheap.ErrDuplicate, "Duplicate"}, {everheap.ErrTooLarge, "TooLarge"}, {everheap.ErrNaN, "NaN"}, {everheap.ErrChanged, "Changed"},
	{everheap.ErrTypeChanged, "TypeChanged"}, {everheap.ErrUnstorable, "Unstorable"},
	{everheap.ErrClosed, "Closed"}, {everheap.ErrForked, "Forked"}, {everheap.ErrShared, "Shared"}, {everheap.ErrReadOnly, "ReadOnly"},
	{everheap.ErrBusy, "Busy"}, {everheap.ErrSuspended, "Suspended"}, {everheap.ErrUnregistered, "Unregistered"}, {everheap.ErrSuperseded, "Superseded"}, {everheap.ErrSelf, "Self"},
	{everheap.ErrOwnerDied, "OwnerDied"}, {everheap.ErrNotHeld, "NotHeld"}, {everheap.ErrUnitsDiffer, "UnitsDiffer"}, {everheap.ErrTooManyLocks, "TooManyLocks"},
	{everheap.ErrNoSpace, "NoSpace"}, {everheap.ErrMaxSize, "MaxSize"}, {everheap.ErrCorrupt, "Corrupt"}, {everheap.ErrFault, "Fault"},
	{everheap.ErrLiveLost, "LiveLost"}, {everheap.ErrReplaced, "Replaced"}, {everheap.ErrIO, "IO"},
	{everheap.ErrNotReplicated, "NotReplicated"}, {everheap.ErrNotKept, "NotKept"}, {everheap.ErrOutOfOrder, "OutOfOrder"}, {everheap.ErrDiverged, "Diverged"},
	{everheap.ErrUnsupported, "Unsupported"}, {everheap.ErrAddressInUse, "AddressInUse"},
}

// nameOf returns the name of an error.
func nameOf(err error) string {
	for _, s := range sentinels {
		if errors.Is(err, s.err) {
			return s.name
		}
	}
	var b *everheap.BinaryError
	var j *everheap.JSONError
	switch {
	case errors.As(err, &b) || errors.As(err, &j):
		return "Invalid"
	case errors.Is(err, context.Canceled):
		return "Busy"
	}
	return "Error"
}

// report makes a result of an error.
func report(out *C.eh_buf, name, what string) C.int {
	put(out, []byte(name+"\x00"+what))
	return C.EH_ERROR
}

// panicked is an error that was a panic in a goroutine of the library.
type panicked struct{ what string }

// Error implements error.
func (p *panicked) Error() string { return "everheap: panic: " + p.what }

// fail is report for an error of the library.
func fail(out *C.eh_buf, err error) C.int {
	if err == nil {
		return C.EH_OK
	}
	if p := (*panicked)(nil); errors.As(err, &p) {
		return report(out, "Internal", p.Error())
	}
	return report(out, nameOf(err), err.Error())
}

// closed is the result for a handle that leads to nothing any more.
func closed(out *C.eh_buf, what string) C.int {
	return report(out, "Closed", "everheap: the "+what+" is closed")
}

// slice is how long a call waits before it lets its caller look at its signals (PY4).
const slice = 50 * time.Millisecond

// write runs fn, which is one act, in the transaction, or as a transaction of its own if there is
// none. Without wait it is EH_AGAIN if somebody else has the turn.
func (s *space) write(txn C.long, wait bool, out *C.eh_buf, fn func(sc everheap.Scope) error) C.int {
	if txn != 0 {
		t := transactions.get(txn)
		if t == nil {
			return closed(out, "transaction")
		}
		return fail(out, t.use(func(tx *everheap.Tx) error { return fn(tx) }))
	}
	if !wait {
		return tried(out, fn(s.NoWait()))
	}
	ctx, cancel := context.WithTimeout(context.Background(), slice)
	defer cancel()
	began := false
	err := s.Update(ctx, func(tx *everheap.Tx) error {
		began = true
		return fn(tx)
	})
	if !began && errors.Is(err, everheap.ErrBusy) {
		return C.EH_AGAIN
	}
	return fail(out, err)
}

// read runs fn in the transaction, or in the space if there is none.
func (s *space) read(txn C.long, fn func(sc everheap.Scope) error) error {
	if txn != 0 {
		t := transactions.get(txn)
		if t == nil {
			return everheap.ErrClosed
		}
		return t.use(func(tx *everheap.Tx) error { return fn(tx) })
	}
	return fn(s.Space)
}

// get appends the value of a key to dst, and reports whether there is one. What is here for no
// transaction is what callers do most: it allocates nothing.
func (c *collection) get(txn C.long, dst, key []byte) (v []byte, found bool, err error) {
	if txn == 0 {
		return c.in.GetTo(c.space.Space, dst, key)
	}
	return c.getIn(txn, dst, key)
}

// getIn is get in a transaction.
func (c *collection) getIn(txn C.long, dst, key []byte) (v []byte, found bool, err error) {
	err = c.space.read(txn, func(sc everheap.Scope) (err error) { v, found, err = c.in.GetTo(sc, dst, key); return err })
	return v, found, err
}

// set stores a value under a key.
func (c *collection) set(txn C.long, wait bool, out *C.eh_buf, key, value []byte) C.int {
	if txn == 0 && !wait {
		return tried(out, c.in.Set(c.space.NoWait(), key, value))
	}
	return c.space.write(txn, wait, out, func(sc everheap.Scope) error { return c.in.Set(sc, key, value) })
}

// tried is fail for an act that has not waited.
func tried(out *C.eh_buf, err error) C.int {
	if err != nil && errors.Is(err, everheap.ErrBusy) {
		return C.EH_AGAIN
	}
	return fail(out, err)
}

//export ehGet
func ehGet(coll, txn C.long, key *C.char, n C.size_t, out *C.eh_buf) (result C.int) {
	defer guard(out, &result)
	c := collections.get(coll)
	if c == nil {
		return closed(out, "collection")
	}
	v, found, err := c.get(txn, room(out), input(key, n))
	switch {
	case err != nil:
		return fail(out, err)
	case !found:
		return C.EH_MISSING
	}
	return give(out, v)
}

//export ehHas
func ehHas(coll, txn C.long, key *C.char, n C.size_t, has *C.int, out *C.eh_buf) (result C.int) {
	defer guard(out, &result)
	c := collections.get(coll)
	if c == nil {
		return closed(out, "collection")
	}
	return fail(out, c.space.read(txn, func(sc everheap.Scope) error {
		is, err := c.in.Has(sc, input(key, n))
		if is {
			*has = 1
		}
		return err
	}))
}

//export ehLen
func ehLen(coll, txn C.long, length *C.long, out *C.eh_buf) (result C.int) {
	defer guard(out, &result)
	c := collections.get(coll)
	if c == nil {
		return closed(out, "collection")
	}
	return fail(out, c.space.read(txn, func(sc everheap.Scope) error {
		n, err := c.c.Len(sc)
		*length = C.long(n)
		return err
	}))
}

//export ehRank
func ehRank(coll, txn C.long, key *C.char, n C.size_t, rank *C.long, out *C.eh_buf) (result C.int) {
	defer guard(out, &result)
	c := collections.get(coll)
	if c == nil {
		return closed(out, "collection")
	}
	return fail(out, c.space.read(txn, func(sc everheap.Scope) error {
		i, err := c.in.Rank(sc, input(key, n))
		*rank = C.long(i)
		return err
	}))
}

// ehNth returns the key and the value of the entry with i keys before it.
//
//export ehNth
func ehNth(coll, txn, i C.long, out *C.eh_buf) (result C.int) {
	defer guard(out, &result)
	c := collections.get(coll)
	if c == nil {
		return closed(out, "collection")
	}
	var k, v []byte
	err := c.space.read(txn, func(sc everheap.Scope) (err error) {
		k, v, err = c.in.Nth(sc, int(i))
		return err
	})
	if errors.Is(err, everheap.ErrNotFound) {
		return C.EH_MISSING
	}
	if err != nil {
		return fail(out, err)
	}
	return put(out, append(k, v...))
}

//export ehSet
func ehSet(coll, txn C.long, wait C.int, key *C.char, n C.size_t, value *C.char, vn C.size_t, out *C.eh_buf) (result C.int) {
	defer guard(out, &result)
	c := collections.get(coll)
	if c == nil {
		return closed(out, "collection")
	}
	return c.set(txn, wait != 0, out, input(key, n), input(value, vn))
}

//export ehDelete
func ehDelete(coll, txn C.long, wait C.int, key *C.char, n C.size_t, out *C.eh_buf) (result C.int) {
	defer guard(out, &result)
	c := collections.get(coll)
	if c == nil {
		return closed(out, "collection")
	}
	missing := false
	result = c.space.write(txn, wait != 0, out, func(sc everheap.Scope) error {
		removed, err := c.in.Delete(sc, input(key, n))
		missing = err == nil && !removed
		return err
	})
	if result == C.EH_OK && missing {
		return C.EH_MISSING
	}
	return result
}

// each calls fn with n parts of packed bytes, which have their lengths before them.
func each(b []byte, n int, fn func(part []byte) error) error {
	for range n {
		if len(b) < 4 {
			return errors.New("everheap: packed bytes end too early")
		}
		size := int(uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2])<<16 | uint32(b[3])<<24)
		if size > len(b)-4 {
			return errors.New("everheap: packed bytes end too early")
		}
		if err := fn(b[4 : 4+size : 4+size]); err != nil {
			return err
		}
		b = b[4+size:]
	}
	return nil
}

// ehSetAll stores n entries, keys and values packed in turns, in one transaction.
//
//export ehSetAll
func ehSetAll(coll, txn C.long, wait C.int, packed *C.char, size C.size_t, n C.long, out *C.eh_buf) (result C.int) {
	defer guard(out, &result)
	c := collections.get(coll)
	if c == nil {
		return closed(out, "collection")
	}
	return c.space.write(txn, wait != 0, out, func(sc everheap.Scope) error {
		var failed error
		err := c.in.SetAll(sc, func(yield func(k, v []byte) bool) {
			var key []byte
			isKey, more := true, true
			failed = each(input(packed, size), 2*int(n), func(part []byte) error {
				if isKey {
					key = part
				} else if more {
					more = yield(key, part)
				}
				isKey = !isKey
				return nil
			})
		})
		return errors.Join(err, failed)
	})
}

// ehAppend adds n values, packed, at the end of a list.
//
//export ehAppend
func ehAppend(coll, txn C.long, wait C.int, packed *C.char, size C.size_t, n C.long, out *C.eh_buf) (result C.int) {
	defer guard(out, &result)
	c := collections.get(coll)
	if c == nil {
		return closed(out, "collection")
	}
	var values [][]byte
	if err := each(input(packed, size), int(n), func(part []byte) error { values = append(values, part); return nil }); err != nil {
		return fail(out, err)
	}
	return c.space.write(txn, wait != 0, out, func(sc everheap.Scope) error { return c.in.Append(sc, values...) })
}

// ehGetAll returns the values of n keys, packed, in one version: each has a byte before it that
// says whether it is there.
//
//export ehGetAll
func ehGetAll(coll, txn C.long, packed *C.char, size C.size_t, n C.long, out *C.eh_buf) (result C.int) {
	defer guard(out, &result)
	c := collections.get(coll)
	if c == nil {
		return closed(out, "collection")
	}
	all := room(out)
	look := func(tx *everheap.Tx) error {
		return each(input(packed, size), int(n), func(key []byte) (err error) {
			at, found := len(all), false
			if all, found, err = c.in.GetTo(tx, append(all, 1), key); !found {
				all[at] = 0
			}
			return err
		})
	}
	err := c.space.read(txn, func(sc everheap.Scope) error {
		if tx, ok := sc.(*everheap.Tx); ok {
			return look(tx)
		}
		return c.space.View(look)
	})
	if err != nil {
		return fail(out, err)
	}
	return give(out, all)
}

// ehPeek lends the bytes of a value out of a view (PY3).
//
//export ehPeek
func ehPeek(coll, txn C.long, key *C.char, n C.size_t, data **C.char, length *C.size_t, out *C.eh_buf) (result C.int) {
	defer guard(out, &result)
	c, t := collections.get(coll), transactions.get(txn)
	if c == nil {
		return closed(out, "collection")
	}
	if t == nil || t.writes {
		return report(out, "ReadOnly", "everheap: only a view lends bytes; use peek inside view() or view_at()")
	}
	var b []byte
	err := t.use(func(tx *everheap.Tx) (err error) {
		b, err = c.c.Peek(tx, everheap.Binary, input(key, n))
		return err
	})
	if errors.Is(err, everheap.ErrNotFound) {
		return C.EH_MISSING
	}
	if err != nil {
		return fail(out, err)
	}
	*data, *length = (*C.char)(unsafe.Pointer(unsafe.SliceData(b))), C.size_t(len(b))
	if len(b) == 0 {
		*data = nil
	}
	return C.EH_OK
}

// ehNothing does nothing: what a call costs.
//
//export ehNothing
func ehNothing(a, b C.long) C.long { return a + b }

// ehFree forgets a collection.
//
//export ehFree
func ehFree(coll C.long) { collections.remove(coll) }
