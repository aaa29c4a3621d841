package engine

import (
	"context"
	"runtime/debug"
	"unsafe"

	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/layout"
)

// The operations in this file are transactions of their own on one entry of a
// map. They do without a handle on the transaction, hence without allocation.

// MapOf names a map and the Go types by which it is accessed.
type MapOf struct {
	ID         format.ID
	Key, Value layout.Identity
	Sorted     bool
}

// Get copies the value of the key to the variable at dst, and reports whether
// the key is there. With a nil dst it only reports.
func (sp *Space) Get(of MapOf, key, dst unsafe.Pointer) (found bool, err error) {
	var tx Tx
	defer tx.endView(sp, debug.SetPanicOnFault(true), &err)
	if err := tx.view(sp); err != nil {
		return false, err
	}
	found, err = tx.CopyOut(of, key, dst)
	sp.live.TryRelease(&tx.hold) // nobody else knows the transaction: it need not look ended
	return found, err
}

// look runs fn in a reading transaction.
func (sp *Space) look(fn func(tx *Tx) error) (err error) {
	var tx Tx
	defer tx.endView(sp, debug.SetPanicOnFault(true), &err)
	if err := tx.view(sp); err != nil {
		return err
	}
	err = fn(&tx)
	tx.EndView()
	return err
}

// CopyOut is Get in a transaction.
func (tx *Tx) CopyOut(of MapOf, key, dst unsafe.Pointer) (bool, error) {
	m, object, err := tx.Bind(of)
	if err != nil {
		return false, err
	}
	if key, err = m.shape.Key.Stored(key); err != nil {
		return false, err
	}
	entry, err := tx.Get(m, object, key)
	if err != nil || entry == nil || dst == nil {
		return entry != nil, err
	}
	return true, m.shape.Value.CopyOut(dst, m.shape.ValueOf(entry), tx.Bounds(entry))
}

// Set stores a copy of the value under the key; see Change for durable.
func (sp *Space) Set(of MapOf, key, value unsafe.Pointer, durable bool) error {
	return sp.Change(durable, func(tx *Tx) error { return tx.Store(of, key, value) })
}

// Store is Set in a transaction. The change begins before anything is looked at: one
// who shares the transaction by mistake may come when it has ended.
func (tx *Tx) Store(of MapOf, key, value unsafe.Pointer) error {
	if err := tx.writable(); err != nil {
		return err
	}
	defer tx.endChange()
	m, _, err := tx.Bind(of)
	if err != nil {
		return err
	}
	if key, err = m.shape.Key.Stored(key); err != nil {
		return err
	}
	if value, err = m.shape.Value.Stored(value); err != nil {
		return err
	}
	return tx.set(m, key, value)
}

// Delete removes the key and reports whether it was there; see Change for durable.
func (sp *Space) Delete(of MapOf, key unsafe.Pointer, durable bool) (removed bool, err error) {
	err = sp.Change(durable, func(tx *Tx) (err error) {
		removed, err = tx.Remove(of, key)
		return err
	})
	return removed, err
}

// Remove is Delete in a transaction.
func (tx *Tx) Remove(of MapOf, key unsafe.Pointer) (bool, error) {
	if err := tx.writable(); err != nil {
		return false, err
	}
	defer tx.endChange()
	m, _, err := tx.Bind(of)
	if err != nil {
		return false, err
	}
	if key, err = m.shape.Key.Stored(key); err != nil {
		return false, err
	}
	return tx.remove(m, key)
}

// Change runs fn in a writing transaction that has no handle outside fn, and, if
// durable is set, waits until the outcome survives power loss. If the goroutine has a
// Resumption, it is part of that one's transaction.
func (sp *Space) Change(durable bool, fn func(tx *Tx) error) error {
	if r := sp.Resumption(); r != nil {
		return r.join(durable, fn)
	}
	return sp.changeAlone(durable, fn)
}

// changeAlone is Change for what is a transaction of its own in any case.
func (sp *Space) changeAlone(durable bool, fn func(tx *Tx) error) error {
	if !durable {
		_, err := sp.change(context.Background(), fn)
		return err
	}
	if err := sp.enter(); err != nil {
		return err
	}
	defer sp.Exit()
	version, err := sp.change(context.Background(), fn)
	if err != nil {
		return err
	}
	return sp.awaitDurable(version)
}

// change runs one operation in a writing transaction, in one guard from its beginning to
// its end. The transaction's Tx is the space's own, used again and again; so nothing may
// touch it once the turn was given to the next.
func (sp *Space) change(ctx context.Context, fn func(tx *Tx) error) (version format.Version, err error) {
	tx := &sp.writes
	var c commitment
	before := debug.SetPanicOnFault(true)
	in := beginning
	defer func() {
		debug.SetPanicOnFault(before)
		if in != over {
			r, handled := recover(), false // nil: Goexit
			if handled, err = tx.endWrite(sp, in, &c, r); r != nil && !handled {
				panic(r)
			}
			version = c.version
		}
	}()
	if err = tx.start(ctx, sp); err == nil {
		in = running
		if err = fn(tx); err != nil {
			in = over
			tx.Abort()
			return 0, err
		}
		in = committing
		err = tx.conclude(&c)
	}
	in = over
	return c.version, err
}

// Peek returns the stored value of the key, or a copy if it is Coded; nil if it is not
// there.
func (tx *Tx) Peek(of MapOf, key unsafe.Pointer) (unsafe.Pointer, error) {
	if tx.first.ready.Load() == findable && tx.first.of == of {
		if value, ok := tx.first.finder.Value(*(*string)(key)); ok {
			return value, nil
		}
	}
	return tx.peek(of, key)
}

// peek is Peek for a map that is not the first one of a reading transaction, and
// for a key that a finder does not find.
func (tx *Tx) peek(of MapOf, key unsafe.Pointer) (unsafe.Pointer, error) {
	m, object, err := tx.Bind(of)
	if err != nil {
		return nil, err
	}
	if key, err = m.shape.Key.Stored(key); err != nil {
		return nil, err
	}
	entry, err := tx.Get(m, object, key)
	if err != nil || entry == nil {
		return nil, err
	}
	tx.borrow(entry)
	if tx.sp.options.Verify {
		if err := m.shape.Value.Check(m.shape.ValueOf(entry), tx.Bounds(entry)); err != nil {
			return nil, err
		}
	}
	return tx.lend(m.shape.Value, m.shape.ValueOf(entry), entry)
}

// lend returns what the program gets to see of a stored value, in the block with the
// payload: itself, or, if it is Coded, a copy (L9 of layout).
func (tx *Tx) lend(t *layout.Type, value, payload unsafe.Pointer) (unsafe.Pointer, error) {
	if !t.Coded() {
		return value, nil
	}
	return t.CopyNew(value, tx.Bounds(payload))
}

// Entries walks the entries of a map as they are when the walk starts: it copies
// each key to the variable whose address next returns, and passes the stored value, or
// what is lent of it, to yield.
func (tx *Tx) Entries(of MapOf, next func() unsafe.Pointer, yield func(value unsafe.Pointer) bool) error {
	m, object, err := tx.Bind(of)
	if err != nil {
		return err
	}
	return tx.copyKeys(m, next, yield, func(yield func(entry unsafe.Pointer) bool) error { return tx.All(m, object, yield) })
}

// copyKeys passes the entries of a walk on as Entries does.
func (tx *Tx) copyKeys(m *Map, next func() unsafe.Pointer, yield func(value unsafe.Pointer) bool, walk func(yield func(entry unsafe.Pointer) bool) error) error {
	var failed error
	err := walk(func(entry unsafe.Pointer) bool {
		value, err := tx.handOut(m, entry, next())
		failed = err
		return err == nil && yield(value)
	})
	if err == nil {
		err = failed
	}
	return err
}

// handOut copies the key of an entry to the variable at dst, and returns the stored
// value.
func (tx *Tx) handOut(m *Map, entry, dst unsafe.Pointer) (value unsafe.Pointer, err error) {
	bounds := tx.Bounds(entry)
	if err = m.shape.Key.CopyOut(dst, m.shape.KeyOf(entry), bounds); err != nil {
		return nil, err
	}
	value = m.shape.ValueOf(entry)
	if tx.sp.options.Verify {
		if err = m.shape.Value.Check(value, bounds); err != nil {
			return nil, err
		}
	}
	return tx.lend(m.shape.Value, value, entry)
}

// Len returns the number of entries.
func (tx *Tx) Len(of MapOf) (int, error) {
	_, object, err := tx.Bind(of)
	if err != nil {
		return 0, err
	}
	return int(object.Count), nil
}

// Len is the same in a transaction of its own.
func (sp *Space) Len(of MapOf) (n int, err error) {
	var tx Tx // not by look, which has to put it on the heap
	defer tx.endView(sp, debug.SetPanicOnFault(true), &err)
	if err := tx.view(sp); err != nil {
		return 0, err
	}
	n, err = tx.Len(of)
	tx.EndView()
	return n, err
}
