package replica

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"time"

	"github.com/everheap/everheap"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Follower is a copy that follows: its space is a replica, which any number of processes read.
type Follower struct {
	o      Options
	name   string // of the space, as Open takes it
	dir    string
	memory *memory
	store  *store

	replica *everheap.Replica // nil: there is none yet, or a snapshot is to replace it
	stale   bool              // the space has a tail, and so is of another history than the log
	keeping struct {
		sync.Mutex
		keeper
	}
	open    parts2
	compare bool   // whether what is applied already is to be compared with what comes
	tries   int    // to get the frame after the newest one
	restart uint64 // version of the snapshot that was begun with last

	mu struct {
		sync.Mutex
		Status
		space    *everheap.Space
		applied  point2    // chain 0: not known yet
		sent     time.Time // when what was applied was published
		pending  bool      // there is more to apply
		led      lease
		revision uint64    // of the lease
		heard    time.Time // when it changed last, by this clock
	}
	news    chan struct{} // applied something
	hold    sync.Mutex    // around applying a message: Promote has it while it claims
	claimed bool          // the log has this copy's claim; under hold
	cancel  context.CancelFunc
	done    chan struct{}
	err     error // after done
}

// parts2 are the parts of a frame that have come.
type parts2 struct {
	note note
	data []byte
	next int
}

// errSeek says that what follows must be looked for in the log.
var errSeek = errors.New("looks for what follows")

// errRebuild says that only a snapshot helps.
var errRebuild = errors.New("begins anew with a snapshot")

// Follow begins to follow with the space of a name, or in a directory if name holds a path
// separator: it is created from the newest snapshot if there is none. A space that has led
// before joins: what it had committed that the log has not is kept as a file (Tail), and it
// begins anew with a snapshot if need be. ctx ends it.
//
// Errors: ErrLeads, if this very copy leads, ErrInUse. What can pass, such as servers that
// are away, is no error but a Problem in the Status.
func Follow(ctx context.Context, nc *nats.Conn, name string, o Options) (*Follower, error) {
	dir, err := dirOf(name)
	if err != nil {
		return nil, err
	}
	o, err = o.complete(dir)
	if err != nil {
		return nil, err
	}
	m, err := remember(o.StateDir)
	if err != nil {
		return nil, err
	}
	f := &Follower{o: o, name: name, dir: dir, memory: m, news: make(chan struct{}, 1), done: make(chan struct{})}
	f.tell(func(s *Status) { s.Copy, s.Role, s.Time = o.Copy, "follow", time.Now() })
	if f.store, err = openStore(ctx, nc, o, false); err == nil {
		err = f.enter(ctx)
	}
	if err != nil {
		f.closeSpace()
		m.close()
		return nil, err
	}
	ctx, f.cancel = context.WithCancel(ctx)
	go f.run(ctx)
	return f, nil
}

// Done is closed when the copy does not follow any more; Err says why.
func (f *Follower) Done() <-chan struct{} { return f.done }

// Err returns why the copy does not follow any more, once Done is closed.
func (f *Follower) Err() error { return f.err }

// Stop ends it, and closes its handle on the space.
func (f *Follower) Stop() error {
	f.cancel()
	<-f.done
	if errors.Is(f.err, context.Canceled) {
		return nil
	}
	return f.err
}

// Space returns the follower's handle on its space; nil while there is none. It is closed when
// the follower stops, or begins anew with a snapshot: Space returns another one then.
func (f *Follower) Space() *everheap.Space {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.mu.space
}

// Status says how it does.
func (f *Follower) Status() Status {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.mu.Status
	s.Version = f.mu.applied.version
	if s.Lead == "" {
		s.Lead = f.mu.led.Copy
	}
	if f.mu.led.Version > s.Version {
		s.LagVersions = f.mu.led.Version - s.Version
	}
	if f.mu.pending && !f.mu.sent.IsZero() {
		s.Lag = max(time.Since(f.mu.sent), 0)
	}
	return s
}

// tell changes the status.
func (f *Follower) tell(change func(s *Status)) {
	f.mu.Lock()
	change(&f.mu.Status)
	f.mu.Unlock()
}

// applied returns what was applied last.
func (f *Follower) applied() point2 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.mu.applied
}

// enter opens the space if there is one, and ends that it leads.
func (f *Follower) enter(ctx context.Context) error {
	last, _, err := f.store.last(ctx)
	if err != nil {
		return err
	}
	if last != nil && f.memory.Token != "" && last.note.Token == f.memory.Token {
		return fmt.Errorf("%w: it is this copy", ErrLeads)
	}
	switch _, err := os.Stat(f.dir); {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	}
	space, err := everheap.Open(f.name, f.o.Open...)
	if err != nil {
		return err
	}
	f.setSpace(space)
	if f.memory.Claiming { // and another one was faster
		if err := f.memory.set(state{Term: f.memory.Term}); err != nil {
			return err
		}
	}
	if f.memory.Token != "" {
		if last == nil || last.note.Term < f.memory.Term {
			return fmt.Errorf("%w: nobody has led since this copy; lead, or force another copy to", ErrLeads)
		}
		t, err := standDown(ctx, f.store, space, f.memory, f.o)
		if err != nil {
			return err
		}
		if t.File != "" {
			f.stale = true
		}
	}
	_, is, err := space.Leader()
	if err != nil {
		return err
	}
	if !is {
		return fmt.Errorf("%w: the space %s is no replica, and is not known to have led; move it away, and a replica is made there", ErrUnknown, f.dir)
	}
	if f.stale {
		return nil
	}
	return f.begin(space)
}

// begin makes ready to apply to the space.
func (f *Follower) begin(space *everheap.Space) error {
	lead, _, err := space.Leader()
	if err != nil {
		return err
	}
	if f.replica, err = space.AsReplica(lead); err != nil {
		return err
	}
	sub, err := subscribe(space, f.o)
	if err != nil {
		return err
	}
	f.keeping.Lock()
	f.keeping.keeper = keeper{sub: sub, after: f.o.ConfirmAfter}
	f.keeping.Unlock()
	v, err := f.replica.Version()
	f.mu.Lock()
	f.mu.applied = point2{version: uint64(v)}
	f.mu.Unlock()
	f.tries = 0
	return err
}

func (f *Follower) setSpace(s *everheap.Space) {
	f.mu.Lock()
	f.mu.space = s
	f.mu.Unlock()
}

// closeSpace closes the space, if it is open.
func (f *Follower) closeSpace() {
	if s := f.Space(); s != nil {
		if err := s.Close(); err != nil {
			f.o.Log.Warn("the space could not be closed", "error", err)
		}
		f.setSpace(nil)
	}
	f.keeping.Lock()
	f.keeping.keeper = keeper{}
	f.keeping.Unlock()
	f.replica = nil
}

// run follows until the context ends, or this copy leads.
func (f *Follower) run(ctx context.Context) {
	defer close(f.done)
	defer func() {
		if f.hold.Lock(); f.claimed { // the claim has ended the context
			f.err = fmt.Errorf("%w: it is this copy now", ErrLeads)
		}
		f.hold.Unlock()
	}()
	defer f.memory.close()
	defer f.closeSpace()
	defer f.cancel()
	var group sync.WaitGroup
	defer group.Wait()
	inner, stop := context.WithCancel(ctx)
	defer stop()
	group.Go(func() { f.acknowledge(inner) })
	group.Go(func() { f.beat(inner) })
	group.Go(func() { f.listen(inner) })
	for wait := time.Duration(0); ; wait = min(2*wait+5*time.Millisecond, time.Second) {
		select {
		case <-ctx.Done():
			f.err = ctx.Err()
			return
		case <-time.After(wait):
		}
		before := f.applied().version
		err := f.follow(ctx)
		if errors.Is(err, ErrLeads) {
			f.err = err
			return
		}
		if ctx.Err() != nil {
			f.err = ctx.Err()
			return
		}
		if f.applied().version != before {
			wait, f.tries = 0, 0
		} else if f.tries++; f.tries >= 8 && errors.Is(err, errSeek) {
			err = fmt.Errorf("%w: what follows version %d cannot be had", errRebuild, before)
		}
		if errors.Is(err, errRebuild) {
			err = f.rebuild(ctx, err)
		}
		if err != nil {
			was := ""
			f.tell(func(s *Status) { was, s.Problem = s.Problem, err.Error() })
			if was != err.Error() {
				f.o.Log.Info("the follower starts over", "version", before, "because", err)
			}
		}
	}
}

// follow applies what is in the log from the version of the space on. errSeek: something is missing
// or damaged.
func (f *Follower) follow(ctx context.Context) error {
	if f.stale {
		return fmt.Errorf("%w: the space has changes that the log has not", errRebuild)
	}
	if f.replica == nil {
		return fmt.Errorf("%w: there is no space yet", errRebuild)
	}
	from, err := f.seek(ctx)
	if err != nil {
		return err
	}
	inner, cancel := context.WithCancel(ctx)
	defer cancel()
	messages, err := f.messages(inner, from)
	if err != nil {
		return err
	}
	f.open = parts2{}
	tick := time.NewTicker(checkEvery)
	defer tick.Stop()
	for next, quiet := from, false; ; {
		var g got
		select {
		case <-ctx.Done():
			return ctx.Err()
		case g = <-messages:
		case <-tick.C:
			if quiet {
				if err := f.idle(ctx, next); err != nil {
					return err
				}
			}
			quiet = true
			continue
		}
		if g.err != nil {
			return g.err
		}
		quiet, next = false, g.seq+1
		f.mu.Lock()
		f.mu.pending = g.more
		f.mu.Unlock()
		if err := f.deliver(ctx, g.message); err != nil {
			return err
		}
	}
}

// got is a message that has come, or why none comes any more; more says that others wait.
type got struct {
	message
	more bool
	err  error
}

// messages yields those of the log from a sequence on, until the context ends. What receives them may
// wait without end for a server that has changed; so it is a goroutine of its own, and the follower
// looks for itself whether something is missing (Follower.idle).
func (f *Follower) messages(ctx context.Context, from uint64) (<-chan got, error) {
	short, cancel := context.WithTimeout(ctx, quietAtMost)
	defer cancel()
	consumer, err := f.store.stream.OrderedConsumer(short, jetstream.OrderedConsumerConfig{DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: from, MaxResetAttempts: 1})
	if err != nil {
		return nil, err
	}
	iterator, err := consumer.Messages(jetstream.PullMaxMessages(128))
	if err != nil {
		return nil, err
	}
	all := make(chan got)
	go func() {
		defer iterator.Stop()
		for {
			var g got
			raw, err := iterator.Next(jetstream.NextContext(ctx))
			if err == nil {
				g, err = read(raw)
			}
			g.err = err
			select {
			case all <- g:
			case <-ctx.Done():
				return
			}
			if err != nil {
				return
			}
		}
	}()
	return all, nil
}

// read decodes what a consumer has got.
func read(raw jetstream.Msg) (g got, err error) {
	meta, err := raw.Metadata()
	if err != nil {
		return g, err
	}
	g.more = meta.NumPending > 0
	g.message, err = decode(meta.Sequence.Stream, raw.Headers(), raw.Data())
	return g, err
}

// deliver handles a message; tests lose, repeat and damage it before.
func (f *Follower) deliver(ctx context.Context, m message) error {
	f.hold.Lock()
	defer f.hold.Unlock()
	switch {
	case f.claimed:
		return fmt.Errorf("%w: it is this copy now", ErrLeads)
	case ctx.Err() != nil:
		return ctx.Err()
	}
	if f.o.deliver == nil {
		return f.handle(ctx, m)
	}
	for _, m := range f.o.deliver(m) {
		if err := f.handle(ctx, m); err != nil {
			return err
		}
	}
	return nil
}

// idle looks whether nothing came because there is nothing.
func (f *Follower) idle(ctx context.Context, next uint64) error {
	f.mu.Lock()
	f.mu.pending = false
	applied := f.mu.applied
	f.mu.Unlock()
	if f.hold.Lock(); f.claimed {
		f.hold.Unlock()
		return fmt.Errorf("%w: it is this copy now", ErrLeads)
	}
	f.hold.Unlock()
	last, _, err := f.store.last(ctx)
	if err != nil || last == nil {
		return err
	}
	if v, _ := last.whole(); last.seq < next-1 && v >= applied.version || v > applied.version {
		again, _, err := f.store.last(ctx)
		if err == nil && again != nil && again.seq == last.seq && f.applied() == applied {
			return fmt.Errorf("%w: the log ends with message %d and version %d, and no message from %d on came", errSeek, last.seq, v, next)
		}
	}
	f.tell(func(s *Status) { s.Problem = "" })
	return nil
}

// seek returns where in the log the version of the space is, or what follows it.
func (f *Follower) seek(ctx context.Context) (uint64, error) {
	last, end, err := f.store.last(ctx)
	if err != nil {
		return 0, err
	}
	at := f.applied().version
	if last == nil {
		return end + 1, nil
	}
	// The leader may send again what JetStream has lost; or this is another history.
	if v, _ := last.whole(); v < at {
		f.compare = true
		return last.seq, nil
	}
	m, err := f.store.version(ctx, last, at)
	if err != nil {
		return 0, err
	}
	if m == nil {
		return end + 1, nil
	}
	switch {
	case m.note.Kind == kindBase && m.note.Version > at:
		return 0, fmt.Errorf("%w: the log has version %d and later ones, and the space has version %d", errRebuild, m.note.Version, at)
	case m.note.First > at+1:
		return 0, fmt.Errorf("%w: the log has version %d and later ones, and the space has version %d", errRebuild, m.note.First, at)
	}
	return m.seq, nil
}

// handle applies what a message holds.
func (f *Follower) handle(ctx context.Context, m message) error {
	switch m.note.Kind {
	case kindClaim, kindBase:
		f.open = parts2{}
		return f.turn(m)
	case kindSnapshot:
		return nil
	case kindPart:
		return f.part(ctx, m)
	case kindFrames:
		f.open = parts2{}
		return f.frames(ctx, m, m.data)
	}
	return fmt.Errorf("replica: message %d of the log is of the kind %q, which this version does not know; update it", m.seq, m.note.Kind)
}

// turn notes who leads from here on.
func (f *Follower) turn(m message) error {
	if m.note.Token == f.memory.Token { // whether it was stored Promote does not know
		return fmt.Errorf("%w: it is this copy now", ErrLeads)
	}
	f.compare = true
	at := f.applied().version
	if m.note.Kind == kindBase && m.note.Version > at {
		return fmt.Errorf("%w: the log begins anew with version %d", errRebuild, m.note.Version)
	}
	f.tell(func(s *Status) { s.Lead, s.Term = m.note.Copy, m.note.Term })
	if lead, _, err := f.replica.Space().Leader(); err != nil || lead == leadText(m.note.Lead) {
		return err
	}
	_, err := f.replica.Space().AsReplica(leadText(m.note.Lead))
	return err
}

// part collects a part of a frame, and applies the frame with its last part.
func (f *Follower) part(ctx context.Context, m message) error {
	n := m.note
	if n.Part == 1 {
		f.open = parts2{note: n, next: 1}
	}
	if f.open.next == 0 && n.Version <= f.applied().version {
		return nil // of a frame that is applied
	}
	if o := f.open; o.next != n.Part || o.note.Version != n.Version || o.note.Chain != n.Chain || o.note.Parts != n.Parts {
		f.open = parts2{}
		return fmt.Errorf("%w: part %d of the frame of version %d is missing", errSeek, o.next, n.Version)
	}
	f.open.data = append(f.open.data, m.data...)
	if f.open.next++; n.Part < n.Parts {
		return nil
	}
	data := f.open.data
	f.open = parts2{}
	return f.frames(ctx, m, data)
}

// frames applies frames.
func (f *Follower) frames(ctx context.Context, m message, data []byte) error {
	at := f.applied().version
	if m.note.Version < at && !f.compare {
		return nil
	}
	f.tell(func(s *Status) { s.Lead, s.Term = m.note.Copy, m.note.Term })
	for rest := data; len(rest) > 0; {
		var one []byte
		var err error
		if one, rest, err = splitFrame(rest); err != nil {
			return fmt.Errorf("%w: message %d: %w", errSeek, m.seq, err)
		}
		frame, err := everheap.ParseFrame(one)
		if err != nil {
			return fmt.Errorf("%w: message %d: %w", errSeek, m.seq, err)
		}
		if err := f.apply(ctx, frame, m.note.Time); err != nil {
			return err
		}
	}
	return nil
}

// apply applies a frame, or finds that it is applied (JS6).
func (f *Follower) apply(ctx context.Context, frame everheap.Frame, sent int64) error {
	at, v := f.applied(), uint64(frame.Version())
	if v < at.version && f.compare {
		f.compare = false
		is, err := relate(ctx, f.replica.Space(), v, chainOf(frame))
		if err != nil {
			return err
		}
		if is == other {
			return fmt.Errorf("%w: the log and the space have another version %d", errRebuild, v)
		}
	}
	if v < at.version || v == at.version && at.chain != 0 && at.chain == chainOf(frame) {
		return nil
	}
	if v > at.version+1 {
		return fmt.Errorf("%w: version %d came after version %d", errSeek, v, at.version)
	}
	err := f.replica.Apply(ctx, frame)
	switch {
	case errors.Is(err, everheap.ErrOutOfOrder) && v == at.version: // and it is the same: nothing new
	case errors.Is(err, everheap.ErrDiverged):
		return fmt.Errorf("%w: %w", errRebuild, err)
	case errors.Is(err, everheap.ErrCorrupt), errors.Is(err, everheap.ErrOutOfOrder):
		return fmt.Errorf("%w: %w", errSeek, err)
	case err != nil:
		return err
	}
	f.mu.Lock()
	f.mu.applied, f.mu.sent = point2{v, chainOf(frame)}, time.Unix(0, sent)
	f.mu.Problem = ""
	f.mu.Unlock()
	select {
	case f.news <- struct{}{}:
	default:
	}
	return nil
}

// acknowledge makes durable what was applied, and says so to the leader (JS7).
func (f *Follower) acknowledge(ctx context.Context) {
	again := time.NewTicker(time.Second) // the leader may have started anew, or not have heard
	defer again.Stop()
	var said point2
	for {
		select {
		case <-ctx.Done():
			return
		case <-again.C:
		case <-f.news:
		}
		f.mu.Lock()
		at, space := f.mu.applied, f.mu.space
		f.mu.Unlock()
		if at.chain == 0 || space == nil {
			continue
		}
		if at != said {
			if err := space.Sync(ctx); err != nil {
				f.o.Log.Warn("what was applied cannot be made durable", "error", err)
				continue
			}
			f.tell(func(s *Status) { s.Durable, s.Chain = at.version, at.chain })
			said = at
		}
		b, err := json.Marshal(ack{f.o.Copy, at.version, at.chain})
		if err == nil {
			err = f.store.nc.Publish(ackSubject(f.o.Stream), b)
		}
		if err != nil && ctx.Err() == nil {
			f.o.Log.Warn("the leader could not be told what is durable here", "error", err)
		}
	}
}
