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
// Resumption, it joins that one's transaction: see Scope.change. The methods of Tx document the
// operations.
type Scope struct {
	tx      *Tx // nil: each operation in a transaction of its own
	sp      *Space
	durable bool
	noWait  bool // for its turn
}

// Scope returns the transaction as a scope.
func (tx *Tx) Scope() Scope { return Scope{tx: tx} }

// Alone returns the scope in which each operation is a transaction of its own.
func (sp *Space) Alone(durable bool) Scope { return Scope{sp: sp, durable: durable} }

// NoWait returns the scope in which an operation alone does not wait for its turn: ErrBusy.
func (a Scope) NoWait() Scope { a.noWait = true; return a }

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
func (a Scope) Len(of edit.MapOf) (n int, err error) {
	if a.tx != nil {
		return a.tx.Len(of)
	}
	var tx Tx // look would make it escape to the heap; the functions below do the same
	defer tx.endView(a.sp, debug.SetPanicOnFault(true), &err)
	if err := tx.view(a.sp); err != nil {
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
func (a Scope) ListLen(of edit.ListOf) (n int, err error) {
	if a.tx != nil {
		return a.tx.ListLen(of)
	}
	var tx Tx
	defer tx.endView(a.sp, debug.SetPanicOnFault(true), &err)
	if err := tx.view(a.sp); err != nil {
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

// AppendValue is Tx.AppendValue.
func (a Scope) AppendValue(of *edit.StoredOf, key unsafe.Pointer, encode edit.Encode, dst []byte) (b []byte, found bool, err error) {
	if a.tx != nil {
		return a.tx.AppendValue(of, key, encode, dst)
	}
	var tx Tx
	defer tx.endView(a.sp, debug.SetPanicOnFault(true), &err)
	if err := tx.view(a.sp); err != nil {
		return dst, false, err
	}
	b, found, err = tx.AppendValue(of, key, encode, dst)
	tx.drop()
	return b, found, err
}

// drop ends a reading transaction that nothing else refers to: it need not be marked as ended.
func (tx *Tx) drop() { tx.sp.Live.TryRelease(&tx.hold) }

// Set is Tx.Set.
func (a Scope) Set(of edit.MapOf, key, value unsafe.Pointer) error {
	if a.tx != nil {
		return a.tx.Set(of, key, value)
	}
	return a.change(func(tx *Tx) error { return tx.Set(of, key, value) })
}

// Delete is Tx.Delete.
func (a Scope) Delete(of edit.MapOf, key unsafe.Pointer) (removed bool, err error) {
	if a.tx != nil {
		return a.tx.Delete(of, key)
	}
	err = a.change(func(tx *Tx) (err error) {
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
	return a.change(fn)
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

// Change is Scope.Edit alone.
func (sp *Space) Change(durable bool, fn func(tx *Tx) error) error { return sp.Alone(durable).Edit(fn) }

// change runs fn in a writing transaction that has no handle outside fn. If the scope is durable, it
// waits until the outcome survives power loss. If the goroutine has a Resumption, fn joins that
// one's transaction.
func (a Scope) change(fn func(tx *Tx) error) error {
	sp, ctx := a.sp, a.patience()
	if r := sp.Resumption(); r != nil {
		return r.join(a.durable, fn)
	}
	if s := sp.beginSpan(ctx, false); s != nil {
		return sp.changeTraced(s, a.durable, fn)
	}
	if !a.durable {
		_, err := sp.changeNow(ctx, fn)
		return err
	}
	if err := sp.Enter(); err != nil {
		return err
	}
	defer sp.Exit()
	version, err := sp.changeNow(ctx, fn)
	if err != nil {
		return err
	}
	return sp.durable.Await(version)
}

// patience returns a context that ends the waiting of an operation alone for its turn.
func (a Scope) patience() context.Context {
	if a.noWait {
		return passed
	}
	return context.Background()
}

// passed has ended: with it, an operation gets its turn only if no other transaction has it.
var passed, pass = context.WithCancel(context.Background())

func init() { pass() }

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
