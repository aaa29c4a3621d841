package engine

import (
	"context"
	"runtime/debug"
	"unsafe"

	"github.com/everheap/everheap/internal/format"
)

// The operations in this file are transactions of their own on one entry of a
// map. They do without a handle on the transaction, hence without allocation.

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

// Set stores a copy of the value under the key; see Change for durable.
func (sp *Space) Set(of MapOf, key, value unsafe.Pointer, durable bool) error {
	return sp.Change(durable, func(tx *Tx) error { return tx.Store(of, key, value) })
}

// Delete removes the key and reports whether it was there; see Change for durable.
func (sp *Space) Delete(of MapOf, key unsafe.Pointer, durable bool) (removed bool, err error) {
	err = sp.Change(durable, func(tx *Tx) (err error) {
		removed, err = tx.Remove(of, key)
		return err
	})
	return removed, err
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
	tx := &sp.writes.tx
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
