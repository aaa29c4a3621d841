package everheap

import (
	"context"
	"sync/atomic"

	"github.com/everheap/everheap/internal/engine"
	"github.com/everheap/everheap/internal/goroutine"
	"github.com/everheap/everheap/internal/naming"
	"github.com/everheap/everheap/internal/watch"
)

// Space is an open space: one region of persistent memory that processes share. Any number
// of goroutines may use it.
type Space struct {
	engine     *engine.Space
	name       string
	durability Durability
	session    *watch.Session
	closed     atomic.Bool
}

// Open opens the space with a registered name, or the one in a directory if name contains a
// path separator, and creates it if it does not exist. An unregistered name gets a directory
// beside the registry, and is registered. An existing directory becomes the space if it is
// empty or holds only lost+found.
//
// Handles of one process share the space; it ends when the last of them is closed.
//
// Open waits while another process recovers, rewrites or closes the space, as long as that
// makes progress. 512 processes can have a space open. If the waiting ends, the error names
// the holder.
//
// Errors: ErrNotFound (read-only, and there is none), ErrExists (the directory holds
// something else), ErrBusy, ErrCorrupt, ErrReadOnly (it must be recovered, and this user may
// not), ErrNoSpace, ErrUnsupported, ErrAddressInUse.
func Open(name string, opts ...Option) (*Space, error) {
	return OpenContext(context.Background(), name, opts...)
}

// OpenContext is Open with a context that ends the waiting for others with ErrBusy. Open
// ignores ctx once it creates, recovers or opens the space.
func OpenContext(ctx context.Context, name string, opts ...Option) (*Space, error) {
	s := settingsOf(opts)
	e, err := naming.Open(ctx, s.named(name), s.engine)
	if err != nil {
		return nil, err
	}
	return &Space{engine: e, name: name, durability: s.durability, session: e.NewSession()}, nil
}

// Close ends this handle. After the last handle of the last process is closed, every commit
// is on disk. Close waits for the transactions in progress; new ones cannot begin. It does
// not wait for loops over watches, which end with ErrClosed. It releases the mutexes and
// permits that this handle holds. A second Close does nothing, even while the first waits.
//
// Inside a transaction, or in a loop over changes or entries, Close does not wait: every
// earlier commit is on disk when it returns, and the space ends after the last transaction
// in progress, whose commit is on disk then. A goroutine that a transaction waits for must
// not call Close. While Close waits, Open of the same space in this process cancels the
// closing and does not wait.
func (s *Space) Close() error {
	if s.engine.Forked() { // the handle belongs to the parent, and stays as it is
		return s.wrap("close", ErrForked)
	}
	if s.closed.Swap(true) {
		return nil
	}
	s.session.Close()
	if goroutine.CalledBack(library + ".") {
		return s.engine.CloseInside()
	}
	return s.engine.Close()
}

// Update runs fn in a writing transaction and commits it if fn returns nil. It waits for its
// turn among all goroutines and processes; ctx ends that waiting with ErrBusy, and has no
// effect once fn runs. If fn returns an error or panics, nothing has changed; the panic
// continues.
//
// Inside fn use tx only. Values borrowed from tx are invalid after fn returns. Inside a
// Resume, the Update is part of that transaction. Errors: those of fn, ErrBusy, ErrSelf,
// ErrSuspended, ErrNoSpace, ErrReadOnly, ErrClosed, ErrIO.
func (s *Space) Update(ctx context.Context, fn func(tx *Tx) error, opts ...UpdateOption) error {
	if s.closed.Load() {
		return s.wrap("update", ErrClosed)
	}
	u := updateSettings{durability: s.durability}
	for _, o := range opts {
		o.applyUpdate(&u)
	}
	if u.copies > 0 {
		return s.wrap("update", s.replicate(ctx, fn, u.copies))
	}
	if r := s.engine.Resumption(); r != nil {
		return s.wrap("update", s.join(ctx, r, fn, u.durability == Durable))
	}
	if u.durability == Durable {
		if err := s.engine.Enter(); err != nil {
			return s.wrap("update", err)
		}
		defer s.engine.Exit()
	}
	e, err := s.engine.Begin(ctx)
	if err != nil {
		return s.wrap("update", err)
	}
	commit := e.Commit
	if u.durability == Durable {
		commit = e.CommitDurable
	}
	return s.wrap("update", run(&Tx{engine: e, space: s}, fn, commit, e.Abort))
}

// View runs fn in a reading transaction on the newest version. It takes no lock and never
// waits. Values borrowed from tx are invalid after fn returns. While fn runs, the space
// cannot reuse what only this version still sees. Errors: those of fn, ErrFault, ErrCorrupt,
// ErrClosed.
func (s *Space) View(fn func(tx *Tx) error) error {
	if s.closed.Load() {
		return s.wrap("view", ErrClosed)
	}
	if r := s.engine.Resumption(); r != nil {
		e, err := r.View()
		return s.wrap("view", s.viewIn(e, err, fn))
	}
	return s.wrap("view", view(s, fn))
}

// Sync returns when every commit before the call is on disk and would survive a power loss.
// It does not wait for a turn to write; it checks ctx before it begins.
func (s *Space) Sync(ctx context.Context) error {
	return s.ifOpen("sync", func() error {
		if err := ctx.Err(); err != nil {
			return err
		}
		return s.engine.Sync()
	})
}

// Name returns the name or directory that the space was opened by.
func (s *Space) Name() string { return s.name }

// check returns ErrClosed if the handle is closed.
func (s *Space) check() error {
	if s.closed.Load() {
		return ErrClosed
	}
	return nil
}

// ifOpen runs fn unless the handle is closed.
func (s *Space) ifOpen(op string, fn func() error) error {
	err := s.check()
	if err == nil {
		err = fn()
	}
	return s.wrap(op, err)
}

// wrap says what was done when an error occurred, once.
func (s *Space) wrap(op string, err error) error {
	if err == nil {
		return nil
	}
	return s.engine.Explain(op, err)
}
