package replica

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"sync"
	"time"

	"github.com/everheap/everheap"
	"github.com/nats-io/nats.go"
)

// Leader is a copy that leads: it appends the committed versions of its space to the log. Other
// processes use the space as usual.
type Leader struct {
	o      Options
	space  *everheap.Space
	memory *memory
	store  *store
	sub    *everheap.Subscription
	keeper keeper
	term   uint64
	packer packer

	// The log, as far as this copy knows it.
	end     uint64 // sequence of the last message
	base    uint64 // sequence of the newest base
	mark    uint64 // sequence of the newest snapshot or base
	marked  int64  // bytes published since mark
	largest int64  // bytes of the newest snapshot
	whole   point2 // the newest acknowledged version
	tip     point2 // the version packed last

	snapshots chan made // made in the background
	making    bool
	wanted    chan uint64 // a follower needs a snapshot with a mark after this one

	known  known
	status struct {
		sync.Mutex
		Status
	}
	cancel context.CancelFunc
	done   chan struct{}
	err    error // after done
}

// point2 is a version and its chain.
type point2 struct{ version, chain uint64 }

// made is a finished snapshot, or the error.
type made struct {
	snapshot
	err error
}

// known has the chains of the newest published versions.
type known struct {
	sync.Mutex
	chains map[uint64]uint64
	oldest uint64
}

const knownVersions = 1 << 16

// put notes the chain of a version.
func (k *known) put(version, chain uint64) {
	k.Lock()
	defer k.Unlock()
	if len(k.chains) == 0 {
		k.chains, k.oldest = map[uint64]uint64{}, version
	}
	k.chains[version] = chain
	for ; k.oldest+knownVersions <= version; k.oldest++ {
		delete(k.chains, k.oldest)
	}
}

// has reports whether a version was published with a chain.
func (k *known) has(version, chain uint64) bool {
	k.Lock()
	defer k.Unlock()
	c, ok := k.chains[version]
	return ok && c == chain
}

// Lead begins to lead with a space. No copy may have led so far, or this copy must have led last. The
// leader ends with ctx; the space stays open.
//
// Errors: ErrFenced, if another copy leads; then the space is a replica, and Follow joins that copy.
// ErrUnknown, if JetStream has lost so much that Lead cannot tell whether the log is part of this
// space's history: Options.Force claims it. ErrInUse.
func Lead(ctx context.Context, nc *nats.Conn, space *everheap.Space, o Options) (*Leader, error) {
	o, err := o.complete(space.Stats().Dir)
	if err != nil {
		return nil, err
	}
	m, err := remember(o.StateDir)
	if err != nil {
		return nil, err
	}
	l, err := lead(ctx, nc, space, m, o)
	if err != nil {
		m.close()
	}
	return l, err
}

// lead is Lead with an open memory.
func lead(ctx context.Context, nc *nats.Conn, space *everheap.Space, m *memory, o Options) (_ *Leader, err error) {
	ctx, cancel := undated(ctx) // JS11
	defer func() {
		if err != nil {
			cancel()
		}
	}()
	s, err := openStore(ctx, nc, o, true)
	if err != nil {
		return nil, err
	}
	l := &Leader{o: o, space: space, memory: m, store: s, term: m.Term, snapshots: make(chan made, 1), wanted: make(chan uint64, 1), cancel: cancel, done: make(chan struct{})}
	l.packer.limit = o.batch
	if room := int(nc.MaxPayload()) - 4096; room > 0 {
		l.packer.limit = min(l.packer.limit, room)
	}
	if err := l.findRole(ctx); err != nil {
		if errors.Is(err, ErrFenced) {
			err = errors.Join(err, l.standDown(ctx))
		}
		return nil, err
	}
	l.tell(func(s *Status) { s.Term = l.term })
	go l.run(ctx)
	return l, nil
}

// Done is closed when the copy no longer leads; Err returns the reason.
func (l *Leader) Done() <-chan struct{} { return l.done }

// Err returns the reason why the copy no longer leads, once Done is closed: ErrFenced, or the error
// of its context.
func (l *Leader) Err() error { return l.err }

// Stop ends the leader. When the copy leads again, it appends the versions that the log lacks.
func (l *Leader) Stop() error {
	l.cancel()
	<-l.done
	if errors.Is(l.err, context.Canceled) {
		return nil
	}
	return l.err
}

// Status returns the state of the copy.
func (l *Leader) Status() Status {
	l.status.Lock()
	defer l.status.Unlock()
	return l.status.Status
}

// tell changes the status.
func (l *Leader) tell(change func(s *Status)) {
	l.status.Lock()
	change(&l.status.Status)
	l.status.Unlock()
}

// findRole finds out whether this copy leads, and claims a log without a leader.
func (l *Leader) findRole(ctx context.Context) error {
	l.tell(func(s *Status) { s.Copy, s.Role, s.Lead = l.o.Copy, "lead", l.o.Copy })
	last, end, err := l.store.last(ctx)
	if err != nil {
		return err
	}
	_, replica, err := l.space.Leader()
	if err != nil {
		return err
	}
	mine := last != nil && l.memory.Token != "" && last.note.Token == l.memory.Token
	switch {
	case mine && replica: // killed between its claim and the promotion (JS8)
		if err := l.promoteSpace(ctx); err != nil {
			return err
		}
		if err := l.memory.set(state{Token: l.memory.Token, Term: l.memory.Term}); err != nil {
			return err
		}
	case replica && last != nil:
		return fenced(last)
	case replica && l.o.Force:
		if err := l.promoteSpace(ctx); err != nil {
			return err
		}
	case replica:
		return fmt.Errorf("%w: the space is a replica, and the log is empty; if this copy is to lead, force it", ErrUnknown)
	}
	if l.sub, err = subscribe(l.space, l.o); err != nil {
		return err
	}
	l.keeper = keeper{sub: l.sub, after: l.o.ConfirmAfter}
	switch {
	case mine:
		l.term = last.note.Term
		return nil
	case last == nil:
		return l.claimEmpty(ctx, end)
	case l.memory.Token != "" && last.note.Term < l.memory.Term:
		return l.reclaim(ctx, last, end)
	case l.o.Force && l.memory.Token == "":
		return l.claimAnyhow(ctx, last, end)
	}
	return fenced(last)
}

// promoteSpace makes a replica writable.
func (l *Leader) promoteSpace(ctx context.Context) error {
	r, err := l.space.AsReplica(leadText(l.o.Lead))
	if err != nil {
		return err
	}
	return r.Promote(ctx)
}

// fenced returns the error for a message of another leader.
func fenced(m *message) error {
	return fmt.Errorf("%w: %s, since term %d", ErrFenced, m.note.Copy, m.note.Term)
}

// rememberTerm remembers a new term before the claim.
func (l *Leader) rememberTerm(term uint64) error {
	l.term = max(term, l.memory.Term+1)
	return l.memory.set(state{Token: newToken(), Term: l.term})
}

// claimEmpty begins an empty log with a base.
func (l *Leader) claimEmpty(ctx context.Context, end uint64) error {
	if l.memory.Token == "" {
		if err := l.rememberTerm(1); err != nil {
			return err
		}
	}
	l.end = end
	err := l.publishBase(ctx)
	if errors.Is(err, errMoved) {
		return l.findRole(ctx)
	}
	return err
}

// claimAnyhow begins a term with a base, whatever is in the log.
func (l *Leader) claimAnyhow(ctx context.Context, last *message, end uint64) error {
	if err := l.rememberTerm(last.note.Term + 1); err != nil {
		return err
	}
	l.end = end
	return l.publishBase(ctx)
}

// reclaim claims a log that has lost the whole term of this copy, if the rest of the log is part of
// the copy's history, or if it is forced.
func (l *Leader) reclaim(ctx context.Context, last *message, end uint64) error {
	if err := l.space.Sync(ctx); err != nil {
		return err
	}
	v, chain := last.whole()
	is, err := relate(ctx, l.space, v, chain)
	switch {
	case err != nil:
		return err
	case is == same:
		l.end, l.base, l.mark = end, last.note.Base, last.newest()
		err = l.publish(ctx, &message{note: note{Kind: kindClaim, Version: v, Chain: chain}})
	case l.o.Force:
		l.end = end
		err = l.publishBase(ctx)
	case is == unknown:
		return fmt.Errorf("%w: it ends with version %d of term %d, by %s, and this copy has led in term %d; if nobody leads now, force it, or else follow", ErrUnknown, v, last.note.Term, last.note.Copy, l.memory.Term)
	default:
		return fenced(last)
	}
	if errors.Is(err, errMoved) {
		return l.findRole(ctx)
	}
	return err
}

// complete sets the fields of a note that are the same in all notes of this copy.
func (l *Leader) complete(m *message) {
	n := &m.note
	n.Term, n.Token, n.Copy, n.Lead = l.term, l.memory.Token, l.o.Copy, l.o.Lead
	n.Base, n.Mark = l.base, l.mark
	if v, err := newestOf(l.space); err == nil { // with an error, the leader ends soon and reports it
		n.Newest = v
	}
	if n.Kind == kindBase {
		n.Base = l.end + 1
	}
}

// publish appends one message, and waits for the acknowledgement.
func (l *Leader) publish(ctx context.Context, m *message) error {
	l.complete(m)
	if err := l.store.append(ctx, m, l.end); err != nil {
		return err
	}
	l.end = m.seq
	if m.isMark() {
		l.mark = m.seq
		l.marked, l.largest = 0, m.note.Size
	}
	if m.note.Kind == kindBase {
		l.base = m.seq
	}
	return nil
}

// publishBase makes a snapshot, and appends it as a base.
func (l *Leader) publishBase(ctx context.Context) error {
	snap, err := l.store.makeSnapshot(ctx, l.space, l.memory.dir, l.memory.Token)
	if err != nil {
		return err
	}
	l.tell(func(s *Status) { s.Snapshots++ })
	n := note{Kind: kindBase, Version: snap.version, Chain: snap.chain, Object: snap.object, Of: snap.version, OfChain: snap.chain, Size: snap.size, From: l.end + 1}
	if err := l.publish(ctx, &message{note: n}); err != nil {
		return err
	}
	l.o.Log.Info("the log begins anew with a snapshot", "version", snap.version, "bytes", snap.size)
	return l.store.prune(ctx, l.o.Snapshots)
}

// run leads until another copy leads, or the context ends. It finds the end of the log, appends until
// something fails, and begins again.
func (l *Leader) run(ctx context.Context) {
	defer close(l.done)
	defer l.memory.close()
	defer l.cancel()
	acks, err := l.store.nc.Subscribe(ackSubject(l.o.Stream), l.hear)
	if err == nil {
		defer acks.Unsubscribe() //nolint:errcheck // the connection ends it at the latest
		asks, err := l.store.nc.Subscribe(askSubject(l.o.Stream), func(m *nats.Msg) { l.want(beyond(m.Data)) })
		if err == nil {
			defer asks.Unsubscribe() //nolint:errcheck // the same
		}
	}
	beat := make(chan struct{})
	beating, stop := context.WithCancel(ctx)
	token := l.memory.Token
	go func() { defer close(beat); l.beat(beating, token) }()
	defer func() { stop(); <-beat }()
	for wait := time.Duration(0); ; wait = min(2*wait+10*time.Millisecond, 2*time.Second) {
		select {
		case <-ctx.Done():
			l.err = context.Cause(ctx)
			return
		case <-time.After(wait):
		}
		before := l.whole
		err := l.resync(ctx)
		if err == nil {
			l.tell(func(s *Status) { s.Problem = "" })
			err = l.pump(ctx)
		}
		if l.whole != before {
			wait = 0
		}
		switch {
		case ctx.Err() != nil:
			l.err = context.Cause(ctx)
			return
		case errors.Is(err, ErrFenced):
			l.err = errors.Join(err, l.standDown(ctx))
			return
		case errors.Is(err, everheap.ErrClosed):
			l.err = err
			return
		case errors.Is(err, errMoved):
			l.o.Log.Info("the log is not where it was expected", "error", err)
		case missing(err):
			l.problem(errors.Join(err, l.store.create(ctx, l.o)))
		default:
			l.problem(err)
		}
	}
}

// problem reports why the leader cannot append.
func (l *Leader) problem(err error) {
	text := err.Error()
	was := ""
	l.tell(func(s *Status) { was, s.Problem = s.Problem, text })
	if was != text {
		l.o.Log.Warn("cannot append to the log; will try again", "error", err)
	}
}

// resync finds the end of the log, and finds out whether this copy's history continues from there
// (JS3).
func (l *Leader) resync(ctx context.Context) error {
	last, end, err := l.store.last(ctx)
	if err != nil {
		return err
	}
	if err := l.space.Sync(ctx); err != nil {
		return err
	}
	if last == nil {
		l.end, l.base, l.mark = end, 0, 0
		l.tell(func(s *Status) { s.Resent++ })
		return l.begin(ctx)
	}
	if last.note.Token != l.memory.Token {
		if last.note.Term < l.term {
			if err := l.reclaim(ctx, last, end); err != nil {
				return err
			}
			return errMoved
		}
		return fenced(last)
	}
	l.end, l.base, l.mark = end, last.note.Base, last.newest()
	v, chain := last.whole()
	if l.whole.version > v {
		l.o.Log.Warn("JetStream has lost what it had acknowledged; it is sent again", "after", v, "acknowledged", l.whole.version)
		l.tell(func(s *Status) { s.Resent++ })
	}
	newest, err := newestOf(l.space)
	if err != nil {
		return err
	}
	is, err := relate(ctx, l.space, v, chain)
	switch {
	case err != nil:
		return err
	case is == same:
		l.known.put(v, chain)
		l.has(v, chain)
		return nil
	case is == unknown && v == newest: // the next frame decides (Leader.pack)
		l.has(v, chain)
		return nil
	case is == unknown:
		return l.begin(ctx)
	}
	return fmt.Errorf("%w: the log has version %d, which this space, with the same term, does not have: it is an older copy of the space that has led; move it away and follow", ErrFenced, v)
}

// has notes the newest version in the log.
func (l *Leader) has(version, chain uint64) {
	l.whole = point2{version, chain}
	l.tell(func(s *Status) { s.Durable, s.Chain = version, chain })
}

// begin begins the log again with a base.
func (l *Leader) begin(ctx context.Context) error {
	if _, err := l.sub.Version(); errors.Is(err, everheap.ErrNotKept) {
		if err := l.sub.Drop(); err != nil {
			return err
		}
		if l.sub, err = subscribe(l.space, l.o); err != nil {
			return err
		}
		l.keeper = keeper{sub: l.sub, after: l.o.ConfirmAfter}
	}
	if err := l.publishBase(ctx); err != nil {
		return err
	}
	return errMoved // resync then finds the new end
}

// want requests a snapshot, unless there is one with a mark after the given one.
func (l *Leader) want(mark uint64) {
	select {
	case l.wanted <- mark:
	default: // a request is pending, or the follower will ask again
	}
}

// anyMark is after all marks: it requests a snapshot in any case.
const anyMark = math.MaxUint64

// beyond reads the mark after which a follower needs another snapshot (Follower.askSnapshot).
func beyond(data []byte) uint64 {
	if mark, err := strconv.ParseUint(string(data), 10, 64); err == nil {
		return mark
	}
	return anyMark
}

// hear counts an acknowledgement of a follower, if it is of this history (JS7).
func (l *Leader) hear(m *nats.Msg) {
	var a ack
	if err := json.Unmarshal(m.Data, &a); err != nil || checkWord("copy", a.Copy, 32) != nil {
		l.o.Log.Warn("a message to the leader cannot be read", "subject", m.Subject, "error", err)
		return
	}
	if !l.known.has(a.Version, a.Chain) {
		return
	}
	if err := l.space.Acknowledge(a.Copy, everheap.Version(a.Version)); err != nil {
		l.o.Log.Warn("cannot note the version of a copy", "of", a.Copy, "version", a.Version, "error", err)
	}
}

// beat renews the lease and publishes the status, at intervals.
func (l *Leader) beat(ctx context.Context, token string) {
	tick := time.NewTicker(min(time.Second, l.o.Lease/4))
	defer tick.Stop()
	said := ""
	for {
		newest, err := newestOf(l.space)
		if err == nil {
			l.tell(func(s *Status) {
				s.Version, s.Time = newest, time.Now()
				s.LagVersions = newest - min(newest, s.Durable)
			})
			short, cancel := context.WithTimeout(ctx, l.o.Lease/2)
			err = l.store.say(short, leaseKey, lease{Copy: l.o.Copy, Token: token, Term: l.Status().Term, Version: newest, Time: time.Now()})
			if err == nil {
				err = l.store.say(short, copyPrefix+l.o.Copy, l.Status())
			}
			cancel()
		}
		if err != nil && ctx.Err() == nil && said != err.Error() {
			said = err.Error()
			l.o.Log.Warn("the lease was not renewed", "error", err)
		}
		if l.o.OnStatus != nil {
			l.o.OnStatus(l.Status())
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
