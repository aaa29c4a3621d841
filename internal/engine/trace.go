package engine

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/everheap/everheap/internal/format"
)

// Here is how a program is told of the transactions that write. It costs a look at
// Space.traces where nobody wants to be told. A span is of one transaction, and belongs to its
// goroutine; that of a Tx with a handle is Space.span while it has the turn, which only one
// transaction has.

// TraceKind says what has happened to a transaction that writes.
type TraceKind uint8

// The kinds, in the order in which they happen. A transaction begins, and ends with a commit that need
// not be durable, with TraceDurable, or with TraceFail.
const (
	TraceBegin   TraceKind = iota // it waits for its turn
	TraceTurn                     // it has its turn: nobody else writes
	TraceWritten                  // it has changed all that it will
	TraceCommit                   // its version is published, or it has changed nothing
	TraceDurable                  // that survives power loss
	TraceFail                     // it has failed, or was given up
)

// String names the kind, in lower case.
func (k TraceKind) String() string {
	names := [...]string{"begin", "turn", "written", "commit", "durable", "fail"}
	if int(k) < len(names) {
		return names[k]
	}
	return "unknown"
}

// TraceEvent tells that something has happened to a transaction.
type TraceEvent struct {
	Kind        TraceKind
	Transaction uint64 // number of those that were told of
	Background  bool   // the library itself has begun it
	Time        time.Time
	Took        time.Duration  // since its last event
	Version     format.Version // that it has published, or seen if it changed nothing; 0: none yet
	Changed     bool           // it has published the version
	Err         error          // of TraceFail
}

// Trace is told of an event. It is called by the goroutine of the transaction.
type Trace func(ctx context.Context, e TraceEvent)

// Trace makes a function be told of all transactions of this process that begin from now on, until
// stop is called; those in progress then may still be told of.
func (sp *Space) Trace(fn Trace) (stop func()) {
	t := &fn
	sp.changeTraces(func(list []*Trace) []*Trace { return append(list, t) })
	return func() {
		sp.changeTraces(func(list []*Trace) []*Trace {
			return slices.DeleteFunc(list, func(o *Trace) bool { return o == t })
		})
	}
}

// changeTraces changes the list, which nobody changes in place.
func (sp *Space) changeTraces(change func(list []*Trace) []*Trace) {
	for {
		old := sp.traces.Load()
		var list []*Trace
		if old != nil {
			list = slices.Clone(*old)
		}
		list = change(list)
		next := &list
		if len(list) == 0 {
			next = nil
		}
		if sp.traces.CompareAndSwap(old, next) {
			return
		}
	}
}

// span tells of one transaction. nil tells nobody.
type span struct {
	traces []*Trace
	ctx    context.Context
	last   TraceEvent
	base   format.Version
}

// errGivenUp is the error of a transaction that the program has given up, whatever its reason.
var errGivenUp = errors.New("its function has returned an error, or has panicked: nothing has changed")

// beginSpan tells that a transaction begins, if anybody is to be told.
func (sp *Space) beginSpan(ctx context.Context, background bool) *span {
	if sp.traces.Load() == nil {
		return nil
	}
	return sp.newSpan(ctx, background)
}

// newSpan is beginSpan for who has seen that somebody is to be told.
func (sp *Space) newSpan(ctx context.Context, background bool) *span {
	list := sp.traces.Load()
	if list == nil {
		return nil
	}
	s := &span{traces: *list, ctx: ctx}
	s.last = TraceEvent{Transaction: sp.spans.Add(1), Background: background, Time: time.Now()}
	s.tellAll()
	return s
}

// tellAll tells of the last event.
func (s *span) tellAll() {
	for _, t := range s.traces {
		(*t)(s.ctx, s.last)
	}
}

// tell tells of an event.
func (s *span) tell(kind TraceKind, err error) {
	if s == nil {
		return
	}
	now := time.Now()
	s.last.Kind, s.last.Time, s.last.Took, s.last.Err = kind, now, now.Sub(s.last.Time), err
	s.tellAll()
}

// turn tells that the transaction has its turn.
func (s *span) turn(tx *Tx) {
	if s != nil {
		s.base = tx.Version()
		s.tell(TraceTurn, nil)
	}
}

// commit tells what came of the commit: the version that was published, or seen.
func (s *span) commit(version format.Version, err error) {
	switch {
	case s == nil:
	case err != nil:
		s.tell(TraceFail, err)
	default:
		s.last.Version, s.last.Changed = version, version > s.base
		s.tell(TraceCommit, nil)
	}
}

// durable tells what came of the wait for the disk.
func (s *span) durable(err error) {
	kind := TraceDurable
	if err != nil {
		kind = TraceFail
	}
	s.tell(kind, err)
}

// takeSpan returns the span of a transaction that has the turn and is about to end.
func (tx *Tx) takeSpan() *span {
	sp := tx.sp
	if tx.Ended() { // it may not have the turn
		return nil
	}
	s := sp.span
	sp.span = nil
	return s
}

// traced is Space.change, which tells of it.
func (sp *Space) traced(s *span, fn func(tx *Tx) error) (version format.Version, err error) {
	ended := false
	defer func() {
		if !ended { // by a panic, or by Goexit
			s.tell(TraceFail, errGivenUp)
		}
	}()
	version, err = sp.changeNow(s.ctx, func(tx *Tx) error {
		s.turn(tx)
		if err := fn(tx); err != nil {
			return err
		}
		s.tell(TraceWritten, nil)
		return nil
	})
	ended = true
	s.commit(version, err)
	return version, err
}

// changeTraced is Scope.change, which tells of it.
func (sp *Space) changeTraced(s *span, durable bool, fn func(tx *Tx) error) error {
	if durable {
		if err := sp.Enter(); err != nil {
			s.tell(TraceFail, err)
			return err
		}
		defer sp.Exit()
	}
	version, err := sp.traced(s, fn)
	if err != nil || !durable {
		return err
	}
	err = sp.durable.Await(version)
	s.durable(err)
	return err
}
