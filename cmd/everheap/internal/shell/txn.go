package shell

import (
	"context"
	"errors"
	"fmt"

	"github.com/everheap/everheap"
)

// txn is an open transaction. It runs in a goroutine of its own, which executes the functions passed
// to do.
type txn struct {
	todo chan func(tx *everheap.Tx)
	end  chan error // result of the transaction's function
	done chan struct{}
	err  error // of Update, once done is closed
}

// errRollback ends a transaction without a commit.
var errRollback = errors.New("rolled back")

// begin waits for the turn to write.
func begin(ctx context.Context, s *everheap.Space) (*txn, error) {
	t := &txn{todo: make(chan func(tx *everheap.Tx)), end: make(chan error), done: make(chan struct{})}
	began := make(chan struct{})
	go func() {
		defer close(t.done)
		t.err = s.Update(ctx, func(tx *everheap.Tx) error {
			close(began)
			for {
				select {
				case fn := <-t.todo:
					fn(tx)
				case err := <-t.end:
					return err
				}
			}
		})
	}()
	select {
	case <-began:
		return t, nil
	case <-t.done:
		return nil, t.err
	}
}

// do runs fn in the transaction. If fn ends the transaction, as damage does, do returns an error.
func (t *txn) do(fn func(tx *everheap.Tx) error) error {
	result := make(chan error, 1)
	select {
	case t.todo <- func(tx *everheap.Tx) { result <- fn(tx) }:
	case <-t.done:
		return t.ended()
	}
	select {
	case err := <-result:
		return err
	case <-t.done:
		return t.ended()
	}
}

// ended returns the error for a transaction that has ended.
func (t *txn) ended() error {
	return fmt.Errorf("the transaction has ended, and nothing of it was changed: %w", t.err)
}

// finish commits, or rolls back if err is not nil.
func (t *txn) finish(err error) error {
	select {
	case t.end <- err:
	case <-t.done:
		return t.ended()
	}
	<-t.done
	if err != nil && errors.Is(t.err, err) {
		return nil
	}
	return t.err
}
