package replica

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

// Promote lets the copy take over: it claims the log when it has applied all of it (JS8). When it
// returns nil, the follower has ended with ErrLeads as its Err; then call Lead with the same Options.
// After an error the copy follows as before. Only if the error is that of ctx, the claim may still
// succeed: then Done is closed.
//
// Errors: ErrLeads, if the leader is alive, or another copy was faster; ErrBehind, if another copy
// has reported a newer version than the log and this copy have; ErrUnknown. With force the copy
// ignores whether the leader is alive, and what other copies have.
func (f *Follower) Promote(ctx context.Context, force bool) error {
	ctx, cancel := undated(ctx) // JS11
	defer cancel()
	if !force {
		if err := f.awaitSilence(ctx); err != nil {
			return err
		}
	}
	last, _, err := f.store.last(ctx)
	if err != nil {
		return err
	}
	if last == nil {
		return fmt.Errorf("%w: the log is empty; lead with the space", ErrUnknown)
	}
	term := last.note.Term
	for why := error(nil); ; {
		again, err := f.claim(ctx, term, force)
		if err == nil {
			break
		}
		if !again {
			return err
		}
		if ctx.Err() == nil || why == nil { // otherwise the error would only say that the context has ended
			why = err
		}
		select {
		case <-ctx.Done():
			return errors.Join(context.Cause(ctx), why)
		case <-f.done:
			return errors.Join(f.err, err)
		case <-time.After(20 * time.Millisecond):
		}
	}
	select {
	case <-f.done:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// claim claims the log if the copy has all of it; again says that a later attempt may succeed.
func (f *Follower) claim(ctx context.Context, term uint64, force bool) (again bool, err error) {
	f.hold.Lock()
	defer f.hold.Unlock()
	if f.claimed {
		return false, nil
	}
	last, end, err := f.store.last(ctx)
	switch {
	case err != nil:
		return true, err
	case last == nil:
		return false, fmt.Errorf("%w: the log is empty", ErrUnknown)
	case last.note.Term != term:
		return false, fmt.Errorf("%w: %s has claimed the log meanwhile", ErrLeads, last.note.Copy)
	}
	if again, err := f.hasAll(ctx, last, force); err != nil {
		return again, err
	}
	v, chain := last.whole()
	n := note{Kind: kindClaim, Version: v, Chain: chain, Term: max(term, f.memory.Term) + 1, Token: newToken(), Copy: f.o.Copy, Lead: f.o.Lead, Base: last.note.Base, Mark: last.newest()}
	if err := f.memory.set(state{Token: n.Token, Term: n.Term, Claiming: true}); err != nil {
		return false, err
	}
	m := message{note: n}
	err = f.store.append(ctx, &m, end)
	for err != nil { // the claim is in the log, or another message is there, and the claim can never be stored (JS1)
		now, at, err2 := f.store.last(ctx)
		if err2 == nil && now != nil && now.note.Token == n.Token {
			break
		}
		if err2 == nil && at > end {
			return true, errors.Join(fmt.Errorf("the log went on meanwhile: %w", err), f.memory.set(state{Term: f.memory.Term}))
		}
		if ctx.Err() != nil {
			return false, context.Cause(ctx)
		}
		err = f.store.append(ctx, &m, end)
	}
	f.claimed = true
	f.o.Log.Info("claimed the log", "term", n.Term, "version", v)
	f.cancel()
	return false, nil
}

// hasAll returns an error unless the space has all versions in the log, and the log is part of its
// history; again says that a later attempt may succeed.
func (f *Follower) hasAll(ctx context.Context, last *message, force bool) (again bool, err error) {
	v, chain := last.whole()
	at := f.applied()
	if f.replica == nil || at.version < v || at.chain == 0 && at.version == v {
		return true, fmt.Errorf("%w: the log has version %d, and the copy is at %d", ErrBehind, v, at.version)
	}
	if at.version == v && at.chain != chain {
		return true, fmt.Errorf("%w: the copy has another version %d than the log", ErrBehind, v)
	}
	if at.version > v {
		if err := f.replica.Space().Sync(ctx); err != nil {
			return false, err
		}
		is, err := relate(ctx, f.replica.Space(), v, chain)
		if err == nil && is != same && !force {
			err = fmt.Errorf("%w: the copy has version %d, the log ends with %d, and it is unknown whether that is the same history", ErrUnknown, at.version, v)
		}
		if err != nil {
			return false, err
		}
	}
	if force {
		return false, nil
	}
	all, err := f.store.copies(ctx)
	if err != nil {
		return true, err
	}
	for _, c := range append(f.ask(ctx), all...) { // a copy that answers is named before a copy that has only left a report and may be gone
		if c.Copy != f.o.Copy && c.Term >= last.note.Term && c.Durable > at.version {
			return true, fmt.Errorf("%w: JetStream has lost what follows version %d, and %s has version %d: promote that, or wait for it, or force", ErrBehind, v, c.Copy, c.Durable)
		}
	}
	return false, nil
}

// awaitSilence waits until the leader has not renewed its lease for the length of the lease.
func (f *Follower) awaitSilence(ctx context.Context) error {
	if f.silent() >= f.o.Lease {
		return nil
	}
	was, revision, err := f.store.leased(ctx)
	if err != nil || revision == 0 {
		return err
	}
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(f.o.Lease):
	}
	_, now, err := f.store.leased(ctx)
	if err == nil && now != revision {
		err = fmt.Errorf("%w: %s renews its lease; stop it first, or force", ErrLeads, was.Copy)
	}
	return err
}

// silent returns how long the lease has not changed, as observed by this copy.
func (f *Follower) silent() time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.mu.heard.IsZero() {
		return 0
	}
	return time.Since(f.mu.heard)
}

// claimAlone takes over because the leader was silent for too long.
func (f *Follower) claimAlone(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, f.o.Lease)
	defer cancel()
	f.o.Log.Warn("the leader is silent", "for", f.silent())
	term := uint64(0)
	last, _, err := f.store.last(ctx)
	if err == nil && last != nil {
		term = last.note.Term
	}
	for again := true; again && err == nil; {
		if again, err = f.claim(ctx, term, false); again && ctx.Err() == nil && errors.Is(err, ErrBehind) {
			err = nil
			time.Sleep(20 * time.Millisecond)
		}
	}
	if err != nil {
		f.o.Log.Warn("the copy does not take over", "error", err)
	}
}

// The subjects on which followers answer.
func whoSubject(name string) string { return "everheap." + name + ".who" }

const answerIn = 300 * time.Millisecond

// ask returns the answers of all reachable followers.
func (f *Follower) ask(ctx context.Context) (all []Status) {
	inbox := f.store.nc.NewInbox()
	sub, err := f.store.nc.SubscribeSync(inbox)
	if err != nil {
		return nil
	}
	defer sub.Unsubscribe() //nolint:errcheck // no message comes to this inbox again
	if err := f.store.nc.PublishRequest(whoSubject(f.o.Stream), inbox, nil); err != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, answerIn)
	defer cancel()
	for {
		m, err := sub.NextMsgWithContext(ctx)
		if err != nil {
			return all
		}
		var s Status
		if json.Unmarshal(m.Data, &s) == nil {
			all = append(all, s)
		}
	}
}

// listen answers requests for the status of the copy, and requests to take over.
func (f *Follower) listen(ctx context.Context) {
	nc := f.store.nc
	who, err := nc.Subscribe(whoSubject(f.o.Stream), func(m *nats.Msg) {
		b, err := json.Marshal(f.Status())
		if err == nil {
			err = m.Respond(b)
		}
		if err != nil {
			f.o.Log.Warn("could not answer", "error", err)
		}
	})
	if err != nil {
		f.o.Log.Warn("cannot be asked", "error", err)
		return
	}
	defer who.Unsubscribe() //nolint:errcheck // the connection ends it at the latest
	promote, err := nc.Subscribe(promoteSubject(f.o.Stream, f.o.Copy), func(m *nats.Msg) {
		text := "ok"
		// Not ctx, which ends with a successful claim.
		short, cancel := context.WithTimeout(context.Background(), f.o.Lease+30*time.Second)
		defer cancel()
		if err := f.Promote(short, string(m.Data) == "force"); err != nil {
			text = err.Error()
		}
		if err := m.Respond([]byte(text)); err != nil {
			f.o.Log.Warn("could not answer", "error", err)
		}
	})
	if err != nil {
		f.o.Log.Warn("cannot be asked to take over", "error", err)
		return
	}
	defer promote.Unsubscribe() //nolint:errcheck // the same
	<-ctx.Done()
}

// AskPromote asks a following copy, on any machine, to take over; see Follower.Promote.
func AskPromote(ctx context.Context, nc *nats.Conn, stream, copy string, force bool) error {
	if err := errors.Join(checkWord("stream", stream, 20), checkWord("copy", copy, 32)); err != nil {
		return err
	}
	var data []byte
	if force {
		data = []byte("force")
	}
	m, err := nc.RequestWithContext(ctx, promoteSubject(stream, copy), data)
	if errors.Is(err, nats.ErrNoResponders) {
		return fmt.Errorf("replica: no copy %s of %s follows, or it cannot be reached", copy, stream)
	}
	if err != nil {
		return err
	}
	if text := string(m.Data); text != "ok" {
		return errors.New("replica: " + strings.TrimPrefix(text, "replica: "))
	}
	return nil
}

// Overview returns the last reports of the copies of a space, and the state of the log.
func Overview(ctx context.Context, nc *nats.Conn, stream string) (o Log, err error) {
	if err := checkWord("stream", stream, 20); err != nil {
		return o, err
	}
	s, err := openStore(ctx, nc, Options{Stream: stream}, false)
	if err != nil {
		return o, err
	}
	if o.Copies, err = s.copies(ctx); err != nil {
		return o, err
	}
	l, _, err := s.leased(ctx)
	if err != nil {
		return o, err
	}
	o.Renewed = l.Time
	last, _, err := s.last(ctx)
	if err != nil || last == nil {
		return o, err
	}
	o.Leader, o.Term, o.Time = last.note.Copy, last.note.Term, time.Unix(0, last.note.Time)
	o.Version, _ = last.whole()
	info, err := s.stream.Info(ctx)
	if err != nil {
		return o, err
	}
	o.Messages, o.Bytes = info.State.Msgs, info.State.Bytes
	if mark, err := s.newestMark(ctx); err == nil && mark != nil {
		o.Snapshot, o.SnapshotBytes = mark.note.Of, mark.note.Size
	}
	return o, nil
}

// Log is the state of the log of a space.
type Log struct {
	Leader        string    // the copy that has claimed it
	Renewed       time.Time // when the leader last renewed its lease, by its clock
	Term          uint64
	Version       uint64    // the newest one
	Time          time.Time // when Version was published, by the leader's clock
	Messages      uint64
	Bytes         uint64
	Snapshot      uint64 // version of the newest snapshot
	SnapshotBytes int64
	Copies        []Status
}
