package engine

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/everheap/everheap/internal/format"
)

// This file reports writing transactions to the program. Without a trace it costs a load of
// Space.traces. A span belongs to one transaction and its goroutine. Space.span is the span of the
// Tx with a handle that has the turn: only one transaction has it.

// TraceKind says what a writing transaction has done.
type TraceKind uint8

// The kinds, in the order in which they happen. A transaction begins with TraceBegin. It ends with
// TraceCommit if its commit need not be durable, else with TraceDurable, or with TraceFail.
const (
	TraceBegin   TraceKind = iota // begins to wait for its turn
	TraceTurn                     // has its turn: no other transaction writes
	TraceWritten                  // has made its last change
	TraceCommit                   // has published its version, or changed nothing
	TraceDurable                  // the version survives power loss
	TraceFail                     // has failed, or was given up
)

// String returns the name of the kind, in lower case.
func (k TraceKind) String() string {
	names := [...]string{"begin", "turn", "written", "commit", "durable", "fail"}
	if int(k) < len(names) {
		return names[k]
	}
	return "unknown"
}

// TraceEvent is an event of a transaction.
type TraceEvent struct {
	Kind        TraceKind
	Transaction uint64 // number of the transaction among those that were traced
	Background  bool   // the library itself began the transaction
	Time        time.Time
	Took        time.Duration  // since its previous event
	Version     format.Version // that the transaction published, or that it saw if it changed nothing; 0: none yet
	Changed     bool           // the transaction published Version
	Err         error          // of TraceFail
}

// Trace receives an event. The goroutine of the transaction calls it.
type Trace func(ctx context.Context, e TraceEvent)

// Trace passes the events of all transactions of this process that begin from now on to fn, until
// stop is called. Transactions in progress at that time may still report.
func (sp *Space) Trace(fn Trace) (stop func()) {
	t := &fn
	sp.changeTraces(func(list []*Trace) []*Trace { return append(list, t) })
	return func() {
		sp.changeTraces(func(list []*Trace) []*Trace {
			return slices.DeleteFunc(list, func(o *Trace) bool { return o == t })
		})
	}
}

// changeTraces replaces the list of traces, which is never changed in place.
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

// span reports one transaction. A nil span reports nothing.
type span struct {
	traces []*Trace
	ctx    context.Context
	last   TraceEvent
	base   format.Version
}

// errGivenUp is the error of a transaction that the program gave up, for whatever reason.
var errGivenUp = errors.New("its function has returned an error, or has panicked: nothing has changed")

// beginSpan reports that a transaction begins, if there is a trace.
func (sp *Space) beginSpan(ctx context.Context, background bool) *span {
	if sp.traces.Load() == nil {
		return nil
	}
	return sp.newSpan(ctx, background)
}

// newSpan is beginSpan when there is a trace.
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

// tellAll passes the last event to all traces.
func (s *span) tellAll() {
	for _, t := range s.traces {
		(*t)(s.ctx, s.last)
	}
}

// tell reports an event.
func (s *span) tell(kind TraceKind, err error) {
	if s == nil {
		return
	}
	now := time.Now()
	s.last.Kind, s.last.Time, s.last.Took, s.last.Err = kind, now, now.Sub(s.last.Time), err
	s.tellAll()
}

// turn reports that the transaction has its turn.
func (s *span) turn(tx *Tx) {
	if s != nil {
		s.base = tx.Version()
		s.tell(TraceTurn, nil)
	}
}

// commit reports the outcome of the commit: the version that was published, or seen.
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

// durable reports the outcome of the wait for the disk.
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
	if tx.Ended() { // then it may not have the turn
		return nil
	}
	s := sp.span
	sp.span = nil
	return s
}

// traced is changeNow, and reports it to the span.
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

// changeTraced is Scope.change, and reports it to the span.
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
