package engine

import (
	"context"
	"runtime/debug"
	"unsafe"

	"github.com/everheap/everheap/internal/edit"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/turn"
)

// Scope says in which transaction an operation on the objects of a space runs: in a given one, or
// alone, in a transaction of its own. A transaction of its own has no handle, so Go allocates
// nothing. If it changes something, it is as durable as the scope says; and if the goroutine has a
// Resumption, it joins that one's transaction: see Space.Change. The methods of Tx document the
// operations.
type Scope struct {
	tx      *Tx // nil: each operation in a transaction of its own
	sp      *Space
	durable bool
}

// Scope returns the transaction as a scope.
func (tx *Tx) Scope() Scope { return Scope{tx: tx} }

// Alone returns the scope in which each operation is a transaction of its own.
func (sp *Space) Alone(durable bool) Scope { return Scope{sp: sp, durable: durable} }

// Get is Tx.Get.
func (a Scope) Get(of edit.MapOf, key, dst unsafe.Pointer) (bool, error) {
	if a.tx != nil {
		return a.tx.Get(of, key, dst)
	}
	return a.sp.get(of, key, dst)
}

// get is Scope.Get alone.
func (sp *Space) get(of edit.MapOf, key, dst unsafe.Pointer) (found bool, err error) {
	var tx Tx
	defer tx.endView(sp, debug.SetPanicOnFault(true), &err)
	if err := tx.view(sp); err != nil {
		return false, err
	}
	found, err = tx.Get(of, key, dst)
	tx.drop()
	return found, err
}

// Len is Tx.Len.
func (a Scope) Len(of edit.MapOf) (int, error) {
	if a.tx != nil {
		return a.tx.Len(of)
	}
	return a.sp.count(of)
}

// count is Scope.Len alone.
func (sp *Space) count(of edit.MapOf) (n int, err error) {
	var tx Tx // look would make it escape to the heap; the functions below do the same
	defer tx.endView(sp, debug.SetPanicOnFault(true), &err)
	if err := tx.view(sp); err != nil {
		return 0, err
	}
	n, err = tx.Len(of)
	tx.drop()
	return n, err
}

// ReadItem is Tx.ReadItem.
func (a Scope) ReadItem(of edit.ListOf, i int, dst unsafe.Pointer) error {
	if a.tx != nil {
		return a.tx.ReadItem(of, i, dst)
	}
	return a.sp.readItem(of, i, dst)
}

// readItem is Scope.ReadItem alone.
func (sp *Space) readItem(of edit.ListOf, i int, dst unsafe.Pointer) (err error) {
	var tx Tx
	defer tx.endView(sp, debug.SetPanicOnFault(true), &err)
	if err := tx.view(sp); err != nil {
		return err
	}
	err = tx.ReadItem(of, i, dst)
	tx.drop()
	return err
}

// ListLen is Tx.ListLen.
func (a Scope) ListLen(of edit.ListOf) (int, error) {
	if a.tx != nil {
		return a.tx.ListLen(of)
	}
	return a.sp.listLen(of)
}

// listLen is Scope.ListLen alone.
func (sp *Space) listLen(of edit.ListOf) (n int, err error) {
	var tx Tx
	defer tx.endView(sp, debug.SetPanicOnFault(true), &err)
	if err := tx.view(sp); err != nil {
		return 0, err
	}
	n, err = tx.ListLen(of)
	tx.drop()
	return n, err
}

// ReadValue is Tx.ReadValue.
func (a Scope) ReadValue(of edit.RefOf, dst unsafe.Pointer) error {
	if a.tx != nil {
		return a.tx.ReadValue(of, dst)
	}
	return a.sp.readValue(of, dst)
}

// readValue is Scope.ReadValue alone.
func (sp *Space) readValue(of edit.RefOf, dst unsafe.Pointer) (err error) {
	var tx Tx
	defer tx.endView(sp, debug.SetPanicOnFault(true), &err)
	if err := tx.view(sp); err != nil {
		return err
	}
	err = tx.ReadValue(of, dst)
	tx.drop()
	return err
}

// drop ends a reading transaction that nothing else refers to: it need not be marked as ended.
func (tx *Tx) drop() { tx.sp.Live.TryRelease(&tx.hold) }

// Set is Tx.Set.
func (a Scope) Set(of edit.MapOf, key, value unsafe.Pointer) error {
	if a.tx != nil {
		return a.tx.Set(of, key, value)
	}
	return a.sp.Change(a.durable, func(tx *Tx) error { return tx.Set(of, key, value) })
}

// Delete is Tx.Delete.
func (a Scope) Delete(of edit.MapOf, key unsafe.Pointer) (removed bool, err error) {
	if a.tx != nil {
		return a.tx.Delete(of, key)
	}
	err = a.sp.Change(a.durable, func(tx *Tx) (err error) {
		removed, err = tx.Delete(of, key)
		return err
	})
	return removed, err
}

// Edit runs fn, which changes something, as one operation.
func (a Scope) Edit(fn func(tx *Tx) error) error {
	if a.tx != nil {
		return fn(a.tx)
	}
	return a.sp.Change(a.durable, fn)
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

// Change runs fn in a writing transaction that has no handle outside fn. If durable is set, it
// waits until the outcome survives power loss. If the goroutine has a Resumption, fn joins that
// one's transaction.
func (sp *Space) Change(durable bool, fn func(tx *Tx) error) error {
	if r := sp.Resumption(); r != nil {
		return r.join(durable, fn)
	}
	return sp.changeAlone(durable, fn)
}

// changeAlone is Change, always as a transaction of its own.
func (sp *Space) changeAlone(durable bool, fn func(tx *Tx) error) error {
	if s := sp.beginSpan(context.Background(), false); s != nil {
		return sp.changeTraced(s, durable, fn)
	}
	if !durable {
		_, err := sp.changeNow(context.Background(), fn)
		return err
	}
	if err := sp.Enter(); err != nil {
		return err
	}
	defer sp.Exit()
	version, err := sp.changeNow(context.Background(), fn)
	if err != nil {
		return err
	}
	return sp.durable.Await(version)
}

// change is changeNow, and reports the transaction to the traces if there are any.
func (sp *Space) change(ctx context.Context, fn func(tx *Tx) error) (version format.Version, err error) {
	if s := sp.beginSpan(ctx, false); s != nil {
		return sp.traced(s, fn)
	}
	return sp.changeNow(ctx, fn)
}

// changeNow runs one operation in a writing transaction, under one guard from beginning to end. The
// transaction's Tx is the space's own and is reused: nothing may touch it once the turn was given
// to the next writer.
func (sp *Space) changeNow(ctx context.Context, fn func(tx *Tx) error) (version format.Version, err error) {
	tx := &sp.writes.tx
	var c commitment
	before := debug.SetPanicOnFault(true)
	in := beginning
	defer func() {
		debug.SetPanicOnFault(before)
		if in != over {
			err = tx.endWrite(sp, in, &c, recover())
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

// changeInBackground is change for the library's own work.
func (sp *Space) changeInBackground(ctx context.Context, fn func(tx *Tx) error) (version format.Version, err error) {
	if s := sp.beginSpan(ctx, true); s != nil {
		return sp.traced(s, fn)
	}
	return sp.changeNow(ctx, fn)
}

// changeBare is changeInBackground for work that changes no objects.
func (sp *Space) changeBare(ctx context.Context, fn func(w turn.Writing) error) (format.Version, error) {
	return sp.changeInBackground(ctx, func(tx *Tx) error {
		return fn(turn.Writing{Txn: tx.Write, State: tx.State, Base: tx.hold.State})
	})
}

// changeBy is changeInBackground, and also passes the address of the base's state, to compare with.
func (sp *Space) changeBy(ctx context.Context, fn func(tx *edit.Editor, base format.Addr) error) (format.Version, error) {
	return sp.changeInBackground(ctx, func(tx *Tx) error { return fn(&tx.Editor, tx.hold.State) })
}
