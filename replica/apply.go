package replica

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/everheap/everheap"
)

// parts2 has the parts of a frame that have arrived.
type parts2 struct {
	note note
	data []byte
	next int
}

// handle applies a message.
func (f *Follower) handle(ctx context.Context, m message) error {
	if m.note.Newest > 0 {
		said := word{m.note.Term, m.note.Newest, m.note.Time}
		f.hear(said)
		defer f.hear(said) // the follower may have all versions now
	}
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

// word is a report of a leader: its newest version, and the time by its clock.
type word struct {
	term, newest uint64
	at           int64 // nanoseconds since 1970
}

// hear passes the report of a leader on to the processes of this machine, unless they have a newer
// one.
func (f *Follower) hear(said word) {
	f.mu.Lock()
	if s := f.mu.said; s.term < said.term || s.term == said.term && s.at <= said.at {
		f.mu.said = said
	}
	said = f.mu.said
	replica := f.mu.replica
	f.mu.Unlock()
	if replica == nil || said.newest == 0 {
		return
	}
	if err := ignoreClosed(replica.Hear(everheap.Version(said.newest), time.Unix(0, said.at))); err != nil {
		f.o.Log.Warn("cannot note the leader's newest version", "error", err)
	}
}

// turn notes a claim: which copy leads from this message on.
func (f *Follower) turn(m message) error {
	if m.note.Token == f.memory.Token { // Promote may not know whether its claim was stored
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
		return nil // a part of an applied frame
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
		if err := f.apply(ctx, frame); err != nil {
			return err
		}
	}
	return nil
}

// apply applies a frame, unless it is applied already (JS6).
func (f *Follower) apply(ctx context.Context, frame everheap.Frame) error {
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
	case errors.Is(err, everheap.ErrOutOfOrder) && v == at.version: // it is the same version: applied already
	case errors.Is(err, everheap.ErrDiverged):
		return fmt.Errorf("%w: %w", errRebuild, err)
	case errors.Is(err, everheap.ErrCorrupt), errors.Is(err, everheap.ErrOutOfOrder):
		return fmt.Errorf("%w: %w", errSeek, err)
	case err != nil:
		return err
	}
	f.mu.Lock()
	f.mu.applied = point2{v, chainOf(frame)}
	f.mu.Problem = ""
	f.mu.Unlock()
	select {
	case f.news <- struct{}{}:
	default:
	}
	return nil
}

// acknowledge makes applied versions durable, and tells the leader (JS7).
func (f *Follower) acknowledge(ctx context.Context) {
	again := time.NewTicker(time.Second) // the leader may have restarted, or missed the message
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
