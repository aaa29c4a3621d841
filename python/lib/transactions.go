package main

// #include "everheap.h"
import "C"

import (
	"context"
	"encoding/binary"
	"errors"
	"sync"
	"time"

	"github.com/everheap/everheap"
)

// transaction is one that its caller begins and ends with calls (PY5): the goroutine of its
// function stands still in between.
type transaction struct {
	space  *space
	tx     *everheap.Tx
	writes bool
	cancel context.CancelFunc
	ready  chan struct{} // closed when it has begun
	finish chan bool     // whether to commit
	done   chan struct{} // closed when it has ended
	err    error         // of the end

	mu     sync.Mutex // one at a time uses it
	walks  map[*iteration]bool
	failed error // the first error that would have ended it
}

var transactions table[transaction]

// errAborted ends a transaction that its caller aborts.
var errAborted = errors.New("aborted")

// begin starts a transaction of a kind.
func (s *space) begin(kind C.int, checkpoint string) *transaction {
	ctx, cancel := context.WithCancel(context.Background())
	t := &transaction{space: s, cancel: cancel, ready: make(chan struct{}), finish: make(chan bool, 1), done: make(chan struct{}),
		walks: map[*iteration]bool{}, writes: kind == C.EH_UPDATE || kind == C.EH_DURABLE}
	run := func(tx *everheap.Tx) error {
		t.tx = tx
		close(t.ready)
		if !<-t.finish {
			return errAborted
		}
		return t.failed
	}
	s.txs.Store(t, true)
	go func() {
		defer close(t.done)
		defer s.txs.Delete(t)
		defer cancel()
		switch kind {
		case C.EH_UPDATE:
			t.err = s.Update(ctx, run)
		case C.EH_DURABLE:
			t.err = s.Update(ctx, run, everheap.Durable)
		case C.EH_VIEW_AT:
			t.err = s.ViewAt(checkpoint, run)
		default:
			t.err = s.View(run)
		}
		if errors.Is(t.err, errAborted) {
			t.err = nil
		}
	}()
	return t
}

// use runs fn in the transaction.
func (t *transaction) use(fn func(tx *everheap.Tx) error) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	select {
	case <-t.done:
		return everheap.ErrClosed
	default:
	}
	return t.tx.Guard(func() error { return fn(t.tx) })
}

// end ends the transaction, and its iterations before.
func (t *transaction) end(commit bool) error {
	t.cancel()
	for _, w := range t.open() {
		w.close()
	}
	select {
	case t.finish <- commit:
	default: // somebody else has ended it
	}
	<-t.done
	return t.err
}

// open returns the iterations that have not ended.
func (t *transaction) open() (list []*iteration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for w := range t.walks {
		list = append(list, w)
	}
	return list
}

// ehBegin begins a transaction, and waits for it for a moment; ehBegun waits on.
//
//export ehBegin
func ehBegin(h C.long, kind C.int, checkpoint *C.char, n C.size_t, txn *C.long, out *C.eh_buf) (result C.int) {
	defer guard(out, &result)
	s := spaces.get(h)
	if s == nil {
		return closed(out, "space")
	}
	*txn = transactions.add(s.begin(kind, string(input(checkpoint, n))))
	return ehBegun(*txn, out)
}

// ehBegun waits for a moment for a transaction to begin. The caller ends it, unless it is an error.
//
//export ehBegun
func ehBegun(txn C.long, out *C.eh_buf) (result C.int) {
	defer guard(out, &result)
	t := transactions.get(txn)
	if t == nil {
		return closed(out, "transaction")
	}
	select {
	case <-t.ready:
		return C.EH_OK
	case <-t.done:
	case <-time.After(slice):
		return C.EH_AGAIN
	}
	transactions.remove(txn)
	select {
	case <-t.ready: // it began, and was ended by the end of its space
		return closed(out, "space")
	default:
		return fail(out, t.err)
	}
}

// ehEnd commits or aborts a transaction, also one that has not begun yet.
//
//export ehEnd
func ehEnd(txn C.long, commit C.int, out *C.eh_buf) (result C.int) {
	defer guard(out, &result)
	t := transactions.remove(txn)
	if t == nil {
		return closed(out, "transaction")
	}
	over := false
	select {
	case <-t.done:
		over = commit != 0 && t.writes
	default:
	}
	err := t.end(commit != 0)
	if err == nil && over {
		return closed(out, "space")
	}
	return fail(out, err)
}

// iteration walks over entries. Its goroutine stands still between two parts of them, so it
// never runs while others use the same transaction (PY5).
type iteration struct {
	c     *collection
	txn   *transaction // nil: it has a view of its own
	flags C.int
	from  []byte // the key; with EH_PREFIX the text
	to    []byte

	next  chan bool // false: no more are wanted
	parts chan []byte
	done  chan struct{}
	err   error

	mu    sync.Mutex // one at a time asks for a part, or closes
	began bool
	ended bool // closed
}

var iterations table[iteration]

// run walks; each sends a part when it is asked for one.
func (w *iteration) run() {
	defer close(w.done)
	if w.txn == nil {
		w.err = w.c.space.View(w.walk)
		return
	}
	w.err = w.txn.tx.Guard(func() error { return w.walk(w.txn.tx) })
	if w.err != nil && !errors.Is(w.err, errStopped) && w.txn.failed == nil {
		w.txn.failed = w.err
	}
}

// errStopped ends a walk that nobody wants to go on.
var errStopped = errors.New("stopped")

const (
	firstPart = 16      // entries of the first part; each is four times the one before
	mostParts = 1024    // entries of a part at most
	partBytes = 1 << 18 // after so many a part ends
)

// walk collects parts of entries.
func (w *iteration) walk(tx *everheap.Tx) error {
	var part []byte
	n, most := 0, firstPart
	stopped := false
	full := func() bool {
		if n++; n < most && len(part) < partBytes {
			return true
		}
		stopped = !w.send(part, n)
		part, n, most = nil, 0, min(most*4, mostParts)
		return !stopped
	}
	if w.flags&C.EH_VALUES == 0 {
		for k := range w.c.in.Keys(tx) {
			if part = append(part, k...); !full() {
				break
			}
		}
	} else {
		for k, v := range w.entries(tx) {
			if w.flags&C.EH_KEYS != 0 {
				part = append(part, k...)
			}
			if part = append(part, v...); !full() {
				break
			}
		}
	}
	if stopped || n > 0 && !w.send(part, n) {
		return errStopped
	}
	return nil
}

// entries returns the loop over the entries that are wanted.
func (w *iteration) entries(tx *everheap.Tx) func(func(k, v []byte) bool) {
	in := w.c.in
	ranged := w.flags&(C.EH_FROM|C.EH_TO|C.EH_BACK) != 0
	if w.flags&C.EH_PREFIX != 0 {
		return in.Prefix(tx, string(w.from))
	}
	if !ranged {
		return in.All(tx)
	}
	bound := func(flag, after C.int, key []byte) everheap.Bound[[]byte] {
		switch {
		case w.flags&flag == 0:
			return everheap.Unbounded[[]byte]()
		case w.flags&after != 0:
			return everheap.Excluding(key)
		}
		return everheap.Including(key)
	}
	from, to := bound(C.EH_FROM, C.EH_AFTER_FROM, w.from), bound(C.EH_TO, C.EH_AFTER_TO, w.to)
	if w.flags&C.EH_BACK != 0 {
		return in.Backward(tx, from, to)
	}
	return in.Range(tx, from, to)
}

// send hands out a part, and waits until another one is wanted.
func (w *iteration) send(part []byte, n int) bool {
	w.parts <- append(binary.LittleEndian.AppendUint32(make([]byte, 0, len(part)+4), uint32(n)), part...)
	return <-w.next
}

// close ends the walk, and waits for that.
func (w *iteration) close() {
	if t := w.txn; t != nil {
		t.mu.Lock()
		defer t.mu.Unlock()
		delete(t.walks, w)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ended {
		return
	}
	w.ended = true
	if w.began {
		select {
		case w.next <- false:
		case <-w.done:
		}
		<-w.done
	}
	w.c.space.walks.Delete(w)
}

// ehWalk begins an iteration: EH_KEYS and EH_VALUES say what of each entry is wanted.
//
//export ehWalk
func ehWalk(coll, txn C.long, flags C.int, from *C.char, fn C.size_t, to *C.char, tn C.size_t, walk *C.long, out *C.eh_buf) (result C.int) {
	defer guard(out, &result)
	c := collections.get(coll)
	if c == nil {
		return closed(out, "collection")
	}
	w := &iteration{c: c, flags: flags, next: make(chan bool), parts: make(chan []byte), done: make(chan struct{})}
	w.from, w.to = append([]byte{}, input(from, fn)...), append([]byte{}, input(to, tn)...)
	if txn != 0 {
		if w.txn = transactions.get(txn); w.txn == nil {
			return closed(out, "transaction")
		}
		w.txn.mu.Lock()
		w.txn.walks[w] = true
		w.txn.mu.Unlock()
	} else {
		c.space.walks.Store(w, true)
	}
	*walk = iterations.add(w)
	return C.EH_OK
}

// ehNext returns the next entries: their number in four bytes, then what was asked for of each;
// EH_END if there are no more.
//
//export ehNext
func ehNext(walk C.long, out *C.eh_buf) (result C.int) {
	defer guard(out, &result)
	w := iterations.get(walk)
	if w == nil {
		return C.EH_END
	}
	if t := w.txn; t != nil {
		t.mu.Lock()
		defer t.mu.Unlock()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ended {
		return report(out, "Closed", "everheap: the transaction or the space of the iteration has ended")
	}
	if !w.began {
		w.began = true
		go w.run()
	} else {
		select {
		case w.next <- true:
		case <-w.done:
		}
	}
	select {
	case part := <-w.parts:
		return put(out, part)
	case <-w.done:
	}
	switch {
	case errors.Is(w.err, errStopped):
		return report(out, "Closed", "everheap: the transaction or the space of the iteration has ended")
	case w.err != nil:
		return fail(out, w.err)
	}
	return C.EH_END
}

// ehWalked ends an iteration.
//
//export ehWalked
func ehWalked(walk C.long) {
	if w := iterations.remove(walk); w != nil {
		w.close()
	}
}
